"""Torch's functions for the reader: the module that computes the same, a merge, a number, an order of steps."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional

import torch
from torch import nn

from spikecore.api.layers.merges import Concatenation, Product, Sum
from spikecore.engines.torch.nn.labels import (
    APART,
    Factor,
    Reshaped,
    SignalLabel,
    StateLabel,
    StepsLabel,
    UnknownLabel,
    Unreadable,
)

#: Functions whose results hold nothing of what passes through the network.
SILENT = {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
          "new_empty", "new_full", "new_tensor", "get", "size", "repr", "format", "str"}  # fmt: skip


def _clamped(min: Any = None, max: Any = None) -> nn.Module:  # noqa: A002  (torch's names)
    return nn.ReLU() if max is None and min == 0 else nn.Hardtanh(float("-inf") if min is None else min, max)


def _pool(kind: Any) -> Callable[..., nn.Module]:
    """A function's arguments, in its order, as a max pooling."""

    def module(
        kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
        **others: Any,
    ) -> nn.Module:  # fmt: skip
        made: nn.Module = kind(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode, **others)
        return made

    return module


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    return nn.Dropout(p)


#: Functions that are a module's: the module with the arguments after the input.
MODULES: Dict[str, Callable[..., nn.Module]] = {
    "relu": lambda inplace=False: nn.ReLU(),  # noqa: ARG005
    "relu6": lambda inplace=False: nn.ReLU6(),  # noqa: ARG005
    "hardtanh": lambda min_val=-1.0, max_val=1.0, inplace=False: nn.Hardtanh(min_val, max_val),  # noqa: ARG005
    "clamp": _clamped,
    "clip": _clamped,
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "max_pool1d": _pool(nn.MaxPool1d),
    "max_pool2d": _pool(nn.MaxPool2d),
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
}


def _module(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    given = [*args] or [options["input"]]
    options = {key: value for key, value in options.items() if key != "input"}
    if any(rec.of(value) is not None for value in (*given[1:], *options.values())):
        return UnknownLabel(rec.now, "its options depend on the input; write numbers")
    if not isinstance(rec.of(given[0]), SignalLabel):
        return None
    if name.startswith("dropout"):
        training = options.get("training", given[2] if len(given) > 2 else True)
        if training and not rec.training:
            raise Unreadable(rec.now, "it drops in evaluation, too: write training=self.training, or nn.Dropout")
    key = name, tuple(map(repr, given[1:])), tuple(sorted((k, repr(v)) for k, v in options.items() if k != "training"))
    return rec.function(key, name, MODULES[name](*given[1:], **options), [given[0]], out)


def _same(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    label = rec.of(args[0])
    if name == "detach" and rec.gradients and label not in (SignalLabel("input", None), None):
        return UnknownLabel(rec.now, "it cuts the gradient, as no layer does; leave it out")
    return label


def _converted(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    return rec.of(args[0]) if out.dtype == args[0].dtype or rec.of(args[0]) == SignalLabel("input", None) else None


def _zero(value: Any) -> bool:
    return not bool(torch.count_nonzero(value)) if isinstance(value, torch.Tensor) else value == 0


def _add(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    if len(args) != 2 or options:
        return UnknownLabel(rec.now, "only the sum of two signals can be read")
    one, two = map(rec.of, args)
    for label, other, value in ((one, two, args[1]), (two, one, args[0])):
        if label is not None and other is None and not isinstance(label, UnknownLabel):
            if _zero(value) and out.shape == args[0 if label is one else 1].shape:
                return label
            shown = f"a tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
            return UnknownLabel(f"{rec.now} ({name})", f"takes {shown}, which is no signal of the network")
    if isinstance(two, SignalLabel) and _is_sum(one, two):
        steps: Any = ((one.step,) if isinstance(one, SignalLabel) else one.steps) + (two.step,)  # none of them is None
        return StepsLabel(two.name, steps, None, "sum")
    if not (isinstance(one, SignalLabel) and isinstance(two, SignalLabel)):
        return next((label for label in (one, two) if isinstance(label, UnknownLabel)), None)
    if args[0].shape != args[1].shape:
        shapes = f"{tuple(args[0].shape[1:])} and {tuple(args[1].shape[1:])}"
        return UnknownLabel(f"{rec.now} ({name})", f"adds samples of shape {shapes}; they must be equal")
    return rec.function("add", "add", Sum(), args, out)


def _is_sum(one: Any, two: SignalLabel) -> bool:
    """Whether a signal is added to the same one of the steps before."""
    if isinstance(one, SignalLabel):
        steps = one.step, two.step
        return one.name == two.name and steps[0] is not None and steps[1] == steps[0] + 1
    total = isinstance(one, StepsLabel) and one.returns == "sum" and one.name == two.name
    return total and two.step == one.steps[-1] + 1


def _multiply(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    one, two = map(rec.of, args[:2])
    if isinstance(one, SignalLabel) and isinstance(two, SignalLabel):
        return rec.function("mul", "mul", Product(), args, out) if args[0].shape == args[1].shape else None
    signal, factor = (args[0], args[1]) if two is None else (args[1], args[0])
    label = rec.of(signal)
    if isinstance(label, StepsLabel) and label.returns == "sum" and _is_number(factor):
        return _mean_of(label, 1.0 / factor if factor else 0.0)
    if not isinstance(label, SignalLabel) or rec.of(factor) is not None or tuple(out.shape) != tuple(signal.shape):
        return None
    return _scaled(rec, signal, factor, out)


def _divide(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    label = rec.of(args[0])
    if options or not _is_number(args[1]) or args[1] == 0:
        return None
    if isinstance(label, StepsLabel) and label.returns == "sum":
        return _mean_of(label, args[1])
    return _scaled(rec, args[0], 1.0 / args[1], out) if isinstance(label, SignalLabel) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _mean_of(total: StepsLabel, count: float) -> Optional[StepsLabel]:
    return total._replace(returns="mean") if math.isclose(count, len(total.steps)) else None


def _scaled(rec: Any, signal: Any, factor: Any, out: Any) -> Any:
    key = ("mul", id(factor) if isinstance(factor, torch.Tensor) else factor)
    if isinstance(factor, torch.Tensor):
        rec.label(factor, None)  # keeps it, so that its id stays its own
        if factor.dim() == out.dim() and factor.dim() > 0:
            if factor.shape[0] != 1:
                return None
            factor = factor[0] if not isinstance(factor, nn.Parameter) else factor
    return rec.function(key, "mul", Factor(factor), [signal], out)


def _concatenate(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    parts: Any = args[0] if args else options["tensors"]
    dim: Any = args[1] if len(args) > 1 else options.get("dim", options.get("axis", 0))
    labels = [rec.of(part) for part in parts]
    if all(isinstance(label, StepsLabel) and label.axis == dim % out.dim() for label in labels):
        names = {label.name for label in labels}
        steps = tuple(step for label in labels for step in label.steps)
        return StepsLabel(labels[0].name, steps, labels[0].axis) if len(names) == 1 else None
    if dim % out.dim() == 0:
        return UnknownLabel(
            f"{rec.now} ({name})", f"dim={dim!r} is the batch; only axes of a sample can be put side by side"
        )
    for part in parts:
        rec.signal(part, rec.now)
    return rec.function(("cat", dim % out.dim()), "cat", Concatenation(dim % out.dim() - 1), parts, out)


def _stack(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    parts: Any = args[0] if args else options["tensors"]
    dim = args[1] if len(args) > 1 else options.get("dim", 0)
    labels = [rec.of(part) for part in parts]
    if any(isinstance(label, StateLabel) for label in labels):
        return UnknownLabel(rec.now, "these are states of neurons: model(x, record=True).states has them")
    if not all(isinstance(label, SignalLabel) and label.step is not None for label in labels):
        return next((label for label in labels if isinstance(label, UnknownLabel)), None)
    same = len({label.name for label in labels}) == 1
    return StepsLabel(labels[0].name, tuple(label.step for label in labels), dim % out.dim()) if same else None


def _over(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    """A sum or a mean: over the steps, or over the space of a map."""
    label = rec.of(args[0])
    dims: Any = args[1] if len(args) > 1 else options.get("dim", options.get("axis"))
    axes = args[0].dim()
    over = sorted(axis % axes for axis in ((dims,) if isinstance(dims, int) else dims or ()))
    if isinstance(label, StepsLabel) and over == [label.axis] and label.returns == "steps":
        return label._replace(axis=None, returns=name)
    if not isinstance(label, SignalLabel) or name != "mean" or len(over) == 0:
        return None
    if axes != 4 or over != [2, 3]:
        return UnknownLabel(
            f"{rec.now} ({name})", "only the mean over height and width of maps can be read, dim=(2, 3)"
        )
    ones = (*args[0].shape[:2], 1, 1)
    pooled = rec.function("mean", "mean", nn.AdaptiveAvgPool2d(1), [args[0]], args[0].new_zeros(ones))
    if out.dim() == 4:
        return pooled
    return rec.add("flat", "mean_flat", rec.now, nn.Flatten(), [pooled], tuple(out.shape), called=True)


def _reshape(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    label, before, after = rec.of(args[0]), tuple(args[0].shape), tuple(out.shape)
    if not isinstance(label, SignalLabel):
        return (
            label if isinstance(label, (UnknownLabel, StateLabel)) or (label is not None and before == after) else None
        )
    if before == after:
        return label
    if name == "unsqueeze" and after[1:] == before and label.step is not None:
        return StepsLabel(label.name, (label.step,), 0)
    if after[0] != rec.batch:
        return UnknownLabel(f"{rec.now} ({name})", f"gives {after} of {before}; the first axis must stay the batch")
    if after == (before[0], math.prod(before[1:])):
        return rec.function("flatten", name, nn.Flatten(), args[:1], out)
    return rec.function(("reshape", after[1:]), name, Reshaped(after[1:]), args[:1], out)


def _item(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    label, index = rec.of(args[0]), args[1]
    places: List[Any] = [*index] if isinstance(index, tuple) else [index]
    if name == "select":
        places = [*[slice(None)] * (index % args[0].dim()), args[2]]
    whole = [slice(None), Ellipsis]
    if isinstance(label, SignalLabel) and all(place in whole for place in places):
        return label
    if label == SignalLabel("input", None) and any(isinstance(place, int) for place in places):
        return UnknownLabel(rec.now, f"it {APART}: only steps of a sequence are taken one by one")
    if not isinstance(label, StepsLabel) or label.axis is None:
        return label if isinstance(label, (UnknownLabel, StateLabel)) else None
    chosen = places[label.axis] if label.axis < len(places) and Ellipsis not in places[: label.axis] else None
    others = [place for axis, place in enumerate(places) if axis != label.axis]
    if not isinstance(chosen, int) or not all(place in whole for place in others):
        return None
    return SignalLabel(label.name, label.steps[chosen])


def _unbind(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    label = rec.of(args[0])
    axis = 0 if name == "iter" else args[1] if len(args) > 1 else options.get("dim", 0)
    if not isinstance(label, StepsLabel) or label.axis != axis % args[0].dim():
        rec.label_all(out, UnknownLabel(rec.now, f"it {APART}: only steps of a sequence are taken one by one"))
        return NotImplemented
    for part, step in zip(out, label.steps):
        rec.label(part, SignalLabel(label.name, step))
    return NotImplemented


def _set(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    """A step is written into a tensor: steps from the first to the last are what it holds in the end."""
    target, index, value = args
    step = index[0] if isinstance(index, tuple) and all(one in (slice(None), Ellipsis) for one in index[1:]) else index
    label, before = rec.of(value), rec.of(target)
    steps = before.steps if isinstance(before, StepsLabel) else ()
    fits = isinstance(label, SignalLabel) and label.step == step == len(steps) and (before is None or bool(steps))
    if fits and (not steps or before.name == label.name):
        rec.label(target, StepsLabel(label.name, (*steps, step), 0))
    else:
        rec.label(target, UnknownLabel("an assignment to parts of a tensor in forward"))
    return NotImplemented


def _moved(rec: Any, name: str, args: Any, options: Any, out: Any) -> Any:
    """An order of axes: only that of time and batch may change."""
    label, axes = rec.of(args[0]), list(range(args[0].dim()))
    if not isinstance(label, StepsLabel) or label.axis is None or options:
        return label if isinstance(label, (UnknownLabel, StateLabel)) else None
    given = list(args[1]) if len(args) == 2 and not isinstance(args[1], int) else list(args[1:])
    if name == "permute":
        order = [axis % len(axes) for axis in given]
    else:
        order = axes
        a, b = (axis % len(axes) for axis in given)
        order[a], order[b] = order[b], order[a]
    left = [axis for axis in order if axis != label.axis]
    return label._replace(axis=order.index(label.axis)) if left == sorted(left) else None


#: By name: what a function's result is, from the recorder, the name, the arguments and the result; None: no layer's.
FUNCTIONS: Dict[str, Callable[..., Any]] = {
    **dict.fromkeys(MODULES, _module),
    **dict.fromkeys(("contiguous", "clone", "detach"), _same),
    **dict.fromkeys(("to", "float", "double", "type", "type_as", "cpu", "cuda"), _converted),
    **dict.fromkeys(("add", "iadd", "radd"), _add),
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), _multiply),
    **dict.fromkeys(("div", "truediv", "itruediv", "true_divide", "divide"), _divide),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    "stack": _stack,
    **dict.fromkeys(("sum", "mean"), _over),
    **dict.fromkeys(("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten"), _reshape),
    **dict.fromkeys(("getitem", "select"), _item),
    "unbind": _unbind,
    "setitem": _set,
    **dict.fromkeys(("permute", "transpose", "swapaxes"), _moved),
}
