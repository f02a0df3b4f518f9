"""Reads a network of torch with torch.fx: which operation each call in ``forward`` is, and the shape of its output."""

from __future__ import annotations

import math
import operator
from typing import Any, Callable, Dict, Tuple

import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812

from spikecore.convert.errors import ConversionError
from spikecore.convert.graph import Add, Concat, Graph, Input, Node
from spikecore.convert.modules import operation_of
from spikecore.convert.qcfs import QCFS

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)
SHAPES = ("size", "shape", "dim", getattr, operator.getitem, operator.mul, operator.floordiv)  # numbers for a view
RESHAPES = (torch.flatten, torch.reshape, torch.squeeze, "flatten", "reshape", "view", "squeeze")
WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
SAME = ("contiguous", "clone", "detach", torch.clone)


def _adaptive(size: Any) -> nn.Module:
    return nn.AdaptiveAvgPool2d(size)


def _clamped(min: Any = None, max: Any = None) -> nn.Module:  # noqa: A002  (torch's names)
    return nn.ReLU() if max is None and min == 0 else nn.Hardtanh(float("-inf") if min is None else min, max)


def _pool(kind: Any) -> Callable[..., nn.Module]:
    """A function's arguments, in its order, as a max pooling."""

    def module(
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        **others: Any,
    ) -> nn.Module:
        made: nn.Module = kind(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode, **others)
        return made

    return module


#: Calls in ``forward`` that are a module's: the module with the arguments after the input.
FUNCTIONS: Dict[Any, Callable[..., nn.Module]] = {
    **dict.fromkeys(
        (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"),
        lambda inplace=False: nn.ReLU(),  # noqa: ARG005
    ),
    F.relu6: lambda inplace=False: nn.ReLU6(),  # noqa: ARG005
    F.hardtanh: lambda min_val=-1.0, max_val=1.0, inplace=False: nn.Hardtanh(min_val, max_val),  # noqa: ARG005
    **dict.fromkeys((torch.clamp, torch.clip, "clamp", "clip", "clamp_"), _clamped),
    F.avg_pool1d: nn.AvgPool1d,
    F.avg_pool2d: nn.AvgPool2d,
    F.max_pool1d: _pool(nn.MaxPool1d),
    F.max_pool2d: _pool(nn.MaxPool2d),
    torch.max_pool1d: _pool(nn.MaxPool1d),
    torch.max_pool2d: _pool(nn.MaxPool2d),
    F.adaptive_avg_pool2d: _adaptive,
    F.dropout: lambda p=0.5, training=True, inplace=False: nn.Dropout(p),  # noqa: ARG005
    F.dropout2d: lambda p=0.5, training=True, inplace=False: nn.Dropout(p),  # noqa: ARG005
}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, QCFS) or super().is_leaf_module(m, module_qualified_name)


def check_module(ann: nn.Module) -> None:
    """Refuse modules whose ``forward`` is not all that they compute, or that wrap the network.

    Raises:
        ConversionError: says what to give instead.
    """
    if isinstance(ann, torch.jit.ScriptModule):
        raise ConversionError(
            "convert: torch.fx cannot read a torch.jit module; give the nn.Module that it was made of"
        )
    kind = type(ann).__name__
    if kind in WRAPPERS:
        raise ConversionError(f"convert: {kind} wraps the network; give ann.{WRAPPERS[kind]}")
    for path, module in ann.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            place = f"layer {path}" if path else "the network"
            raise ConversionError(
                f"{place} ({type(module).__name__}): has forward hooks, which conversion would leave out; remove them "
                "with handle.remove(), and norms of weights with torch.nn.utils.remove_weight_norm or "
                "remove_spectral_norm"
            )


def traced(ann: nn.Module) -> fx.GraphModule:
    """The calls in ``forward``, in the order of their computation.

    Raises:
        ConversionError: ``forward`` depends on values or takes several inputs.
    """
    try:
        graph = _Tracer().trace(ann)
    except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as error:
        raise ConversionError(
            f"convert: torch.fx cannot follow {type(ann).__name__}.forward: {error}. Write it without branches and "
            "loops that depend on the values or the size of its input"
        ) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder" and (node.users or not node.args)]
    if len(inputs) != 1:
        names = ", ".join(str(node.target) for node in inputs)
        raise ConversionError(
            f"convert: {type(ann).__name__}.forward takes {names or 'no input'}; it must take one input"
        )
    return fx.GraphModule(ann, graph)


class Observer(fx.Interpreter):
    """Runs a traced network on a batch and hands each tensor on: ``seen(name, tensor)``."""

    def __init__(self, module: fx.GraphModule, seen: Callable[[str, torch.Tensor], None]) -> None:
        super().__init__(module)
        self.seen = seen

    def run_node(self, n: fx.Node) -> Any:
        """Run one call."""
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.seen(n.name, value)
        return value


def observe(module: fx.GraphModule, x: torch.Tensor, seen: Callable[[str, torch.Tensor], None]) -> Any:
    """The output for a batch, of which ``seen`` gets each tensor on the way.

    Raises:
        ConversionError: the network fails on this batch.
    """
    try:
        with torch.no_grad():
            return Observer(module, seen).run(x)
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]  # torch.fx adds the call, also where an assert says nothing
        raise ConversionError(
            f"convert: the network fails on {len(x)} samples of shape {tuple(x.shape[1:])}: {first}. Give batches "
            "(batch, *features); forward must take them with any number of samples"
        ) from error


def read(module: fx.GraphModule, x: torch.Tensor) -> Graph:
    """The network as a graph of operations; ``x`` is a batch whose shape counts.

    Raises:
        ConversionError: an operation cannot be converted; names it and what to write instead.
    """
    shapes: Dict[str, Tuple[int, ...]] = {}

    def seen(name: str, value: torch.Tensor) -> None:
        shapes[name] = tuple(value.shape)

    observe(module, x, seen)
    return _Reader(module, shapes, len(x)).graph()


class _Reader:
    def __init__(self, module: fx.GraphModule, shapes: Dict[str, Tuple[int, ...]], batch: int) -> None:
        self.module, self.shapes, self.batch = module, shapes, batch
        self.modules = dict(module.named_modules())
        self.nodes: Dict[str, Node] = {}
        self.alias: Dict[str, str] = {}  # what changes nothing, by the node whose output it hands on

    def graph(self) -> Graph:
        for node in self.module.graph.nodes:
            if node.op == "output":
                return Graph(self.nodes, self._source(node.args[0], "the output"))
            if node.op == "placeholder":
                if node.users or not node.args:
                    self._put(node, "the input", Input(), ())
            elif node.op == "call_module":
                self._module(node, self.modules[str(node.target)], str(node.target))
            elif node.op in ("call_function", "call_method"):
                self._call(node)
        raise ConversionError("convert: forward returns nothing")

    def _put(self, node: fx.Node, place: str, does: Any, inputs: Tuple[str, ...]) -> None:
        shape = self.shapes[node.name]
        if len(shape) < 2 or shape[0] != self.batch:
            raise ConversionError(f"{place}: gives {shape} for {self.batch} samples; the first axis must be the batch")
        self.nodes[node.name] = Node(node.name, place, does, inputs, shape[1:])

    def _source(self, value: Any, place: str) -> str:
        """The name of the node whose output ``value`` is."""
        name = value.name if isinstance(value, fx.Node) else None
        name = self.alias.get(name, name) if name is not None else None
        if name not in self.nodes:
            what = f"{value.target}" if isinstance(value, fx.Node) else repr(value)[:60]
            raise ConversionError(f"{place}: takes {what}, which is no signal of the network")
        return name  # type: ignore[return-value]

    def _module(self, node: fx.Node, module: nn.Module, path: str) -> None:
        place = f"layer {path} ({type(module).__name__})"
        if len(node.args) != 1 or node.kwargs:
            raise ConversionError(f"{place}: is called with more than its input")
        self._operation(node, module, place, self._source(node.args[0], place))

    def _operation(self, node: fx.Node, module: nn.Module, place: str, source: str) -> None:
        does = operation_of(module, place, self.nodes[source].shape)
        if does is None:
            self.alias[node.name] = source
        else:
            self._put(node, place, does, (source,))

    def _call(self, node: fx.Node) -> None:
        target = node.target
        named = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
        place = f"{named}() in forward ({node.name})"
        if target in SHAPES and node.name not in self.shapes:
            return  # a number, which only a view takes
        if target in FUNCTIONS:
            self._as_module(node, place)
        elif target in ADDITIONS:
            self._addition(node, place)
        elif target in CONCATENATIONS:
            self._concatenation(node, place)
        elif target in RESHAPES or target in SAME:
            self._reshape(node, place, self._source(node.args[0], place))
        elif target in (torch.mean, "mean"):
            self._mean(node, place)
        else:
            raise ConversionError(
                f"{place}: conversion does not know it; known are layers of torch.nn, additions, torch.cat, relu, "
                "clamp, pooling, dropout, flatten and mean over space"
            )

    def _as_module(self, node: fx.Node, place: str) -> None:
        options = dict(node.kwargs)
        given = list(node.args) or [options.pop("input")]
        if any(isinstance(value, fx.Node) for value in (*given[1:], *options.values())):
            raise ConversionError(f"{place}: its options depend on the input; write numbers")
        module = FUNCTIONS[node.target](*given[1:], **options)
        self._operation(node, module, place, self._source(given[0], place))

    def _addition(self, node: fx.Node, place: str) -> None:
        if len(node.args) != 2 or node.kwargs:
            raise ConversionError(f"{place}: only the sum of two signals can be converted")
        one, two = (self._source(value, place) for value in node.args)
        if self.nodes[one].shape != self.nodes[two].shape:
            shapes = f"{self.nodes[one].shape} and {self.nodes[two].shape}"
            raise ConversionError(f"{place}: adds samples of shape {shapes}; they must be equal")
        self._put(node, place, Add(), (one, two))

    def _concatenation(self, node: fx.Node, place: str) -> None:
        parts: Any = node.args[0] if node.args else node.kwargs.get("tensors")
        axis: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        names = tuple(self._source(value, place) for value in parts)
        axes = len(self.shapes[node.name])
        if not isinstance(axis, int) or axis % axes != 1:
            raise ConversionError(f"{place}: dim={axis!r}; only channels, dim=1, can be put side by side")
        self._put(node, place, Concat(), names)

    def _reshape(self, node: fx.Node, place: str, source: str) -> None:
        before, after = self.nodes[source].shape, self.shapes[node.name]
        flat = (self.batch, math.prod(before))
        if after == (self.batch, *before):
            self.alias[node.name] = source
        elif after == flat:
            self._operation(node, nn.Flatten(), place, source)
        else:
            raise ConversionError(
                f"{place}: gives {after} of {(self.batch, *before)}; only flattening can be converted"
            )

    def _mean(self, node: fx.Node, place: str) -> None:
        source = self._source(node.args[0], place)
        axes: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        shape = self.nodes[source].shape
        over = sorted(axis % (len(shape) + 1) for axis in ((axes,) if isinstance(axes, int) else axes or ()))
        if len(shape) != 3 or over != [2, 3]:
            raise ConversionError(f"{place}: only the mean over height and width of maps can be converted, dim=(2, 3)")
        pooled = f"{node.name}_pooled"
        does = operation_of(nn.AvgPool2d(shape[1:]), place, shape)
        self.nodes[pooled] = Node(pooled, place, does, (source,), (shape[0], 1, 1))
        if self.shapes[node.name] == (self.batch, shape[0]):
            self._put(node, place, operation_of(nn.Flatten(), place, (shape[0], 1, 1)), (pooled,))
        else:
            self.alias[node.name] = pooled
