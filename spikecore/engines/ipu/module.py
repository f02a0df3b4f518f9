"""A network in the form that PopTorch compiles: a torch module, batch first, with its loss inside.

PopTorch divides axis 0 of every input over device iterations, replicas and accumulation steps. So every input and
output has the batch as axis 0; inside, sequences are (time, batch, *features) as everywhere. States are local
variables and weights are parameters. Running statistics, and states that pass from one call to the next, are float
buffers that change by ``copy_`` only.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch

from spikecore.api.core.layer import EMPTY, Key, Layer, Pass
from spikecore.api.core.tree import Params, State, Tree, leaves, map_leaves, nested, rebuild
from spikecore.api.functional.loss import evaluate
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output, forward
from spikecore.engines.ipu.device_state import DeviceStates
from spikecore.engines.ipu.padding import weighted
from spikecore.engines.ipu.traced import TracedEngine, TracedPass


class Holder(torch.nn.Module):
    """A module that holds the arrays of a tree as parameters or buffers, under the same dotted names."""

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
        """The parameter or buffer with a dotted name."""
        place, (*folders, name) = self, path.split(".")
        for folder in folders:
            place = place._modules[folder]  # type: ignore[assignment]
        return place._parameters[name] if name in place._parameters else place._buffers[name]

    def tree(self, like: Tree) -> Any:
        """The tensors, as a tree with the structure of ``like``."""
        return rebuild(like, iter([self.tensor(path) for path, _ in leaves(like)]))


class CallSignature(NamedTuple):
    """The properties of a call that compilation fixes."""

    steps: Optional[int] = None
    record: Any = ()
    window: Optional[int] = None
    targets: str = "samples"  # which axes they have: see ``programs.PLACEMENTS``
    state: Tuple[str, ...] = ()  # dotted names of the states that are inputs
    weights: bool = False  # whether a weight for each sample is an input
    keeps: bool = False  # whether states stay on the device for the next call; ``begins`` is then an input


class Draw(NamedTuple):
    """One array of random numbers that a pass needs."""

    path: Tuple[Any, ...]  # its key, relative to the key of the pass
    shape: Tuple[int, ...]
    axis: int  # the axis of the samples


class NetworkModule(torch.nn.Module):
    """The part that the modules for training and inference share.

    Args:
        engine: the IPU engine.
        network: its layers.
        params: weights on the host.
        buffers: running statistics on the host.
        layout: the properties of a call that are fixed.
        half: whether to compute in float16.
        draws: the random arrays, which are the last inputs: after inputs, targets and those that ``layout`` names.
    """

    def __init__(
        self, engine: Any, network: Layer, params: Params, buffers: Tree, layout: CallSignature, half: bool = False,
        draws: Sequence[Draw] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.draws = tuple(draws)
        self.engine, self.network, self.layout, self.number = engine, network, layout, "float16" if half else ""
        self.like = (params, buffers)
        self.params, self.buffers_ = Holder(params, learned=True), Holder(buffers, learned=False)
        # Names of what a call returns, in order. PopTorch traces a shallow copy: fill the list, never replace it.
        self.outputs: List[str] = []
        self.entered: Any = None  # called with the name of each layer
        self.stages: Any = None  # pipeline stages, each of which has to begin in every pass

    def traced(self, x: Any, draws: Optional[Sequence[Any]] = None, for_loop: Any = None) -> TracedEngine:
        """The engine as the layers see it during a call."""
        number = self.number or self.engine.dtype
        return TracedEngine(self.engine, x.device, number, None if draws is None else iter(draws), for_loop)

    def placed(self, drawn: Sequence[Any]) -> List[Any]:
        """Random arrays, given samples first, as the layers see them."""
        return [value.movedim(0, draw.axis) for draw, value in zip(self.draws, drawn)]

    def send(self, run: Pass, x: Any, state: Optional[Tree] = None) -> Tuple[Output, Tree]:
        """Run the network on a batch (batch, time, *features); returns its output and new buffers."""
        params, buffers = self.params.tree(self.like[0]), self.buffers_.tree(self.like[1])
        result = forward(self.network, run, params, buffers, x.transpose(0, 1), state)
        if self.stages is not None:
            self.stages.check()
        return result

    def returned(self, out: Output, final: bool) -> List[Any]:
        """Spikes and recorded states, batch first, and with ``final`` the states after the last step."""
        named = {"spikes": out.spikes.transpose(0, 1)}
        for layer, states in out.states.items():
            named.update({f"states|{layer}|{name}": value.transpose(0, 1) for name, value in states.items()})
        if final:
            named.update({f"state|{path}": value for path, value in leaves(out.state)})
        self.outputs[:] = named
        return list(named.values())

    def output(self, values: Sequence[Any]) -> Output:
        """The network's output, from the values that a call has returned."""
        named = dict(zip(self.outputs, values))
        states: Dict[str, Dict[str, Any]] = {}
        for name, value in named.items():
            kind, *rest = name.split("|")
            if kind == "states":
                states.setdefault(rest[0], {})[rest[1]] = value.transpose(0, 1)
        flat = {name[6:]: value for name, value in named.items() if name.startswith("state|")}
        recorded = {layer: State(states_of_layer) for layer, states_of_layer in states.items()}
        final = nested(flat, State)
        return Output(named["spikes"].transpose(0, 1), recorded, final, readout(self.network))


class TrainingModule(NetworkModule):
    """One training step: returns spikes, recorded states and, last, the loss wrapped in ``identity_loss``.

    Args:
        identity_loss: the function of PopTorch or of the simulation.
        loss: callable ``(out, targets) -> scalar``.
        state: a tree shaped like the states of a batch, if they are kept from call to call; otherwise empty.
        unreached: parameters from which no path leads to the loss. The module adds a path with derivative zero:
            otherwise they would have no arrays on the device and no weight decay.
    """

    def __init__(
        self, *common: Any, loss: Any, identity_loss: Any, state: Tree = EMPTY, unreached: Sequence[str] = (),
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(*common, **options)
        self.loss, self.identity_loss = loss, identity_loss
        self.unreached = tuple(unreached)
        self.like_state, self.kept = state, Holder(map_leaves(torch.zeros_like, state), learned=False)

    def forward(self, x: Any, targets: Any, *more: Any) -> Tuple[Any, ...]:
        layout, rest = self.layout, list(more)
        weights = rest.pop(0) if layout.weights else None
        begins = rest.pop(0) if layout.keeps else None
        engine = self.traced(x, self.placed(rest))
        device_states = None if begins is None else DeviceStates(engine.xp, self.kept, begins)
        options: Any = {"entered": self.entered, "kept": device_states}
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
        if device_states is not None:
            device_states.keep(out.state)
        return (*self.returned(out, final=False), self.identity_loss(loss, "none"))


class InferenceModule(NetworkModule):
    """One run without training: returns spikes, recorded states and the states after the last step.

    Args:
        for_loop: PopTorch's function, to run time in one loop; None unrolls time.
    """

    def __init__(self, *common: Any, for_loop: Any = None, **options: Any) -> None:
        super().__init__(*common, **options)
        self.for_loop = for_loop

    def forward(self, x: Any, *more: Any) -> Tuple[Any, ...]:
        state = nested(dict(zip(self.layout.state, more)), State) if self.layout.state else None
        engine = self.traced(x, self.placed(more) if self.draws else None, self.for_loop)
        run = TracedPass(engine, self.layout.steps, record=self.layout.record, entered=self.entered)
        out, _ = self.send(run, x, state)
        return tuple(self.returned(out, final=True))


class Probe(NamedTuple):
    """The random arrays that a pass on a batch draws, and the states after its last step."""

    draws: List[Draw]
    state: Tree


def probed(
    engine: Any, network: Layer, params: Params, buffers: Tree, x: Any, steps: Optional[int], train: bool = True
) -> Probe:
    """Run one pass on the host on a batch (time, batch, *features), to see what it draws.

    Raises:
        ValueError: a random array has no axis of samples. PopTorch divides every input along the samples.
    """
    probe = TracedEngine(engine, "cpu", engine.dtype)
    with torch.no_grad():
        out, _ = forward(network, Pass(probe, steps, train, Key(())), params, buffers, x)
    draws = []
    for path, shape, axis in probe.asked:
        if axis is None or shape[axis] != x.shape[1]:
            raise ValueError(f"engine 'ipu': random numbers of shape {shape} for {path!r} have no axis of samples")
        draws.append(Draw(tuple(path), shape, axis % len(shape)))
    return Probe(draws, out.state)


def drawn(engine: Any, draws: Sequence[Draw], key: Optional[Key], samples: int) -> List[Any]:
    """Draw the random arrays of one step, samples first."""
    if draws and key is None:
        raise ValueError("Dropout: training without a random key; pass key=Key((seed,)) to the step")
    arrays = []
    for path, shape, axis in draws:
        assert key is not None
        sized = (*shape[:axis], samples, *shape[axis + 1 :])
        values = engine.uniform((*key.path, *path), sized, sample_axis=axis, first=key.first)
        arrays.append(values.movedim(axis, 0).contiguous())
    return arrays
