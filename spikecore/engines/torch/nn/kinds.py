"""What torch's layers and functions do to the axes of one step: which can see a whole sequence at once.

A layer that is not listed is not wrong, only slower: it runs step by step, by itself.
"""

from __future__ import annotations

import operator
from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as F
from torch import nn

from spikecore.engines.torch.nn.layers import GradedSpikes

# Layers and functions of single values: any shape.
ELEMENTWISE = {
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus,
    nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Identity,
}  # fmt: skip
ELEMENTWISE_FUNCTIONS = {
    torch.relu, torch.sigmoid, torch.tanh, torch.exp, torch.log, torch.sqrt, torch.abs, torch.neg, torch.clamp,
    F.relu, F.leaky_relu, F.gelu, F.silu, F.elu, F.softplus, operator.neg, operator.abs, operator.pos,
}  # fmt: skip
ELEMENTWISE_METHODS = set(
    "relu sigmoid tanh exp log sqrt abs neg clamp float double half bfloat16 contiguous clone detach".split()
)
BINARY = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.gt, operator.ge, operator.lt,
    operator.le, operator.iadd, operator.isub, operator.imul, operator.itruediv,
    torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.minimum,
}  # fmt: skip
IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv}
OTHER_IN_PLACE = {"setitem", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor", "ilshift", "irshift"}
OUT_OF_PLACE = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}  # fmt: skip
BINARY_METHODS = {"add", "sub", "mul", "div", "pow", "gt", "ge", "lt", "le"}

# Layers of the last axes: any number of axes before them.
LAST_AXES = {nn.Linear, nn.LayerNorm}

# Layers and functions of (batch, ...) with this many axes: time and batch are merged for them.
BATCHED: Dict[Any, Tuple[int, ...]] = {
    nn.Conv1d: (3,), nn.Conv2d: (4,), nn.Conv3d: (5,),
    nn.ConvTranspose1d: (3,), nn.ConvTranspose2d: (4,), nn.ConvTranspose3d: (5,),
    nn.MaxPool1d: (3,), nn.MaxPool2d: (4,), nn.MaxPool3d: (5,),
    nn.AvgPool1d: (3,), nn.AvgPool2d: (4,), nn.AvgPool3d: (5,),
    nn.AdaptiveAvgPool1d: (3,), nn.AdaptiveAvgPool2d: (4,), nn.AdaptiveMaxPool1d: (3,), nn.AdaptiveMaxPool2d: (4,),
    nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,), nn.GroupNorm: (2, 3, 4, 5),
    GradedSpikes: (2, 3, 4, 5), nn.ZeroPad2d: (4,), nn.Upsample: (3, 4, 5), nn.PixelShuffle: (4,),
}  # fmt: skip
BATCHED_FUNCTIONS: Dict[Any, Tuple[int, ...]] = {
    F.max_pool1d: (3,), F.max_pool2d: (4,), F.avg_pool1d: (3,), F.avg_pool2d: (4,), F.adaptive_avg_pool2d: (4,),
    F.interpolate: (3, 4, 5), torch.conv1d: (3,), torch.conv2d: (4,),
    torch.max_pool1d: (3,), torch.max_pool2d: (4,), torch.adaptive_avg_pool1d: (3,),
}  # fmt: skip

# What keeps the order of values and changes the shape of a step alone.
RESHAPES = {nn.Flatten, nn.Unflatten}
RESHAPE_FUNCTIONS = {torch.flatten, torch.reshape, torch.unsqueeze, torch.squeeze}
RESHAPE_METHODS = {"flatten", "reshape", "view", "unsqueeze", "squeeze"}

# What asks for the shape of a step and the like.
QUESTIONS = {"size", "dim", "numel", "shape", "ndim", "dtype", "device", "is_floating_point"}

# What makes numbers of tensors, or tensors whose shape depends on the data.
LEAVING = set("item tolist numpy nonzero argwhere unique unique_consecutive masked_select".split())

# Layers whose output is memory of its own, so that what follows may overwrite it.
FRESH = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm,
         nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveAvgPool2d}  # fmt: skip

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_DROPOUTS = (nn.modules.dropout._DropoutNd, nn.RReLU)
_RANDOM = set(
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu gumbel_softmax bernoulli poisson "
    "multinomial normal rand rand_like randn randn_like randint randint_like randperm".split()
)


# A draw follows the order in memory: what changes it, after what it is that of the axes, and draws per channel.
REORDERS = set(
    "permute transpose t T mT H mH adjoint swapaxes swapdims movedim moveaxis expand expand_as flip rot90".split()
)
ORDERS = {"flatten", "reshape", "view", "linear", "matmul"}
ORDERING = {nn.Flatten, nn.Linear}
BY_CHANNEL = {nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout}


def function_name(node: Any) -> str:
    """The plain name of a call in a graph."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def learns_statistics(module: Any) -> bool:
    """Whether a call of this layer depends on the calls before it, or on the batch as a whole."""
    return isinstance(module, _NORMS) and (module.training or module.running_mean is None)


def draws(module: Any) -> bool:
    """Whether a call of this layer draws random numbers."""
    parts = [m for m in module.modules() if m.training]
    return any((isinstance(m, _DROPOUTS) and getattr(m, "p", 1.0) > 0) or _inner_dropout(m) for m in parts)


def _inner_dropout(module: Any) -> bool:
    rate = getattr(module, "dropout", 0.0)
    return isinstance(rate, float) and rate > 0 and not isinstance(module, nn.ModuleList)


def draws_in_function(node: Any) -> bool:
    """Whether a call of a function or method draws random numbers."""
    name = function_name(node).rstrip("_")
    return name in _RANDOM and node.kwargs.get("training", True) is not False


def hooked(module: Any) -> bool:
    """Whether something listens to, or changes, every single call of this layer."""
    return any(map(listened, module.modules())) or hasattr(module, "parametrizations")


def all_hooked() -> bool:
    """Whether something listens to the calls of all modules."""
    module = nn.modules.module
    if module._global_forward_hooks or module._global_forward_pre_hooks:
        return True
    return bool(module._global_backward_hooks or getattr(module, "_global_backward_pre_hooks", None))


def heard(module: Any) -> bool:
    """Whether something listens to the calls of a module, of this one alone or of all."""
    return listened(module) or all_hooked()


def listened(module: Any) -> bool:
    """Whether a module has hooks of its own."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name, None) for name in names)
