"""Values over time, and how layers and functions of one step act on them."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from spikecore.engines.torch.layout import FEW_BYTES, canonical, channels_last
from spikecore.engines.torch.nn import kinds
from spikecore.engines.torch.nn.snapshot import Untraceable
from spikecore.engines.torch.product import call_linear

ONCE = "once: constant in time"
WHOLE = "all steps at once"
MERGED = "time and batch merged"


class Sequence:
    """A tensor at every step: (time, *step), or a time axis of 1 for what is the same at all steps."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    @property
    def constant(self) -> bool:
        """Whether there is one value for all steps."""
        return bool(self.data.shape[0] == 1)

    def full(self, steps: int) -> Any:
        """The tensor with its whole time axis."""
        return self.data.expand(steps, *self.data.shape[1:]) if self.constant else self.data


Found = Optional[Tuple[Any, str]]


def step_by_step(function: Callable[..., Any], args: Any, kwargs: Any, steps: int, why: str) -> Tuple[Any, str]:
    """Call the function once per step, and stack what it returns."""
    leaves, spec = pytree.tree_flatten((args, kwargs))
    rows = [_rows(leaf, steps) if isinstance(leaf, Sequence) else None for leaf in leaves]
    made = []
    for t in range(steps):
        now = [leaf if row is None else row[t] for leaf, row in zip(leaves, rows)]
        positional, named = pytree.tree_unflatten(now, spec)
        made.append(function(*positional, **named))
    if not _alike(made):
        raise Untraceable(f"{getattr(function, '__name__', 'a function')} makes something else at every step")
    return stacked(made), f"step by step: {why}"


def _rows(x: Sequence, steps: int) -> List[Any]:
    made = [canonical(row) for row in x.data.unbind(0)]
    return made * steps if x.constant else made


def _alike(made: List[Any]) -> bool:
    """Whether structures have tensors of one shape at the same places, and are otherwise equal."""

    def outline(one: Any) -> Any:
        leaves, spec = pytree.tree_flatten(one)
        return spec, [(x.shape, x.dtype) if isinstance(x, torch.Tensor) else x for x in leaves]

    first = outline(made[0])
    return all(outline(one) == first for one in made[1:])


def stacked(made: List[Any]) -> Any:
    """Structures of tensors, one per step, as one structure of sequences; what is no tensor must not change."""
    flat = [pytree.tree_flatten(one) for one in made]
    spec, columns = flat[0][1], list(zip(*(leaves for leaves, _ in flat)))
    joined = [Sequence(torch.stack(c)) if isinstance(c[0], torch.Tensor) else c[0] for c in columns]
    return pytree.tree_unflatten(joined, spec)


def merged(function: Callable[[Any], Any], x: Sequence) -> Optional[Sequence]:
    """Call a function of (batch, ...) on all steps as one big batch; None if it does not give a tensor for all."""
    time, batch = x.data.shape[:2]
    y = function(canonical(x.data.reshape(time * batch, *x.data.shape[2:])))
    if not isinstance(y, torch.Tensor) or y.shape[:1] != (time * batch,):
        return None
    return Sequence(y.reshape(time, batch, *y.shape[1:]))


def chained(modules: List[Any], x: Sequence, last: bool) -> Any:
    """Mergeable layers one after the other on all steps, on the CPU a few steps at a time.

    What lies between them then stays in the cache, and its memory is used again instead of being asked for anew. With
    ``last``, convolutions may get and leave their channels next to each other in memory.
    """

    def apply(flat: Any) -> Any:
        for module in modules:
            flat = module(_ordered(module, flat, last))
        return flat

    time, batch = x.data.shape[:2]
    if x.constant or x.data.device.type != "cpu" or _bytes(x.data) < FEW_BYTES:
        return merged(apply, x)
    with torch.no_grad():  # how large one step gets between the layers
        part, largest = canonical(x.data[0]), 1
        for module in modules:
            part = module(part)
            largest = max(largest, _bytes(part))
    steps = max(1, FEW_BYTES // largest)
    flat = x.data.reshape(time * batch, *x.data.shape[2:])
    y = torch.cat([apply(canonical(part)) for part in flat.split(steps * batch)])
    return Sequence(y.reshape(time, batch, *y.shape[1:]))


def _ordered(module: nn.Module, x: Any, last: bool) -> Any:
    """The input in the order in memory that suits the layer."""
    return channels_last(x) if last and type(module) is nn.Conv2d else x


def _bytes(x: Any) -> int:
    return int(x.numel() * x.element_size())


def reshaped(function: Callable[[Any], Any], x: Sequence) -> Optional[Sequence]:
    """Call a function that changes the shape of a step and not the order of its values; None if it does more."""
    one = function(x.data[0])
    return Sequence(x.data.reshape(x.data.shape[0], *one.shape)) if one.dtype == x.data.dtype else None


def _only(args: Any, kwargs: Any) -> Optional[Sequence]:
    """The first argument, if it is a sequence and no other argument is one."""
    leaves = pytree.tree_flatten((args, kwargs))[0]
    count = sum(isinstance(leaf, Sequence) for leaf in leaves)
    return args[0] if count == 1 and args and isinstance(args[0], Sequence) else None


def layer(module: nn.Module, args: Any, kwargs: Any, last: bool) -> Found:
    """A stateless layer of torch on a whole sequence; None if it has to run step by step."""
    x, kind = _only(args, kwargs), type(module)
    if x is None or len(args) > 1 or kwargs or kinds.hooked(module) or kinds.learns_statistics(module):
        return None
    axes = x.data.dim() - 1  # of one step
    if kind in kinds.ELEMENTWISE or (kind in kinds.LAST_AXES and axes >= _needed(module)):
        y = call_linear(module, x.data) if kind is nn.Linear else module(x.data)
        return Sequence(y), ONCE if x.constant else WHOLE
    if mergeable(module, axes) and x.data.numel():
        y = merged(lambda flat: module(_ordered(module, flat, last)), x)
        return None if y is None else (y, ONCE if x.constant else MERGED)
    if kind in kinds.RESHAPES:
        return reshaped(module, x), ONCE if x.constant else WHOLE
    if isinstance(module, nn.modules.dropout._DropoutNd) and not kinds.draws(module):
        return x, "nothing to do"
    return None


def mergeable(module: Any, axes: int) -> bool:
    """Whether a layer takes (batch, ...) with this many axes, each sample by itself, and keeps their number."""
    free = not (kinds.hooked(module) or kinds.learns_statistics(module) or getattr(module, "return_indices", False))
    return free and (type(module) in kinds.ELEMENTWISE or axes in kinds.BATCHED.get(type(module), ()))


def _needed(module: Any) -> int:
    return len(module.normalized_shape) if isinstance(module, nn.LayerNorm) else 1


def function(node: fx.Node, args: Any, kwargs: Any, steps: int) -> Any:
    """A call of a function or method in ``forward`` on sequences; the fallback is one call per step."""
    call = _callable(node)
    if not any(isinstance(leaf, Sequence) for leaf in pytree.tree_flatten((args, kwargs))[0]):
        return call(*args, **kwargs)
    found = _at_once(node, call, args, kwargs, steps)
    if found is not None:
        return found
    constant = all(leaf.constant for leaf in pytree.tree_flatten((args, kwargs))[0] if isinstance(leaf, Sequence))
    once = constant and not kinds.draws_in_function(node)
    return step_by_step(call, args, kwargs, 1 if once else steps, "")[0]


def _callable(node: fx.Node) -> Callable[..., Any]:
    if node.op == "call_method":
        return lambda x, *args, **kwargs: getattr(x, str(node.target))(*args, **kwargs)
    target: Any = node.target
    return kinds.OUT_OF_PLACE.get(target, target)


def _at_once(node: fx.Node, call: Any, args: Any, kwargs: Any, steps: int) -> Any:
    name, method = kinds.function_name(node), node.op == "call_method"
    if not args or any(isinstance(leaf, (Sequence, torch.Tensor)) for leaf in pytree.tree_flatten(kwargs)[0]):
        return None
    x = args[0]
    if name == "getitem" and isinstance(x, Sequence) and not isinstance(args[1], torch.Tensor):
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if all(i is None or i is Ellipsis or isinstance(i, (int, slice)) for i in index):
            return Sequence(x.data[(slice(None), *index)])
        return None
    if isinstance(x, Sequence) and (name in kinds.QUESTIONS or (name == "getattr" and args[1] in kinds.QUESTIONS)):
        return call(x.data[0], *args[1:], **kwargs)
    if _is(node, kinds.BINARY, kinds.BINARY_METHODS):
        return _binary(call, args, kwargs)
    alone = _only(args, kwargs)
    if alone is None:
        return None
    rest = args[1:]
    if _is(node, kinds.ELEMENTWISE_FUNCTIONS, kinds.ELEMENTWISE_METHODS) and _are_numbers(rest, kwargs):
        return Sequence(call(alone.data, *rest, **kwargs))
    if _is(node, kinds.RESHAPE_FUNCTIONS, kinds.RESHAPE_METHODS):
        return reshaped(lambda step: call(step, *rest, **kwargs), alone)
    if not method and alone.data.dim() - 1 in kinds.BATCHED_FUNCTIONS.get(node.target, ()):
        return merged(lambda flat: call(flat, *rest, **kwargs), alone)
    return None


def _are_numbers(args: Any, kwargs: Any) -> bool:
    """Whether further arguments do not depend on the axes of a step, as tensors and memory formats do."""
    return all(isinstance(one, (bool, int, float, str, type(None))) for one in (*args, *kwargs.values()))


def _is(node: fx.Node, functions: Any, methods: Any) -> bool:
    if node.op == "call_method":
        return node.target in methods
    try:
        return node.target in functions
    except TypeError:  # a target that cannot be hashed
        return False


def _binary(call: Any, args: Any, kwargs: Any) -> Any:
    """Two operands: sequences whose steps have equally many axes, or one and something that broadcasts to its step."""
    axes = max(a.data.dim() - 1 for a in args if isinstance(a, Sequence))
    for one in args:
        if isinstance(one, Sequence) and one.data.dim() - 1 != axes:
            return None
        if isinstance(one, torch.Tensor) and one.dim() > axes:
            return None
    return Sequence(call(*(a.data if isinstance(a, Sequence) else a for a in args), **kwargs))


def expand(value: Any, steps: int) -> Any:
    """What ``forward`` returned at each step, stacked over time: sequences become tensors."""
    return pytree.tree_map(lambda leaf: leaf.full(steps) if isinstance(leaf, Sequence) else leaf, value)
