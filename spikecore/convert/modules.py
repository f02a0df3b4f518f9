"""The operation of each module of torch in a conversion, and the remedies for modules that cannot be converted."""

from __future__ import annotations

import copy
import math
from typing import Any, Dict, Optional

import numpy as np
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from spikecore import AvgPool2d, CountMaxPool1d, CountMaxPool2d, Flatten
from spikecore.api.core.layer import Shape
from spikecore.convert.errors import ConversionError
from spikecore.convert.graph import Activation, Affine, Connection, PassedThrough
from spikecore.convert.qcfs import QCFS
from spikecore.engines.torch.nn.pairs import PAIRS

CONNECTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
COUNTED: Dict[Any, Any] = {nn.MaxPool1d: CountMaxPool1d, nn.MaxPool2d: CountMaxPool2d}
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)
_PAIRS = {pair.module: pair for pair in PAIRS}

_RELU = "a rate of spikes is a clipped ReLU: train with nn.ReLU or spikecore.convert.QCFS in its place"
_NORM = "its statistics would have to be those of a whole sequence: train with nn.BatchNorm1d or nn.BatchNorm2d instead"
_PRODUCT = "a product of two signals is no product of their rates: write the network with convolutions and nn.Linear"
_LAST = "leave it out: without it, the class with the largest output stays the same"
_MEMORY = "its state would change at each of the time steps: build a spiking network, e.g. of sc.RLeaky"
_PLAIN = "make its weight a plain one: torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
REMEDIES = {
    **dict.fromkeys(
        "GELU SiLU ELU CELU SELU LeakyReLU PReLU RReLU Mish Hardswish Hardsigmoid Sigmoid LogSigmoid Tanh Tanhshrink "
        "Softplus Softsign Hardshrink Softshrink Threshold GLU".split(),
        _RELU,
    ),
    **dict.fromkeys("LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d LocalResponseNorm RMSNorm".split(), _NORM),
    **dict.fromkeys(
        "MultiheadAttention TransformerEncoderLayer TransformerEncoder Transformer Bilinear".split(), _PRODUCT
    ),
    **dict.fromkeys("Softmax LogSoftmax Softmax2d Softmin".split(), _LAST),
    **dict.fromkeys("RNN LSTM GRU RNNCell LSTMCell GRUCell".split(), _MEMORY),
    "AdaptiveMaxPool2d": "write nn.MaxPool2d with a fixed window",
    "AdaptiveAvgPool1d": "write nn.AvgPool1d with a fixed window",
    "Embedding": "give the embedded numbers as the input",
}


def operation_of(module: nn.Module, place: str, shape: Shape) -> Any:
    """The operation of a module on samples of ``shape``; None if it changes nothing in evaluation mode.

    Raises:
        ConversionError: it cannot be converted; says what to write instead.
    """
    kind = type(module)
    if kind in NOTHING:
        return None
    if kind in (nn.ReLU, nn.ReLU6, nn.Hardtanh, QCFS):
        return _activation(module, place)
    if kind is nn.AdaptiveAvgPool2d:
        return _adaptive(module, place, shape)
    if kind is nn.Flatten:
        return _flatten(module, place, shape)
    try:
        if kind in CONNECTIONS:
            return _connection(module)
        if kind in NORMS:
            return _affine(module)
        if kind in COUNTED:
            window = _PAIRS[kind].to_layer(module)
            return PassedThrough(COUNTED[kind](window.kernel_size, window.stride, window.padding))  # type: ignore[attr-defined]
        if kind in (nn.AvgPool1d, nn.AvgPool2d):
            return PassedThrough(_PAIRS[kind].to_layer(module))
    except (ValueError, TypeError) as error:
        raise ConversionError(f"{place}: {error}") from None
    remedy = _PLAIN if is_parametrized(module) else REMEDIES.get(kind.__name__)
    raise ConversionError(f"{place}: {remedy or _unknown()}")


def _unknown() -> str:
    known = (*CONNECTIONS, *NORMS, nn.ReLU, nn.ReLU6, QCFS, *COUNTED, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
    return f"conversion does not know this layer; known are {', '.join(k.__name__ for k in known)} and dropout"


def _activation(module: Any, place: str) -> Activation:
    if isinstance(module, QCFS):
        threshold = float(module.threshold.detach())
        if not 0.0 < threshold < math.inf:
            raise ConversionError(f"{place}: its threshold is {threshold:g}; it must be > 0, so train it again")
        return Activation(learned=threshold)
    if isinstance(module, nn.Hardtanh) and (module.min_val != 0 or not module.max_val > 0):  # ReLU6, too
        raise ConversionError(
            f"{place}: clips to {module.min_val} … {module.max_val}; a rate of spikes is clipped at 0: min_val=0"
        )
    return Activation()


def _affine(module: Any) -> Affine:
    if module.running_mean is None:
        raise ValueError("track_running_stats=False: it has no statistics to convert by")
    mean, var = (_numbers(x) for x in (module.running_mean, module.running_var))
    scale = 1.0 / np.sqrt(var + module.eps)
    shift = -mean * scale
    if module.affine:
        weight, bias = _numbers(module.weight), _numbers(module.bias)
        scale, shift = scale * weight, shift * weight + bias
    return Affine(scale, shift)


def _connection(module: Any) -> Connection:
    pair, bias = _PAIRS[type(module)], _numbers(module.bias)
    if isinstance(getattr(module, "padding", 0), str):
        module = _numeric(module)
    layer: Any = pair.to_layer(module)
    return Connection(layer, _numbers(module.weight), bias)


def _numeric(module: Any) -> Any:
    """A convolution with padding="same" or "valid" as one with numbers."""
    whole = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size)]
    if module.padding == "valid":
        whole = [0 for _ in whole]
    if any(n % 2 for n in whole):
        raise ValueError(f"padding='same' pads kernel_size={module.kernel_size} unevenly; use odd kernels")
    module = copy.copy(module)
    module.padding = tuple(n // 2 for n in whole)
    return module


def _adaptive(module: Any, place: str, shape: Shape) -> Optional[PassedThrough]:
    size = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    wanted = tuple(n if m is None else m for n, m in zip(shape[1:], size))
    if any(n % m for n, m in zip(shape[1:], wanted)):
        raise ConversionError(
            f"{place}: output_size={module.output_size} does not divide maps of {shape[1:]}; use nn.AvgPool2d"
        )
    return None if wanted == shape[1:] else PassedThrough(AvgPool2d(tuple(n // m for n, m in zip(shape[1:], wanted))))


def _flatten(module: Any, place: str, shape: Shape) -> Optional[PassedThrough]:
    axes = len(shape) + 1
    if (module.start_dim % axes, module.end_dim % axes) != (1, axes - 1):
        raise ConversionError(f"{place}: start_dim={module.start_dim}, end_dim={module.end_dim}; write nn.Flatten()")
    return None if len(shape) == 1 else PassedThrough(Flatten())


def _numbers(tensor: Any) -> Any:
    if tensor is None:
        return None
    found = tensor.detach().cpu().double().numpy()
    if not np.isfinite(found).all():
        raise ValueError("its weights or statistics hold NaN or infinity: its training has diverged")
    return found
