"""Check whether PopTorch can compile a module and differentiates it as meant, on any machine, without compiling it.

The forward pass with its loss runs twice on the CPU, on different inputs, and ``watch.py`` observes both passes. The
check compares every aten operator with the list of those that PopTorch lowers. It follows which device every tensor
would be on, and which writes to shared memory it would miss. It compares the two passes with each other, and weights
and buffers before and after. It looks for constructs that PopTorch accepts and silently gets wrong.
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
    """Check a torch module: one of the user's own, or one that the engine has built.

    Args:
        module: its forward takes ``inputs``, batch first, and in training returns its loss. It is not changed.
        inputs: tensors, one for each argument of forward.
        training: whether the module is meant for ``poptorch.trainingModel``.
        optimizer: a torch, PopTorch or spikecore optimiser to check as well.
        options: options of the engine, which say into how many parts a batch is cut; None takes the defaults.
        title: name of the module in the report; by default the name of its class.

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
    """Observe one forward pass; weights and buffers have their old values afterwards."""
    watch = Watch(report, names, training)
    if hasattr(module, "entered"):
        module.entered = watch.enter  # type: ignore[assignment]
    before = {name: (value, value.data_ptr(), value.detach().clone()) for name, folder, key in places(module)
              for value in [folder[key]]}  # fmt: skip
    out = None
    try:
        copies = [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]
        out = watch.run(module, copies, [value for value, _, _ in before.values()])
    except Exception as error:
        report.add(
            Finding(
                "error",
                watch.failed or watch.layer,
                f"the forward pass fails: {type(error).__name__}: {error}",
                "Correct this error first",
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
            report.add(Finding("input", "", kind, "Pass plain tensors; constants belong in the module"))
        elif not x.ndim or 0 in x.shape:
            report.add(
                Finding(
                    "input", "", f"input {i} has shape {tuple(x.shape)}", "Every input needs a batch axis, none empty"
                )
            )
        elif x.shape[0] % parts:
            reason = f"axis 0 of input {i} is {x.shape[0]}, which cannot be cut into {parts} equal parts"
            report.add(Finding("batch", "", reason, f"Make the batch, along axis 0, a multiple of {parts}"))
        else:
            _check_dtype(report, "", f"input {i}", x)
    if len({x.shape[0] for x in inputs if isinstance(x, torch.Tensor) and x.ndim}) > 1:
        extents = ", ".join(str(tuple(x.shape)) for x in inputs)
        remedy = "Put the batch first in every input"
        report.add(Finding("batch", "", f"the inputs {extents} differ along axis 0", remedy, error=parts > 1))


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
            report.add(Finding("empty tensor", name, f"its shape {tuple(value.shape)} has no entries", "Remove it"))
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            report.add(
                Finding("tensor subclass", name, f"{type(value).__name__} cannot be traced", "Use plain tensors")
            )
        _check_dtype(report, name.rpartition(".")[0], name, value)


def _check_optimizer(report: CheckReport, optimizer: Any) -> None:
    kinds = [kind.__name__ for kind in type(optimizer).__mro__]
    ours = isinstance(optimizer, Optimizer)
    if not (isinstance(optimizer, (SGD, Adam, RMSprop)) if ours else set(kinds) & set(OPTIMIZERS)):
        allowed = "SGD, Adam, AdamW, RMSprop" if ours else ", ".join(OPTIMIZERS)
        report.add(Finding("optimiser", "", f"{kinds[0]} does not run on an IPU", f"Use one of {allowed}"))
    elif not ours and kinds[0] not in OPTIMIZERS:
        report.add(
            Finding("optimiser", "", f"{kinds[0]} is a subclass: its Python step is ignored", "Use the class itself")
        )
    if ours and optimizer.groups:
        report.add(Finding("optimiser", "", "groups of parameters do not run on an IPU yet", "Leave groups out"))
    if ours and optimizer.keep_zeros:
        report.add(Finding("optimiser", "", "an IPU updates all weights, zeros too", "Leave keep_zeros out"))
    if any(group.get("amsgrad") for group in getattr(optimizer, "param_groups", ())):
        report.add(Finding("optimiser", "", "amsgrad does not exist on an IPU", "Use amsgrad=False"))
    groups = getattr(optimizer, "param_groups", [{"dampening": getattr(optimizer, "dampening", 0.0)}])
    if any(group.get("dampening") for group in groups):
        reason = "with dampening the velocity starts at 0; in torch it starts at the first gradient"
        report.add(Finding("optimiser", "", reason, "Use dampening=0 if the first steps matter", error=False))


# ---- after ----------------------------------------------------------------------------------------------------------


def _check_storage(report: CheckReport, module: torch.nn.Module, before: Dict[str, Any]) -> None:
    """Compare weights and buffers with their old values, and restore those."""
    for name, folder, key in list(places(module)):
        if name not in before:
            report.add(Finding("new buffer", name, "it is new after the forward pass", "Register it in __init__"))
            continue
        value, storage, copy = before[name]
        now = folder[key]
        if now is not value:
            report.add(Finding("reassigned buffer", name, "a new tensor takes its place", "Change it in place: copy_"))
        elif now.data_ptr() != storage:
            report.add(Finding(".data =", name, "assignment to .data is silently lost", "Use copy_ on a float buffer"))
        elif not value.is_floating_point() and not torch.equal(value, copy):
            only_counts = name.endswith("num_batches_tracked")
            remedy = "It counts batches: harmless unless momentum=None" if only_counts else "Make it a float buffer"
            reason = "changes of whole-number buffers are silently lost"
            report.add(Finding("integer buffer", name, reason, remedy, error=not only_counts))
        folder[key] = value
        if now.data_ptr() != storage or not torch.equal(value.detach(), copy):
            value.data = copy


def _check_loss(report: CheckReport, module: torch.nn.Module, watch: Watch, out: Any) -> None:
    """Check that there is one loss, that nothing is added to it later, and that every weight has a path to it."""
    wrap = "Return poptorch.identity_loss(total, 'none')"
    if not watch.losses:
        report.add(Finding("no loss", "", "there is no loss in the graph", wrap))
        return
    final = final_losses(watch.losses)
    if len(final) > 1:
        report.add(Finding("several losses", "", f"there are {len(final)} independent losses", f"Add them up. {wrap}"))
        return
    outputs = out if isinstance(out, (tuple, list)) else [out]
    later = [
        x for x in outputs if isinstance(x, torch.Tensor) and x is not final[0] and final[0].grad_fn in ancestors(x)
    ]
    if later and final[0].grad_fn is not None:
        report.add(
            Finding(
                "unwrapped loss", "", "terms are added to a loss of torch, and only that loss is differentiated", wrap
            )
        )
    if final[0].ndim:
        report.add(Finding("loss", "", f"it has shape {tuple(final[0].shape)}", "Reduce it to one number"))
    reached = {id(getattr(function, "variable", None)) for function in ancestors(final[0])}
    for name, folder, key in places(module):
        if folder[key].requires_grad and id(folder[key]) not in reached and not watch.recomputed:
            reason = "it has no path to the loss: it is not trained, and the optimiser has no array for it"
            report.add(Finding("no gradient", name, reason, "Remove it, or set requires_grad=False", error=False))


def _compare(report: CheckReport, first: Watch, again: Watch) -> None:
    """Check that two passes on different inputs call the same operators with the same numbers."""
    pairs = list(zip(first.calls, again.calls))
    where = next((a.layer for a, b in pairs if (a.name, a.outputs) != (b.name, b.outputs)), None)
    if where is None and len(first.calls) != len(again.calls):
        where = max(first.calls, again.calls, key=len)[len(pairs)].layer
    if where is not None:
        reason = "two passes record different operators or shapes: PopTorch would compile only the first"
        report.add(Finding("two traces", where, reason, "Make it independent of values and of counters that change"))
        return
    reported_layers = set()
    for a, b in pairs:
        if a.numbers != b.numbers and a.layer not in reported_layers:
            reported_layers.add(a.layer)
            reason = f"aten::{a.name} gets {a.numbers}, and in the next pass {b.numbers}: PopTorch compiles the first"
            if a.name in ("constant", "lift_fresh"):
                reason = "a tensor made of numbers has others in the next pass: PopTorch compiles the first ones"
            remedy = "Pass numbers that change as an input, or keep them in a float buffer and change it with copy_"
            report.add(Finding("frozen number", a.layer, reason, remedy))


def _other(x: Any) -> Any:
    """An input of the same shape and type with other values in another order."""
    if not isinstance(x, torch.Tensor):
        return x
    flipped = x.flip(0) if x.ndim else x
    return 1.5 * flipped + 0.25 if x.is_floating_point() else flipped
