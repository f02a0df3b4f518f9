"""One step of a torch module as a NIR graph. ``torch.fx`` lists its calls, ``from_torch`` converts each layer."""

from __future__ import annotations

import operator
from typing import Any, Dict, Tuple

import nir
import torch
from torch import fx, nn

import spikecore as sc
from spikecore import OneToOne, Params, ShapeError, learn
from spikecore.api.core.layer import shapes_of
from spikecore.api.core.tree import map_leaves, unflatten
from spikecore.engines.torch.nn.convert import namesake
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.module import NeuronModule
from spikecore.engines.torch.nn.over_time import StepByStep
from spikecore.engines.torch.nn.unchanged import unchanged
from spikecore.nir.draft import Draft, Signal
from spikecore.nir.layers import FlattenAxes, SumPool2d
from spikecore.nir.modules import Scale
from spikecore.nir.notes import NirError, note, noted
from spikecore.nir.write_layers import REMEDIES
from spikecore.nn import GradedSpikes, SpikingNeuron, from_torch

ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
FLATTENINGS = {torch.flatten, "flatten"}
_STATE = "a neuron's state"
_CONSTANT = "a tensor that is neither parameter nor buffer"


class _Bound(nn.Module):
    """A network together with the arguments of its ``forward`` after the input."""

    def __init__(self, net: nn.Module, arguments: Tuple[Any, ...]) -> None:
        super().__init__()
        self.net, self.arguments = net, arguments

    def forward(self, x: Any) -> Any:
        return self.net(x, *self.arguments)


class _Tracer(fx.Tracer):
    """A tracer that treats neurons as layers, and does not look inside them."""

    def __init__(self) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]  # do not trace functions of ``math``

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, SpikingNeuron) and type(m).forward.__module__.startswith("spikecore.")
        return own or isinstance(m, GradedSpikes) or super().is_leaf_module(m, module_qualified_name)


def put_module(draft: Draft, net: Any, arguments: Tuple[Any, ...]) -> Signal:
    """Add all layers of a module that computes one time step; returns its output.

    Raises:
        NirError: the module cannot be traced, or NIR has no node for a call.
        ShapeError: a layer does not take its input.
    """
    if not isinstance(net, nn.Module):
        raise NirError(f"export_to_nir: {type(net).__name__} is no nn.Module, spikecore.Model or layer")
    bound = _Bound(net, arguments)
    try:
        with unchanged(dict(net.named_modules())):
            graph = _Tracer().trace(bound)
    except StepByStep as reason:
        twins = ((name, namesake(module)) for name, module in net.named_modules())
        why = next((f"layer {name}: {twin}" for name, twin in twins if twin), reason)
        raise NirError(
            f"export_to_nir: {type(net).__name__} cannot be exported: {why}; write forward for one time step, with "
            "init_hidden=True, or pass its states in model_fwd_args"
        ) from None
    return _Walk(draft, bound).run(graph)


class _Walk:
    """Adds a node for each call of one step."""

    def __init__(self, draft: Draft, net: nn.Module) -> None:
        self.draft, self.modules, self.net = draft, dict(net.named_modules()), net
        self.env: Dict[fx.Node, Any] = {}
        self.used: Dict[str, int] = {}

    def run(self, graph: fx.Graph) -> Signal:
        for node in graph.nodes:
            if node.op == "placeholder":
                self.env[node] = self.draft.start
            elif node.op == "get_attr":
                self.env[node] = _attribute(self.net, str(node.target))
            elif node.op == "output":
                return self._output(node.args[0])
            elif node.op == "call_module":
                self.env[node] = self._module(node)
            else:
                self.env[node] = self._function(node)
        raise NirError("export_to_nir: forward returns nothing")

    def _output(self, value: Any) -> Signal:
        first = value[0] if isinstance(value, (tuple, list)) and value else value
        whole = first if first is value else first.args[0] if isinstance(first, fx.Node) and len(value) > 1 else None
        if isinstance(whole, fx.Node) and whole.op == "call_module":
            target = str(whole.target)
            module = self.modules[target]
            if isinstance(module, SpikingNeuron) and module.init_hidden and module.output:
                self._note_output(_name(target, module))
        return self._signal(first, "the output")

    def _signal(self, node: Any, where: str) -> Signal:
        value = self.env.get(node) if isinstance(node, fx.Node) else node
        if not isinstance(value, Signal):
            what = value if isinstance(value, str) else type(value).__name__
            raise NirError(f"export_to_nir: {where} takes {what}, but only what layers send can pass along NIR's edges")
        return value

    def _module(self, node: fx.Node) -> Signal:
        target = str(node.target)
        module, name = self.modules[target], _name(target, self.modules[target])
        self.used[target] = self.used.get(target, 0) + 1
        if self.used[target] > 1 and isinstance(module, Hidden):
            raise NirError(f"layer {name} ({type(module).__name__}) is used twice; write forward for one time step")
        signal = self._signal(node.args[0], f"layer {name}")
        if isinstance(module, nn.Identity):
            return signal
        layer, params = counterpart(module, name, signal.shape)
        return self.draft.put(layer, name, params, signal)

    def _note_output(self, name: str) -> None:
        """Write a note that a neuron returns its states, too."""
        nodes = self.draft.nodes
        node = nodes[name].nodes["lif"] if isinstance(nodes.get(name), nir.NIRGraph) else nodes.get(name)
        node = nodes.get(f"{name}.lif") if node is None else node
        if node is not None:
            node.metadata = note(**noted(node), output=True)

    def _function(self, node: fx.Node) -> Any:
        name, values = node.name, [self.env.get(a, a) if isinstance(a, fx.Node) else a for a in node.args]
        signals = [v for v in values if isinstance(v, Signal)]
        if node.target is operator.getitem and isinstance(node.args[0], fx.Node) and isinstance(values[0], Signal):
            neuron = node.args[0].op == "call_module" and isinstance(self.modules[str(node.args[0].target)], Hidden)
            if neuron and isinstance(values[1], int):
                return values[0] if values[1] == 0 else _STATE
        if node.target in ADDITIONS and len(signals) == 2 and not node.kwargs:
            return self.draft.add(name, *signals)
        if node.target in PRODUCTS and len(signals) == 1 and len(values) == 2:
            owners = [
                str(a.target).rpartition(".")[0] for a in node.args if isinstance(a, fx.Node) and a.op == "get_attr"
            ]
            named = next((_name(o, self.modules[o]) for o in owners if isinstance(self.modules.get(o), Scale)), name)
            return self._scaled(named, signals[0], next(v for v in values if not isinstance(v, Signal)))
        if node.target in FLATTENINGS and signals:
            dims: Dict[str, Any] = {"start_dim": 0, **dict(zip(("start_dim", "end_dim"), values[1:])), **node.kwargs}
            layer, params = counterpart(nn.Flatten(**dims), name, signals[0].shape)
            return self.draft.put(layer, name, params, signals[0])
        if not signals:
            return None
        called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.target)
        raise NirError(
            f"export_to_nir: {called}() in forward has no NIR node; use layers (nn.Flatten, nn.AvgPool2d, ...) and +"
        )

    def _scaled(self, name: str, signal: Signal, factor: Any) -> Signal:
        if not isinstance(factor, (torch.Tensor, int, float)):
            raise NirError(f"export_to_nir: {name} multiplies by {factor!r}; make the factor a parameter or a buffer")
        value = torch.as_tensor(factor).detach().cpu()
        learned = isinstance(factor, nn.Parameter)
        plain: Any = value.item() if value.ndim == 0 else value.numpy()
        layer = OneToOne(learn(plain) if learned else plain)
        return self.draft.put(layer, name, Params(V=value.numpy()) if learned else Params(), signal)


def counterpart(module: Any, name: str, shape: Tuple[int, ...]) -> Tuple[Any, Any]:
    """The layer of a module that takes samples of ``shape``, and its parameters."""
    if isinstance(module, NeuronModule):
        return module.described(), map_leaves(lambda p: p.detach().cpu().numpy(), module.params.tree(torch.float64))
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) != (1, -1):
        return _flatten(module, name, shape), Params()
    if type(module) is nn.AvgPool2d and module.divisor_override == 1 and not module.ceil_mode:
        return SumPool2d(module.kernel_size, module.stride, module.padding), Params()
    double = any(p.dtype == torch.float64 for p in module.parameters())
    try:
        model = from_torch(module, input_shape=shape, engine="numpy", dtype="float64" if double else "float32")
    except ShapeError as error:
        raise ShapeError(f"layer {name}: {error}") from None
    except (ValueError, TypeError) as error:
        remedy = REMEDIES.get(type(module).__name__)
        reason = str(error).rpartition("from_torch: ")[2]
        raise NirError(f"layer {name}: {reason}{f'; {remedy}' if remedy else ''}") from None
    like = shapes_of(model.network, shape)
    return model.network, unflatten(model.params(), like.params)


def _flatten(module: nn.Flatten, name: str, shape: Tuple[int, ...]) -> Any:
    axes = 1 + len(shape)
    first, last = module.start_dim % axes, module.end_dim % axes
    if first == 0:
        raise NirError(f"layer {name} (Flatten): start_dim={module.start_dim} takes in the batch axis; use start_dim=1")
    return sc.Flatten() if (first, last) == (1, axes - 1) else FlattenAxes(first - 1, last - 1)


def _name(target: str, module: nn.Module) -> str:
    inner = target[len("net.") :] if target.startswith("net.") else ""
    return inner or type(module).__name__.lower()


def _attribute(net: Any, target: str) -> Any:
    if target.startswith("_tensor_constant"):
        return _CONSTANT
    for part in target.split("."):
        net = getattr(net, part)
    return net
