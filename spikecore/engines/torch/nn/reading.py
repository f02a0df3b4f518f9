"""The reader of torch's modules: ``forward`` runs on a small batch, and what it calls is written down.

    def forward(self, x):                        calls             sources
        spikes = []                              fc                input
        for _ in range(25):                      lif               fc
            spk, mem = self.lif(self.fc(x), mem) relu              lif
            spikes.append(torch.relu(spk))
        return torch.stack(spikes)               output: relu, 25 steps

A call is a module, or a function as the module that computes the same, or a merge of several signals. A loop over time
in ``forward`` is folded: what it calls at one step must be what it calls at every step.

Each tensor has a label while ``forward`` runs: of which call and step it is. So a tensor that comes from anything else
is refused where it is used, by name. ``forward`` may look at sizes, but not at values.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from spikecore.api.core.layer import Layer
from spikecore.api.layers.merges import Merge, Product, Sum
from spikecore.api.layers.nodes import INPUT
from spikecore.engines.torch.nn.described import GraphModule, StatelessModule
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.labels import (
    Factor,
    LayerCall,
    SignalLabel,
    StateLabel,
    StepsLabel,
    Unfitting,
    UnknownCall,
    UnknownLabel,
    Unreadable,
)
from spikecore.engines.torch.nn.layers import GlobalAvgPool, GradedSpikes
from spikecore.engines.torch.nn.reading_functions import FUNCTIONS, SILENT
from spikecore.engines.torch.nn.unchanged import Generators, first_line, is_foreign, kept_by

LEAVES = (Hidden, GradedSpikes, GlobalAvgPool, StatelessModule)
THROUGH = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
LOOKS = {"bool", "float", "int", "index", "item", "tolist", "numpy", "array", "contains", "equal", "allclose"}


class Reading(nn.Module):
    """A network as its calls; as a module, it runs them one after the other.

    Args:
        net: the network that was read.
        calls: the operations, each after its sources.
        output: name of the one whose output the network gives.
        steps: how often ``forward`` calls each neuron; 1: it computes a single step.
        returns: what it gives of them: "steps", "sum", "mean" or "last".
        with_states: whether the last neuron's states come after its spikes.
        axis: that of time in what it returns; None: there is none.
    """

    def __init__(
        self, net: nn.Module, calls: Sequence[LayerCall], output: str, steps: int, returns: str, with_states: bool,
        axis: Optional[int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.net, self.calls, self.output, self.steps = net, tuple(calls), output, steps
        self.returns, self.with_states, self.axis = returns, with_states, axis

    def forward(self, x: Any) -> Any:
        return self.watched(x, lambda name, value: None)

    def watched(self, x: Any, seen: Callable[[str, Any], None]) -> Any:
        """The output for a batch; ``seen`` gets the name and the output of each call."""
        values = {INPUT: x}
        for call in self.calls:
            given = [values[source] for source in call.sources]
            if isinstance(call.does, Merge):
                value = call.does.merge(cast(Any, torch), given, 1)
            else:
                value = given[0] * call.does.value if isinstance(call.does, Factor) else call.does(given[0])
            values[call.name] = value
            seen(call.name, value)
        return values[self.output]


def read(
    net: nn.Module,
    x: torch.Tensor,
    arguments: Tuple[Any, ...] = (),
    *,
    time_axis: Optional[int] = None,
    leaves: Tuple[type, ...] = (),
    gradients: bool = True,
) -> Reading:
    """Read a network. Its states and statistics change: give a copy.

    Args:
        net: the network, in the mode that counts.
        x: a batch, (batch, *features); with a time axis, a batch of sequences.
        arguments: of ``forward`` after the input.
        time_axis: axis of ``x`` that is time; None: there is none.
        leaves: further kinds of modules that are layers: no look inside them.
        gradients: whether what cuts gradients, such as ``detach``, is refused.

    Raises:
        Unreadable: names the layer or the call.
    """
    modules = dict(net.named_modules())
    for path, module in modules.items():
        if isinstance(module, Hidden):
            module.reset_mem()
        if isinstance(module, torch.jit.ScriptModule):
            raise Unreadable(place_of(path, module), "is a torch.jit module; give the nn.Module that it was made of")
    foreign = {path: module for path, module in modules.items() if is_foreign(module) and not _is_leaf(module, leaves)}
    recorder = _Recorder(modules, x, time_axis, leaves, gradients, net.training)
    drawn, kept = Generators(bool(foreign)), kept_by(foreign)
    try:
        with torch.no_grad(), recorder.listening(), recorder:
            out = net(x, *arguments)
        if drawn.have_drawn():
            raise Unreadable("forward", "it uses a random number generator outside of layers")
    except Unreadable:
        raise
    except (NotImplementedError, RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        raise Unfitting(recorder.now, first_line(error)) from error
    finally:
        drawn.put_back()
    changed = [name for name, value in kept_by(foreign).items() if kept.get(name) != value]
    if changed:
        raise Unreadable("forward", f"it changes {changed[0]!r}: keep what a step leaves to the next one in a neuron")
    return recorder.reading(net, out)


def place_of(path: str, module: Any) -> str:
    """A module in messages."""
    return f"layer {path} ({type(module).__name__})" if path else type(module).__name__


def takes_one(net: nn.Module) -> str:
    """The arguments that ``forward`` needs besides one input, in words; "" for none."""
    needed = [p for p in inspect.signature(net.forward).parameters.values() if p.default is p.empty]
    named = [p.name for p in needed if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return "" if len(named) == 1 or (not named and needed) else ", ".join(named) or "no input"


def _is_leaf(module: nn.Module, leaves: Tuple[type, ...]) -> bool:
    """Whether a module is a layer: no look inside it."""
    if isinstance(module, GraphModule):
        return not all(isinstance(node.does, (Layer, Sum, Product)) for node in module.layer.nodes())
    torchs = type(module).__module__.startswith("torch.nn.") and not isinstance(module, THROUGH)
    return torchs or isinstance(module, (*LEAVES, *leaves))


class _Recorder(TorchFunctionMode):
    """Writes down what ``forward`` calls; labels are kept by tensor."""

    def __init__(
        self, modules: Dict[str, nn.Module], x: Any, time_axis: Optional[int], leaves: Tuple[type, ...],
        gradients: bool, training: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.paths: Dict[int, str] = {id(module): path for path, module in modules.items()}
        self.leaves, self.gradients, self.training = leaves, gradients, training
        self.batch = x.shape[0 if time_axis != 0 else 1]
        self.calls: Dict[str, LayerCall] = {}
        self.known: Dict[Any, str] = {}  # names of calls, by what they do and their sources
        self.counts: Dict[str, int] = {}  # calls of each neuron so far
        self.labels: Dict[int, Tuple[Any, Any]] = {}  # tensors, which are kept so that ids stay theirs, with labels
        self.busy, self.now = False, "forward"
        steps = () if time_axis is None else tuple(range(x.shape[time_axis]))
        self.label(x, SignalLabel(INPUT, None) if time_axis is None else StepsLabel(INPUT, steps, time_axis))
        self.steps = len(steps)

    # ---- labels ----

    def label(self, tensor: Any, label: Any) -> None:
        """Attach a label to a tensor: which signal of the network it is."""
        self.labels[id(tensor)] = tensor, label

    def of(self, value: Any) -> Any:
        """The label of a value; None if it was not computed from the network's input."""
        return self.labels[id(value)][1] if id(value) in self.labels else None

    def signal(self, value: Any, place: str) -> SignalLabel:
        """The label of a value that must be a signal."""
        label = self.of(value)
        if isinstance(label, SignalLabel):
            return label
        if isinstance(label, UnknownLabel):
            if label.why:
                raise Unreadable(label.place, label.why)
            raise UnknownCall(label.place, "no layer computes it")
        if isinstance(label, StateLabel):
            raise Unreadable(place, "takes a neuron's state, but only what layers send can pass between layers")
        if isinstance(label, StepsLabel):
            raise Unreadable(place, "takes several steps at once; only a loop that calls it for each step can be read")
        what = f"a tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)[:60]
        raise Unreadable(place, f"takes {what}, which is no signal of the network")

    # ---- modules ----

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """A context in which calls of the network's layers are recorded, by a replaced ``nn.Module.__call__``."""
        original = nn.Module.__call__

        def call(module: Any, *args: Any, **options: Any) -> Any:
            if self.busy or id(module) not in self.paths or not _is_leaf(module, self.leaves):
                return original(module, *args, **options)
            return self.layer(module, [*args, *options.values()], lambda: original(module, *args, **options))

        nn.Module.__call__ = call  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def layer(self, module: nn.Module, given: List[Any], compute: Callable[[], Any]) -> Any:
        """Record a call of a layer, make it, and return its result."""
        path = self.paths[id(module)]
        place = self.now = place_of(path, module)
        if not given:
            raise Unreadable(place, "is called without an input")
        source, spiking = self.signal(given[0], place), any(isinstance(one, Hidden) for one in module.modules())
        if spiking:
            self.check_states(module, path, place, given[1:])
        elif any(value is not None for value in given[1:]):
            raise Unreadable(place, "is called with more than its input")
        self.busy = True
        try:
            out = compute()
        finally:
            self.busy = False
        first = out[0] if isinstance(out, tuple) else out
        if not isinstance(first, torch.Tensor):
            raise Unreadable(place, f"returns {type(first).__name__}, not a tensor")
        name = path or type(module).__name__.lower()
        count = self.counts.get(path, 0) if spiking else None
        made = self.add((path,), name, place, module, [source], tuple(first.shape), count)
        self.label(first, made)
        if spiking:
            names: Tuple[str, ...] = getattr(module, "returned_states", tuple)()
            for i, state in enumerate(out[1:] if isinstance(out, tuple) else ()):
                self.label(state, StateLabel(path, self.counts[path] - 1, names[i] if i < len(names) else str(i)))
        return out

    def check_states(self, module: Any, path: str, place: str, given: Sequence[Any]) -> None:
        """Refuse states that are not those of the call before, or not those at rest before the first."""
        count = self.counts.get(path, 0)
        for name, value in zip(getattr(module, "states", ()), given):
            label = self.of(value)
            if value is None or (count and label in (StateLabel(path, count - 1, name), SignalLabel(path, count - 1))):
                continue
            rests = label is None and isinstance(value, torch.Tensor) and not bool(torch.count_nonzero(value))
            if count == 0 and rests:
                continue
            what = getattr(label, "place", "another layer" if label is not None else "no call of it")
            why = (
                "its first state is not zero" if count == 0 and label is None else f"its state {name} comes from {what}"
            )
            raise Unreadable(place, f"{why}: a Model runs each neuron on its own states, from rest")

    def add(
        self, key: Any, name: str, place: str, does: Any, sources: List[SignalLabel], shape: Tuple[int, ...],
        count: Optional[int] = None, called: bool = False,
    ) -> SignalLabel:  # fmt: skip
        """The signal of a call, which is written down if it is new; ``count``: of a neuron's calls before."""
        steps = {source.step for source in sources} - {None}
        if len(steps) > 1:
            raise Unreadable(place, "takes signals of two steps")
        step = steps.pop() if steps else None
        if count is not None:
            if step not in (None, count):
                raise Unreadable(
                    place,
                    "is used twice in a step, or gets what a layer gave at the step before: give each place a neuron "
                    "of its own, and feed spikes back inside of a neuron only (RLeaky)",
                )
            step, self.counts[key[0]] = count, count + 1
        names = tuple(source.name for source in sources)
        if (key, names) not in self.known:
            if step not in (None, 0):
                raise Unreadable(place, f"forward does something else at step {step} than at step 0")
            unique, number = name, 0
            while unique in self.calls or unique == INPUT:
                number += 1
                unique = f"{name}_{number}"
            where = f"{place} ({unique})" if called else place
            self.calls[unique] = LayerCall(unique, where, does, names, shape, called, "" if called else key[0])
            self.known[key, names] = unique
        return SignalLabel(self.known[key, names], step)

    # ---- functions ----

    def function(self, key: Any, name: str, does: Any, signals: Sequence[Any], out: Any) -> SignalLabel:
        """The signal of a function of torch, which is a module or a merge; ``key``: equal for equal options."""
        place = f"{name}() in forward"
        sources = [self.signal(value, f"{place} ({name})") for value in signals]
        return self.add(key, name, place, does, sources, tuple(out.shape), called=True)

    def label_all(self, tensors: Any, label: Any) -> None:
        """Attach a label to several tensors."""
        for tensor in tensors:
            self.label(tensor, label)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if self.busy:
            return func(*args, **options)
        name = getattr(func, "__name__", "function").strip("_")
        before, self.now = self.now, f"{name}() in forward"
        labelled = [v for v in tree_flatten((args, options))[0] if isinstance(self.of(v), tuple)]
        if labelled and name in LOOKS:
            raise Unreadable("forward", f"it looks at values, by {name}(): what it does must not depend on them")
        out = func(*args, **options)
        if name == "iter" and labelled:
            parts = list(out)
            FUNCTIONS["unbind"](self, name, args, options, parts)
            return iter(parts)
        tensors = [v for v in tree_flatten(out)[0] if isinstance(v, torch.Tensor)]
        if labelled and (tensors or name == "setitem") and name not in SILENT:
            self.write(FUNCTIONS.get(name), name, args, options, out, tensors)
        self.now = before
        return out

    def write(self, handler: Any, name: str, args: Any, options: Any, out: Any, tensors: List[Any]) -> None:
        """Label the results of a function of torch, by its handler; without one they are unknown."""
        label = handler(self, name, args, options, out) if handler else None
        if label is None:  # of several reasons, the first
            given = (self.of(value) for value in tree_flatten((args, options))[0])
            label = next((one for one in given if isinstance(one, UnknownLabel)), UnknownLabel(f"{name}() in forward"))
        if label is not NotImplemented:  # the handler has labelled the parts
            for tensor in tensors:
                self.label(tensor, label)

    # ---- the end ----

    def leading_to(self, output: str) -> List[LayerCall]:
        """The calls that an output depends on, in order."""
        needed, calls = {output}, []
        for call in reversed(list(self.calls.values())):
            if call.name in needed:
                needed |= set(call.sources)
                calls.append(call)
        return calls[::-1]

    def reading(self, net: nn.Module, out: Any) -> Reading:
        """The record of the calls, for the results of ``forward``."""
        if isinstance(out, dict):
            raise Unreadable("forward", "it returns a dict: return the output alone, or (output, ...)")
        several = isinstance(out, (tuple, list)) and len(out) > 0
        first = out[0] if several else out
        label = self.of(first)
        counts = sorted(set(self.counts.values()))
        if len(counts) > 1:
            few = next(path for path, count in self.counts.items() if count == counts[0])
            raise Unreadable(f"layer {few}", f"is called {counts[0]} times, another neuron {counts[-1]} times")
        steps = counts[0] if counts else max(1, self.steps)
        if self.steps and self.steps != steps:
            raise Unreadable("forward", f"it takes {steps} of the {self.steps} steps of its input")
        if isinstance(label, SignalLabel) and steps > 1 and label.step is not None:
            every = [self.of(one) for one in out] if isinstance(out, list) else []
            if every == [SignalLabel(label.name, i) for i in range(steps)]:
                label = StepsLabel(label.name, tuple(range(steps)), 0)
            elif label.step == steps - 1:
                label = StepsLabel(label.name, tuple(range(steps)), None, "last")
        if isinstance(label, StepsLabel):
            if label.steps != tuple(range(steps)):
                raise Unreadable("forward", f"it returns {len(label.steps)} of {steps} steps")
            name, returns = label.name, label.returns
        else:
            (name, step), returns = self.signal(first, "the output"), "steps"
            if step is not None and steps > 1:
                raise Unreadable("forward", f"it returns step {step} of {steps}")
        module = self.calls[name].does if name in self.calls else None
        with_states = several and bool(getattr(module, "init_hidden", False) and getattr(module, "output", False))
        return Reading(net, self.leading_to(name), name, steps, returns, with_states,
                       label.axis if isinstance(label, StepsLabel) else None)  # fmt: skip
