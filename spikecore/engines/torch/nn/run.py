"""``run``: a step-by-step network on a whole sequence, layer by layer where that gives the same."""

from __future__ import annotations

import contextlib
import warnings
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union, overload

import torch
from torch import Tensor, nn

from spikecore.api.core.layer import ShapeError
from spikecore.api.core.messages import TrainingWarning
from spikecore.api.core.sizes import whole_number
from spikecore.arguments import Size, checked
from spikecore.engines.torch.modes import unread, written_down
from spikecore.engines.torch.nn.chain import chain_of, run_chain
from spikecore.engines.torch.nn.dispatch import Over, stacked
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.hooks import heard
from spikecore.engines.torch.nn.over_time import OverTime, StepByStep, holding, memory_of
from spikecore.engines.torch.nn.state import check_state, detach, get_state, module_of, neurons_of, reset, set_state
from spikecore.engines.torch.nn.unchanged import unchanged

FORGETS = (
    "run: forward of {} gives layer {!r} the same state at every step, so nothing is remembered from step to step. If "
    "forward has a loop over time of its own, call net(x); else leave the state out, with init_hidden=True"
)


@overload
def run(
    net: nn.Module,
    x: Tensor,
    num_steps: Optional[Size] = None,
    state: Optional[Mapping[str, Tensor]] = None,
    explain: Union[bool, Callable[[str], Any]] = False,
    *,
    fused: bool = True,
) -> Union[Tensor, Any]: ...  # most networks return a tensor, or several


@overload
def run(
    net: nn.Module,
    x: Tensor,
    num_steps: Optional[Size] = None,
    state: Optional[Mapping[str, Tensor]] = None,
    explain: Union[bool, Callable[[str], Any]] = False,
    *,
    record: Union[str, Iterable[str]],
    fused: bool = True,
) -> Tuple[Union[Tensor, Any], Dict[str, Dict[str, Tensor]]]: ...


@checked
def run(
    net: nn.Module,
    x: Any,
    num_steps: Optional[Size] = None,
    state: Optional[Mapping[str, Any]] = None,
    explain: Union[bool, Callable[[str], Any]] = False,
    record: Union[str, Iterable[str]] = (),
    fused: bool = True,
) -> Any:
    """Run a network that is written for one time step on a whole sequence.

    The result is that of the loop ``[net(x[t]) for t in range(T)]`` after a reset: equal spikes, equal gradients.
    ``forward`` runs once, on stand-ins for the tensors of all steps: torch's functions see time and batch as one big
    batch, what is constant in time is computed once, and neurons run through ``engine.scan``. It must depend on its
    input, its parameters and its neurons' states alone. A network that does more runs step by step instead, and so does
    a single function that needs it (batch norm in training mode, say).

    Args:
        net: a Sequential or any module whose ``forward`` is one time step; its neurons keep their state
            (``init_hidden=True``, or no states passed).
        x: (time, batch, ...); with ``num_steps`` (batch, ...), an input that is constant in time.
        num_steps: number of steps of a constant input.
        state: states to start from, as ``utils.get_state`` returns them; None starts at rest, whatever earlier calls
            left.
        explain: True prints what ran how; a function is called with that text.
        fused: whether neurons may run in kernels, which have no second derivative. Small runs take those that are
            compiled, and gradients may change in their last bits when that happens. False always differentiates a loop
            over the neuron's step.
        record: names of layers, as in ``net.named_modules()``, whose spikes and states (or outputs) to return.

    Returns:
        What ``net`` returns at each step, stacked over time; with ``record`` a pair of that and
        ``{layer: {"spk": ..., "mem": ...}}``, ``{"output": ...}`` for other layers.

    The final states stay on the modules, detached.

    Raises:
        ShapeError: no time step.
        ValueError: ``num_steps`` is no int >= 1.
        KeyError: a state or a recorded layer that the network does not have.
    """
    names = (record,) if isinstance(record, str) else tuple(record)
    steps = _steps(x, num_steps)
    layers = None if names or explain else chain_of(module_of(net))
    if layers is not None:
        if state is not None:
            check_state(net, state)
        out = run_chain(layers, x.unsqueeze(0) if num_steps is not None else x, steps, state, fused)
        if out is not None:
            return out
    modules = dict(module_of(net).named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise KeyError(f"record: no layer {unknown[0]!r} in the network; it has {', '.join(filter(None, modules))}")
    if state is not None:
        check_state(net, state)
    data = x.unsqueeze(0) if num_steps is not None else x
    rows: Dict[str, Any]
    try:
        if written_down() is not None:  # a tracer cannot follow stand-ins
            raise StepByStep("torch.export or torch.jit writes down every call")
        out, recorded, rows = _once(net, modules, data, steps, state, names, fused, bool(explain))
    except StepByStep as reason:
        watched = _restarts(module_of(net), modules[reason.restarted]) if reason.restarted else None
        with watched or contextlib.nullcontext([]) as restarts:
            out, recorded = _loop(net, modules, data, steps, state, names)
        if restarts and all(restarts):
            warnings.warn(
                FORGETS.format(type(module_of(net)).__name__, reason.restarted), TrainingWarning, stacklevel=3
            )
        rows = {"the network": f"step by step: {reason}"}
    if explain:
        lines = (f"{name}: {how() if callable(how) else how}" for name, how in rows.items())
        (print if explain is True else explain)("\n".join(lines))
    return (out, recorded) if names else out


def _steps(x: Any, num_steps: Optional[int]) -> int:
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"run: x={type(x).__name__} must be a tensor (time, batch, ...): torch.as_tensor(x)")
    if num_steps is None:
        if x.dim() < 1 or x.shape[0] < 1:
            raise ShapeError(f"run: x of shape {tuple(x.shape)} has no time step; expected (time, batch, ...)")
        return int(x.shape[0])
    return whole_number("run: num_steps", num_steps, 1)


def _loop(net: Any, modules: Any, data: Any, steps: int, state: Any, record: Tuple[str, ...]) -> Tuple[Any, Any]:
    """The loop over time: what it returned and what was recorded, stacked."""
    before = get_state(net)
    reset(net)
    seen: Dict[str, List[Any]] = {name: [] for name in record}
    try:
        if state is not None:
            set_state(net, state)
        with _listening(modules, seen):
            rows = data.unbind(0)
            outputs = stacked([net(rows[t if len(rows) > 1 else 0]) for t in range(steps)])
    except BaseException:
        set_state(net, before)
        raise
    detach(net)
    return outputs, {name: stacked(values) for name, values in seen.items()}


@unread  # by torch.compile
def _once(
    net: Any, modules: Dict[str, Any], data: Any, steps: int, state: Any, record: Any, fused: bool, explain: bool
) -> Tuple[Any, Any, Dict[str, Any]]:
    """One call of the network for all steps: what it returned and what was recorded, over time, and what ran how.

    Raises:
        StepByStep: why that would not give the same as the loop; the network is as it was.
    """
    if heard(*modules.values()):
        raise StepByStep("hooks are to see every call")

    finals: Dict[Any, Any] = {}
    for name, neuron in neurons_of(net):
        given = None if state is None else {n: state[f"{name}.{n}" if name else n] for n in neuron.states}
        finals[neuron] = neuron.at_rest() if given is None else given  # unless it is called
        neuron.by_protocol()  # it keeps what it finds, which is no change that forward makes
    seen: Dict[str, List[Any]] = {name: [] for name in record}
    over = Over(modules, finals, data.device, steps, record, fused)
    with _listening(modules, seen, over.inside if explain else None), unchanged(modules, over.buffers, over.escaped):
        hidden = {neuron: neuron.hidden() for neuron in finals}
        unready = holding(over, data.new_zeros(1))  # in the place of a state until its neuron is called
        unready.refused = "forward looks at the state of a neuron before the neuron is called"
        for neuron in finals:
            neuron.__dict__.update(dict.fromkeys(neuron.states, unready))
        del unready
        try:
            over.owners[memory_of(data)], begin = "the network's input", [holding(over, data)]
            with over, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "There is a performance drop")  # vmap's, where it goes step by step
                out = net(begin.pop())
            over.check_draws()
            out, recorded = over.whole((out, {name: made[0] if made else None for name, made in seen.items()}))
            finals.update({neuron: finish() for neuron, finish in over.runs.items()})
            if any(not isinstance(n.__dict__[s], OverTime) for n in finals for s in n.states):
                raise StepByStep("forward sets the state of a neuron")
            if any(len(made) != 1 for made in seen.values()):
                raise StepByStep("a recorded layer is not called once in a step")
        finally:
            over.runs.clear()
            for rows_of in seen.values():
                rows_of.clear()
            for neuron, values in hidden.items():
                neuron.__dict__.update(values)
    for neuron, last in finals.items():
        neuron.set_hidden(last)
    rows = {f"{name} ({type(modules[name]).__name__})".lstrip(): how for name, how in over.rows.items()}
    return out, recorded, rows


@contextlib.contextmanager
def _listening(
    modules: Dict[str, Any], seen: Dict[str, List[Any]], inside: Optional[List[str]] = None
) -> Iterator[None]:
    """Hooks that fill ``seen`` by layer at every call, and ``inside`` with the layers at work."""
    handles = [modules[name].register_forward_hook(partial(_note, rows)) for name, rows in seen.items()]
    parts = {id(part) for module in modules.values() if isinstance(module, Hidden) for part in module.children()}
    for name, module in modules.items():
        if inside is not None and id(module) not in parts:  # a neuron goes on as without hooks on its connection
            handles.append(module.register_forward_pre_hook(lambda *_, name=name, inside=inside: inside.append(name)))
            handles.append(module.register_forward_hook(lambda *_, inside=inside: inside.__delitem__(-1)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _restarts(net: nn.Module, neuron: nn.Module) -> Iterator[List[bool]]:
    """Whether ``forward`` gives a neuron the state of the first step again, at each later step in its first call."""
    begun: List[None] = []  # calls of the network
    first: List[List[torch.Tensor]] = []
    same: List[bool] = []

    def note(_: Any, inputs: Tuple[Any, ...], named: Dict[str, Any]) -> None:
        if len(first) + len(same) < len(begun):
            states = [value.detach() for value in (*inputs[1:], *named.values()) if isinstance(value, torch.Tensor)]
            if first:
                same.append(len(states) == len(first[0]) and all(map(_equal, states, first[0])))
            else:
                first.append([value.clone() for value in states])

    handles = [
        net.register_forward_pre_hook(lambda *_: begun.append(None)),
        neuron.register_forward_pre_hook(note, with_kwargs=True),
    ]
    try:
        yield same
    finally:
        for handle in handles:
            handle.remove()


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (a.dtype, a.device) == (b.dtype, b.device) and torch.equal(a, b)


def _note(rows: List[Any], module: Any, _: Any, output: Any) -> None:
    """A forward hook that records a layer: a neuron's spikes and states, what another one returns."""
    if isinstance(module, Hidden) and module.states:
        rows.append({**module.hidden(), "spk": output[0] if isinstance(output, tuple) else output})
    else:
        rows.append({"output": output})
