"""Will PopTorch take this module, and differentiate it as meant? Answered on any machine, before anything is compiled.

The forward pass, with its loss, runs twice on the CPU on different inputs, under observation (``watch.py``): every aten
operator against the list of those PopTorch lowers, where every tensor would lie and what it would see of writes to
others, both passes against each other, weights and buffers before and after, and the constructs that PopTorch accepts
and silently gets wrong.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

import torch

from spikecore.api.training.optimizers import SGD, Adam, Optimizer, RMSprop
from spikecore.engines.ipu.findings import CheckReport, Finding, large_graph
from spikecore.engines.ipu.options import IpuOptions
from spikecore.engines.ipu.simulation.device import places
from spikecore.engines.ipu.simulation.rules import ancestors, final_losses
from spikecore.engines.ipu.traps import IGNORED
from spikecore.engines.ipu.watch import Watch

OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "LAMB")


def check(
    module: torch.nn.Module,
    inputs: Sequence[Any],
    *,
    training: bool = True,
    optimizer: Any = None,
    options: Optional[IpuOptions] = None,
    title: str = "",
) -> CheckReport:
    """Check a torch module, the user's own or the engine's.

    Args:
        module: its forward takes ``inputs``, batch first, and in training returns its loss. It stays as it is.
        inputs: tensors.
        training: whether it is meant for ``trainingModel``.
        optimizer: a torch, PopTorch or spikecore optimiser to check as well.
        options: cut the batch as they say.
        title: what the report calls it.

    Returns:
        ``CheckReport``: print it; ``report.ok``; ``report.findings``.
    """
    report = CheckReport(title or type(module).__name__)
    names = {id(part): name for name, part in module.named_modules()}
    _check_inputs(report, inputs, (options or IpuOptions()).parts(training))
    _check_module(report, module, training)
    if optimizer is not None:
        _check_optimizer(report, optimizer)
    first, out = traced(report, module, inputs, names, training)
    if first is None:
        return report
    report.nodes = len(first.calls)
    if training:
        _check_loss(report, module, first, out)
    again, _ = traced(report, module, [_other(x) for x in inputs], names, training)
    if again is not None:
        _compare(report, first, again)
    large = large_graph(report.nodes, None, None)
    if large is not None:
        report.add(large)
    return report


def traced(
    report: CheckReport, module: torch.nn.Module, inputs: Sequence[Any], names: Dict[int, str], training: bool
) -> Tuple[Optional[Watch], Any]:
    """One forward pass under observation, after which weights and buffers are what they were."""
    watch = Watch(report, names, training)
    if hasattr(module, "entered"):
        module.entered = watch.enter  # type: ignore[assignment]
    before = {name: (value, value.data_ptr(), value.detach().clone()) for name, folder, key in places(module)
              for value in [folder[key]]}  # fmt: skip
    out = None
    try:
        own = [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]
        out = watch.run(module, own, [value for value, _, _ in before.values()])
    except Exception as error:
        report.add(
            Finding(
                "error",
                watch.failed or watch.layer,
                f"the forward pass fails: {type(error).__name__}: {error}",
                "Mend it first",
            )
        )
        return None, None
    finally:
        _check_storage(report, module, before)
        if hasattr(module, "entered"):
            module.entered = None  # type: ignore[assignment]
    return watch, out


# ---- before ---------------------------------------------------------------------------------------------------------


def _check_inputs(report: CheckReport, inputs: Sequence[Any], parts: int) -> None:
    for i, x in enumerate(inputs):
        if type(x) is not torch.Tensor:
            kind = f"input {i} is a {type(x).__name__}"
            report.add(Finding("input", "", kind, "Pass plain tensors; what is constant belongs in the module"))
        elif not x.ndim or 0 in x.shape:
            report.add(
                Finding(
                    "input", "", f"input {i} has shape {tuple(x.shape)}", "Every input needs a batch axis, none empty"
                )
            )
        elif x.shape[0] % parts:
            reason = f"axis 0 of input {i} is {x.shape[0]}, to be cut into {parts} parts"
            report.add(Finding("batch", "", reason, f"Make the batch, along axis 0, a multiple of {parts}"))
        else:
            _check_dtype(report, "", f"input {i}", x)
    if len({x.shape[0] for x in inputs if isinstance(x, torch.Tensor) and x.ndim}) > 1:
        extents = ", ".join(str(tuple(x.shape)) for x in inputs)
        remedy = "Put the batch first in every input"
        report.add(Finding("batch", "", f"inputs {extents} differ along axis 0", remedy, error=parts > 1))


def _check_dtype(report: CheckReport, layer: str, what: str, x: Any) -> None:
    lower = {torch.float64: "float32", torch.int64: "int32"}.get(x.dtype)
    if lower is not None:
        report.add(
            Finding(
                "dtype", layer, f"{what} is {x.dtype} and becomes {lower}", "Nothing is lost if values fit", error=False
            )
        )
    elif x.dtype in (torch.bfloat16, torch.complex64, torch.complex128):
        report.add(
            Finding("dtype", layer, f"{what} is {x.dtype}, which an IPU does not have", "Use float32 or float16")
        )


def _check_module(report: CheckReport, module: torch.nn.Module, training: bool) -> None:
    for name, part in module.named_modules():
        if training and (part._backward_hooks or getattr(part, "_backward_pre_hooks", None)):
            report.add(Finding("hook", name, IGNORED["hook"], "Build the gradient from plain ops"))
    for name, folder, key in places(module):
        value = folder[key]
        if training and getattr(value, "_backward_hooks", None):
            report.add(Finding("hook", name, IGNORED["hook"], "Build the gradient from plain ops"))
        if 0 in value.shape:
            report.add(Finding("empty tensor", name, f"its shape is {tuple(value.shape)}", "Leave it out"))
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            report.add(
                Finding("tensor subclass", name, f"{type(value).__name__} cannot be traced", "Use plain tensors")
            )
        _check_dtype(report, name.rpartition(".")[0], name, value)


def _check_optimizer(report: CheckReport, optimizer: Any) -> None:
    kinds = [kind.__name__ for kind in type(optimizer).__mro__]
    own = isinstance(optimizer, Optimizer)
    if not (isinstance(optimizer, (SGD, Adam, RMSprop)) if own else set(kinds) & set(OPTIMIZERS)):
        allowed = "SGD, Adam, AdamW, RMSprop" if own else ", ".join(OPTIMIZERS)
        report.add(Finding("optimiser", "", f"{kinds[0]} does not run on an IPU", f"Use one of {allowed}"))
    elif not own and kinds[0] not in OPTIMIZERS:
        report.add(
            Finding("optimiser", "", f"{kinds[0]} is a subclass: its Python step is ignored", "Use the class itself")
        )
    if any(group.get("amsgrad") for group in getattr(optimizer, "param_groups", ())):
        report.add(Finding("optimiser", "", "amsgrad does not exist on an IPU", "Leave it out"))
    groups = getattr(optimizer, "param_groups", [{"dampening": getattr(optimizer, "dampening", 0.0)}])
    if any(group.get("dampening") for group in groups):
        reason = "with dampening the velocity starts at 0, in torch at the first gradient"
        report.add(Finding("optimiser", "", reason, "Leave dampening out where the first steps matter", error=False))


# ---- after ----------------------------------------------------------------------------------------------------------


def _check_storage(report: CheckReport, module: torch.nn.Module, before: Dict[str, Any]) -> None:
    """Compare weights and buffers with what they were, and put that back."""
    for name, folder, key in list(places(module)):
        if name not in before:
            report.add(Finding("new buffer", name, "it appears during the forward pass", "Register it in __init__"))
            continue
        value, storage, copy = before[name]
        now = folder[key]
        if now is not value:
            report.add(Finding("reassigned buffer", name, "a new tensor takes its place", "Change it in place: copy_"))
        elif now.data_ptr() != storage:
            report.add(Finding(".data =", name, "assignment to .data is silently lost", "Use copy_ on a float buffer"))
        elif not value.is_floating_point() and not torch.equal(value, copy):
            counted = name.endswith("num_batches_tracked")
            remedy = "It only counts: harmless unless momentum=None" if counted else "Make it a float buffer"
            reason = "changes of whole-number buffers are silently lost"
            report.add(Finding("integer buffer", name, reason, remedy, error=not counted))
        folder[key] = value
        if now.data_ptr() != storage or not torch.equal(value.detach(), copy):
            value.data = copy


def _check_loss(report: CheckReport, module: torch.nn.Module, watch: Watch, out: Any) -> None:
    """Exactly one loss, nothing added to it afterwards, and a path to it from every weight."""
    wrap = "Return poptorch.identity_loss(total, 'none')"
    if not watch.losses:
        report.add(Finding("no loss", "", "no loss in the graph", wrap))
        return
    final = final_losses(watch.losses)
    if len(final) > 1:
        report.add(Finding("several losses", "", f"{len(final)} independent losses", f"Add them up. {wrap}"))
        return
    outputs = out if isinstance(out, (tuple, list)) else [out]
    later = [
        x for x in outputs if isinstance(x, torch.Tensor) and x is not final[0] and final[0].grad_fn in ancestors(x)
    ]
    if later and final[0].grad_fn is not None:
        report.add(
            Finding(
                "unwrapped loss", "", "terms are added to a loss of torch's, and only that loss is differentiated", wrap
            )
        )
    if final[0].ndim:
        report.add(Finding("loss", "", f"it has shape {tuple(final[0].shape)}", "Reduce it to one number"))
    reached = {id(getattr(function, "variable", None)) for function in ancestors(final[0])}
    for name, folder, key in places(module):
        if folder[key].requires_grad and id(folder[key]) not in reached and not watch.recomputed:
            reason = "it has no path to the loss: it is not trained, and the optimiser has no array for it"
            report.add(Finding("no gradient", name, reason, "Leave it out, or set requires_grad=False", error=False))


def _compare(report: CheckReport, first: Watch, again: Watch) -> None:
    """Two passes on different inputs must do the same, with the same numbers."""
    pairs = list(zip(first.calls, again.calls))
    where = next((a.layer for a, b in pairs if (a.name, a.outputs) != (b.name, b.outputs)), None)
    if where is None and len(first.calls) != len(again.calls):
        where = max(first.calls, again.calls, key=len)[len(pairs)].layer
    if where is not None:
        reason = "two passes record different operators or shapes: only the first would be compiled"
        report.add(Finding("two traces", where, reason, "Let nothing depend on values or on counters that change"))
        return
    told = set()
    for a, b in pairs:
        if a.numbers != b.numbers and a.layer not in told:
            told.add(a.layer)
            reason = f"aten::{a.name} is given {a.numbers}, and in the next pass {b.numbers}: the first is compiled"
            if a.name in ("constant", "lift_fresh"):
                reason = "a tensor made of numbers has others in the next pass: the first ones are compiled"
            remedy = "Keep what changes in an input or in a float buffer that changes with copy_"
            report.add(Finding("frozen number", a.layer, reason, remedy))


def _other(x: Any) -> Any:
    """Another input of the same kind: other values, in another order."""
    if not isinstance(x, torch.Tensor):
        return x
    flipped = x.flip(0) if x.ndim else x
    return 1.5 * flipped + 0.25 if x.is_floating_point() else flipped
