"""``run``: a step-by-step network on a whole sequence, layer by layer where that gives the same."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union, overload

import torch
from torch import Tensor, nn

from spikecore.api.core.layer import ShapeError
from spikecore.api.core.messages import TrainingWarning
from spikecore.api.core.sizes import whole_number
from spikecore.arguments import Size, checked
from spikecore.engines.torch.modes import hooked, unread, written_down
from spikecore.engines.torch.nn.chain import chain_of, run_chain
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.hooks import heard, masked, only_masks
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.over_time import StepByStep
from spikecore.engines.torch.nn.self_check import DIFFERS, Differs, Unchecked, cannot_check, check
from spikecore.engines.torch.nn.state import check_state, module_of
from spikecore.engines.torch.nn.two_ways import at_once, by_steps
from spikecore.engines.torch.nn.verdicts import verdict_on
from spikecore.kernels.sparse.product import keeping

FORGETS = (
    "run: forward of {} gives layer {!r} the same state at every step, so nothing is remembered from step to step. If "
    "forward has a loop over time of its own, call net(x); else leave the state out, with init_hidden=True, and "
    "utils.reset(net) as well, since run begins at rest"
)
NO_TIME = (
    "run: x of shape {} has an axis for each sample, and none is left for time or for the batch: it is read as {} time "
    "steps of one sample. For a batch that is the same at every step pass num_steps=...; for one sample pass "
    "x.unsqueeze(1), which is (time, batch, ...)"
)
HANDS_ON = (
    "run: layer {!r} ({}) returns (spikes, state), and the next layer of the Sequential, {}, takes one tensor: give "
    "the neuron init_hidden=True, so that it keeps its state and returns the spikes alone"
)
_TAKES = {nn.Linear: 2, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}  # axes of a batch for layers that may come first


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

    The first call of a network compares both ways on three steps, forwards and backwards. Where they differ, the
    network runs step by step from then on, with a ``TrainingWarning``. ``explain`` lists the compared values.

    Args:
        net: a Sequential or any module whose ``forward`` is one time step; its neurons keep their state
            (``init_hidden=True``, or no states passed).
        x: (time, batch, ...); with ``num_steps`` (batch, ...), an input that is constant in time.
        num_steps: number of steps of a constant input.
        state: states to start from, as ``utils.get_state`` returns them; None starts at rest, whatever earlier calls
            left.
        explain: True prints what ran how; a function is called with that text.
        fused: whether neurons may run in kernels, which have no second derivative. Small runs use a
            kernel as soon as it is compiled; gradients may then change in their last bits. False always differentiates
            a loop over the neuron's step.
        record: names of layers, as in ``net.named_modules()``, whose spikes and states (or outputs) to return.

    Returns:
        The outputs of ``net`` at each step, stacked over time; with ``record`` a pair of that and
        ``{layer: {"spk": ..., "mem": ...}}``, ``{"output": ...}`` for other layers.

    The final states stay on the modules, detached.

    Warns:
        TrainingWarning: the comparison found a difference; ``forward`` restarts a neuron at every step, as one with a
            loop over time of its own does; or ``x`` seems to be a batch without a time axis.

    Raises:
        ShapeError: no time step.
        ValueError: ``num_steps`` is no int >= 1.
        KeyError: a state or a recorded layer that the network does not have.
    """
    names = (record,) if isinstance(record, str) else tuple(record)
    steps = _steps(x, num_steps)
    # A chain runs no code but torch's Linear and ours, in an order that is known; conformance tests compare it with the
    # loop. All others run a forward of the user's own, and are compared with the loop in their first call.
    layers = None if names or explain else chain_of(module_of(net))
    if layers is not None:
        if state is not None:
            check_state(net, state)
        out = run_chain(layers, x.unsqueeze(0) if num_steps is not None else x, steps, state, fused)
        if out is not None:
            return out
    modules = dict(module_of(net).named_modules())
    listens = heard(*modules.values())
    if listens and only_masks(modules.values()):
        with masked(modules.values()) as addresses, keeping(addresses):
            return run(net, x, num_steps, state, explain, record, fused)  # type: ignore[call-overload]  # as called
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise KeyError(f"record: no layer {unknown[0]!r} in the network; it has {', '.join(filter(None, modules))}")
    if state is not None:
        check_state(net, state)
    data = x.unsqueeze(0) if num_steps is not None else x
    if num_steps is None:
        _warn_of_no_time(modules, x)
    verdict, rows = None, {}  # type: Any, Dict[str, Any]
    try:
        if written_down() is not None:  # a tracer cannot follow stand-ins
            raise StepByStep("torch.export or torch.jit writes down every call")
        if listens:
            raise StepByStep("hooks are to see every call")
        verdict = verdict_on(net, modules, data, fused)
        with _told_of_pairs(net):
            out, recorded, rows = _at_once(verdict, net, modules, data, steps, state, names, fused, bool(explain))
    except StepByStep as reason:
        watched = _restarts(module_of(net), modules[reason.restarted]) if reason.restarted else None
        with watched or contextlib.nullcontext([]) as restarts, _told_of_pairs(net):
            out, recorded = by_steps(net, modules, data, steps, state, names)
        if verdict is not None and not hooked():  # to whom a call must do the same again
            verdict.refuse(reason)  # not before: it may be the input that is wrong
        if isinstance(reason, Differs):
            warnings.warn(DIFFERS.format(type(module_of(net)).__name__, reason), TrainingWarning, stacklevel=3)
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
    if x.layout is not torch.strided:
        raise TypeError(f"run: x has the layout {x.layout}, which goes one step at a time only: x.to_dense()")
    if num_steps is None:
        if x.dim() < 1 or x.shape[0] < 1:
            raise ShapeError(f"run: x of shape {tuple(x.shape)} has no time step; expected (time, batch, ...)")
        return int(x.shape[0])
    return whole_number("run: num_steps", num_steps, 1)


@unread  # by torch.compile
def _at_once(
    verdict: Any, net: Any, modules: Any, data: Any, steps: int, state: Any, names: Any, fused: bool, explain: bool
) -> Tuple[Any, Any, Dict[str, Any]]:
    """The network's results at once, the records, and the report of each layer; its first call is checked.

    Raises:
        StepByStep: why it is not known to give the same as the loop.
    """
    if verdict.reason is not None:
        raise verdict.reason
    unchecked = "" if verdict.equal else cannot_check(modules, data)
    if not unchecked:
        if verdict.is_due:
            try:
                verdict.equal = check(net, modules, data, steps, fused)
            except Unchecked as why:
                verdict.unchecked = str(why)
        verdict.calls += 1
    out, recorded, over = at_once(net, modules, data, steps, state, names, fused, explain)
    rows = {f"{name} ({type(modules[name]).__name__})".lstrip(): how for name, how in over.rows.items()}
    rows["compared with the loop"] = verdict.equal or f"not yet, {unchecked or verdict.unchecked}"
    return out, recorded, rows


@contextlib.contextmanager
def _told_of_pairs(net: Any) -> Iterator[None]:
    """Name the neuron of a Sequential that hands its state on, where torch says that a layer got a tuple."""
    try:
        yield
    except TypeError as error:
        layers = [*_in_order(module_of(net))]
        for (name, one), (_, following) in zip(layers, layers[1:]):
            known = type(following).__module__.startswith(("torch.", "spikecore."))  # others may take what they like
            if isinstance(one, SpikingNeuron) and one.returned_states() and known and "not tuple" in str(error):
                raise TypeError(HANDS_ON.format(name, type(one).__name__, type(following).__name__)) from error
        raise


def _in_order(net: Any, path: str = "") -> Iterator[Tuple[str, Any]]:
    """The layers of Sequentials, one after the other, by name."""
    for name, layer in net._modules.items() if type(net) is nn.Sequential else ():
        yield from _in_order(layer, f"{path}{name}.") if type(layer) is nn.Sequential else [(f"{path}{name}", layer)]


def _warn_of_no_time(modules: Dict[str, nn.Module], x: Any) -> None:
    """Warn of a batch that seems to have no time axis: its samples would be taken for steps."""
    layer: Any = next((m for m in modules.values() if isinstance(m, Hidden) or type(m) in _TAKES), None)
    if isinstance(layer, Hidden) or layer is None or x.dim() != _TAKES[type(layer)]:
        return
    if x.shape[1] == (layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels):
        warnings.warn(NO_TIME.format(tuple(x.shape), len(x)), TrainingWarning, stacklevel=3)


@contextlib.contextmanager
def _restarts(net: nn.Module, neuron: nn.Module) -> Iterator[List[bool]]:
    """Whether ``forward`` gives a neuron the state of the first step again, at each later step in its first call."""
    begun: List[None] = []  # calls of the network
    first: List[List[torch.Tensor]] = []
    same: List[bool] = []

    def note(module: Any, inputs: Tuple[Any, ...], named: Dict[str, Any]) -> None:
        if len(first) + len(same) < len(begun):
            given = (*inputs[1:], *named.values()) or module.hidden().values()
            states = [value.detach() for value in given if isinstance(value, torch.Tensor)]
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
