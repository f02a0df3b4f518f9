"""A network as PopTorch wants it: a torch module, batch first, with its loss inside.

PopTorch divides axis 0 of every input over device iterations, replicas and accumulation steps, so every tensor that
comes in or goes out has the batch there; inside, sequences are (time, batch, *features) as everywhere. States live in
local variables, weights in parameters, running statistics in float buffers that change by ``copy_`` only, and so do
states that pass from call to call.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch

from spikecore.api.core.layer import EMPTY, Key, Layer, Pass
from spikecore.api.core.tree import Params, State, Tree, leaves, map_leaves, rebuild
from spikecore.api.functional.loss import evaluate
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output, forward
from spikecore.engines.ipu.device_state import Kept
from spikecore.engines.ipu.padding import weighted
from spikecore.engines.ipu.traced import TracedEngine, TracedPass


class Holder(torch.nn.Module):
    """Arrays of a tree as parameters or buffers under the same dotted names."""

    def __init__(self, tree: Tree, learned: bool) -> None:
        super().__init__()
        for name, value in tree.items():
            if isinstance(value, Tree):
                self.add_module(name, Holder(value, learned))
            elif learned:
                self.register_parameter(name, torch.nn.Parameter(value.detach().clone()))
            else:
                self.register_buffer(name, value.detach().clone())

    def tensor(self, path: str) -> Any:
        """The parameter or buffer of a dotted name."""
        place, (*folders, name) = self, path.split(".")
        for folder in folders:
            place = place._modules[folder]  # type: ignore[assignment]
        return place._parameters[name] if name in place._parameters else place._buffers[name]

    def tree(self, like: Tree) -> Any:
        """The tensors in the shape of ``like``."""
        return rebuild(like, iter([self.tensor(path) for path, _ in leaves(like)]))


class Layout(NamedTuple):
    """What of a call is fixed when it is compiled."""

    steps: Optional[int] = None
    record: Any = ()
    window: Optional[int] = None
    targets: str = "samples"  # how they lie: see ``programs.PLACEMENTS``
    state: Tuple[str, ...] = ()  # dotted names of the states that come in
    weights: bool = False  # whether one weight for each sample comes in
    keeps: bool = False  # whether states stay on the device for the next call, and what begins comes in


class Draw(NamedTuple):
    """One array of random numbers that a training step needs."""

    path: Tuple[Any, ...]  # below the key of the step
    shape: Tuple[int, ...]
    axis: int  # of the samples


class NetworkModule(torch.nn.Module):
    """What training and inference share.

    Args:
        engine: the IPU engine.
        network: its layers.
        params: weights on the host.
        buffers: running statistics on the host.
        layout: what is fixed in a call.
        half: whether to compute in float16.
    """

    def __init__(
        self, engine: Any, network: Layer, params: Params, buffers: Tree, layout: Layout, half: bool = False
    ) -> None:
        super().__init__()
        self.engine, self.network, self.layout, self.number = engine, network, layout, "float16" if half else ""
        self.like = (params, buffers)
        self.params, self.buffers_ = Holder(params, learned=True), Holder(buffers, learned=False)
        # Names of what a call returns, in order. PopTorch traces a shallow copy: the list is filled, never exchanged.
        self.outputs: List[str] = []
        self.entered: Any = None  # called with the name of each layer
        self.stages: Any = None  # pipeline stages, which have to begin in each pass

    def traced(self, x: Any, draws: Optional[Sequence[Any]] = None, for_loop: Any = None) -> TracedEngine:
        """The engine as the layers see it during a call."""
        number = self.number or self.engine.dtype
        return TracedEngine(self.engine, x.device, number, None if draws is None else iter(draws), for_loop)

    def send(self, run: Pass, x: Any, state: Optional[Tree] = None) -> Tuple[Output, Tree]:
        """A batch (batch, time, *features) through the network; returns its output and new buffers."""
        params, buffers = self.params.tree(self.like[0]), self.buffers_.tree(self.like[1])
        found = forward(self.network, run, params, buffers, x.transpose(0, 1), state)
        if self.stages is not None:
            self.stages.check()
        return found

    def returned(self, out: Output, final: bool) -> List[Any]:
        """Spikes and recorded states, batch first, and, if asked for, the states after the last step."""
        found = {"spikes": out.spikes.transpose(0, 1)}
        for layer, states in out.states.items():
            found.update({f"states|{layer}|{name}": value.transpose(0, 1) for name, value in states.items()})
        if final:
            found.update({f"state|{path}": value for path, value in leaves(out.state)})
        self.outputs[:] = found
        return list(found.values())

    def output(self, values: Sequence[Any]) -> Output:
        """The network's output from what a call returned."""
        named = dict(zip(self.outputs, values))
        states: Dict[str, Dict[str, Any]] = {}
        for name, value in named.items():
            kind, *rest = name.split("|")
            if kind == "states":
                states.setdefault(rest[0], {})[rest[1]] = value.transpose(0, 1)
        final = nested({name[6:]: value for name, value in named.items() if name.startswith("state|")})
        shown = {layer: State(found) for layer, found in states.items()}
        return Output(named["spikes"].transpose(0, 1), shown, final, readout(self.network))


def nested(flat: Dict[str, Any]) -> State:
    """A tree of states from their dotted names."""
    found: Dict[str, Any] = {}
    for path, value in flat.items():
        name, _, rest = path.partition(".")
        if rest:
            found.setdefault(name, {})[rest] = value
        else:
            found[name] = value
    return State({name: nested(value) if isinstance(value, dict) else value for name, value in found.items()})


class TrainingModule(NetworkModule):
    """One training step: returns spikes, recorded states and, last, the loss under ``identity_loss``.

    Args:
        identity_loss: PopTorch's, or the simulation's.
        loss: callable ``(out, targets) -> scalar``.
        draws: the random arrays that come in last, after inputs, targets, and what ``layout`` says.
        state: shaped like the states of a batch, if they are to be kept from call to call.
        unreached: parameters from which no path leads to the loss. They get one with derivative zero: otherwise they
            would have no arrays on the device, and no weight decay.
    """

    def __init__(
        self, *common: Any, loss: Any, identity_loss: Any, draws: Sequence[Draw] = (), state: Tree = EMPTY,
        unreached: Sequence[str] = (), **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(*common, **options)
        self.loss, self.identity_loss, self.draws = loss, identity_loss, tuple(draws)
        self.unreached = tuple(unreached)
        self.like_state, self.kept = state, Holder(map_leaves(torch.zeros_like, state), learned=False)

    def forward(self, x: Any, targets: Any, *more: Any) -> Tuple[Any, ...]:
        layout, rest = self.layout, list(more)
        weights = rest.pop(0) if layout.weights else None
        begins = rest.pop(0) if layout.keeps else None
        engine = self.traced(x, [value.movedim(0, draw.axis) for draw, value in zip(self.draws, rest)])
        kept = None if begins is None else Kept(engine.xp, self.kept, begins)
        options: Any = {"entered": self.entered, "kept": kept}
        run = TracedPass(engine, layout.steps, True, Key(()), layout.record, layout.window, **options)
        out, buffers = self.send(run, x)
        if layout.targets != "samples":
            targets = targets[0] if layout.targets == "whole" else targets.transpose(0, 1)
        if weights is None:
            loss = evaluate(self.loss, engine, out, targets)
        else:
            loss = weighted(self.loss, engine, out, targets, weights)
        for path in self.unreached:
            loss = loss + 0.0 * self.params.tensor(path).sum()
        for path, value in leaves(buffers):
            self.buffers_.tensor(path).copy_(value.detach())
        if kept is not None:
            kept.keep(out.state)
        return (*self.returned(out, final=False), self.identity_loss(loss, "none"))


class InferenceModule(NetworkModule):
    """One run without training: returns spikes, recorded states and the states after the last step.

    Args:
        for_loop: PopTorch's, to run time in one loop instead of unrolling it; None unrolls.
    """

    def __init__(self, *common: Any, for_loop: Any = None, **options: Any) -> None:
        super().__init__(*common, **options)
        self.for_loop = for_loop

    def forward(self, x: Any, *states: Any) -> Tuple[Any, ...]:
        state = nested(dict(zip(self.layout.state, states))) if self.layout.state else None
        engine = self.traced(x, for_loop=self.for_loop)
        run = TracedPass(engine, self.layout.steps, record=self.layout.record, entered=self.entered)
        out, _ = self.send(run, x, state)
        return tuple(self.returned(out, final=True))


class Probe(NamedTuple):
    """What a training step on a batch draws, and the states it ends with."""

    draws: List[Draw]
    state: Tree


def probed(engine: Any, network: Layer, params: Params, buffers: Tree, x: Any, steps: Optional[int]) -> Probe:
    """Try one pass on the host on a batch (time, batch, *features).

    Raises:
        ValueError: a draw that does not belong to single samples: PopTorch divides every input by samples.
    """
    probe = TracedEngine(engine, "cpu", engine.dtype)
    with torch.no_grad():
        out, _ = forward(network, Pass(probe, steps, True, Key(())), params, buffers, x)
    found = []
    for path, shape, axis in probe.asked:
        if axis is None or shape[axis] != x.shape[1]:
            raise ValueError(f"engine 'ipu': random numbers of shape {shape} for {path!r} do not lie along the samples")
        found.append(Draw(tuple(path), shape, axis % len(shape)))
    return Probe(found, out.state)


def drawn(engine: Any, draws: Sequence[Draw], key: Optional[Key], samples: int) -> List[Any]:
    """The random arrays of one step, samples first."""
    if draws and key is None:
        raise ValueError("Dropout: training without a random key; pass key=Key((seed,)) to the step")
    found = []
    for path, shape, axis in draws:
        assert key is not None
        sized = (*shape[:axis], samples, *shape[axis + 1 :])
        values = engine.uniform((*key.path, *path), sized, sample_axis=axis, first=key.first)
        found.append(values.movedim(axis, 0).contiguous())
    return found
