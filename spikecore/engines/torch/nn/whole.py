"""Modules that take a whole sequence as layers of ``spikecore.api``: for ``from_torch``, in this direction only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Tuple

from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Layer
from spikecore.api.core.parameters import learn
from spikecore.engines.torch.nn.engine import Callable_, Quantiser, surrogate_of
from spikecore.engines.torch.nn.options import OWN_TENSORS
from spikecore.engines.torch.nn.pairs import Arrays, NoCounterpart, field_of
from spikecore.engines.torch.nn.parallel import AssociativeLeaky, LeakyParallel
from spikecore.engines.torch.nn.stateleaky import LinearLeaky, StateLeaky


def _state_leaky(module: Any) -> Tuple[Layer, Arrays]:
    if module.kernel_truncation_steps is not None or not module.output or isinstance(module._quantiser, Quantiser):
        raise NoCounterpart("kernel_truncation_steps, output=False and functions as state_quant have no counterpart")
    arrays: Arrays = {"tau": module.tau} if isinstance(module.tau, nn.Parameter) else {}
    beta = field_of(module.beta.detach(), 0.9)
    options: Dict[str, Any] = {"beta": learn(beta) if arrays else beta, "surrogate": module._surrogate}
    if isinstance(module, LinearLeaky):
        arrays.update({f"linear_{name}": value for name, value in module.linear.named_parameters()})
        linear = module.linear
        options.update(in_features=linear.in_features, out_features=linear.out_features, bias=linear.bias is not None)
        return neurons.LinearLeaky(**options), arrays
    return neurons.StateLeaky(**options, channels=module.channels), arrays


def _leaky_parallel(module: Any) -> Tuple[Layer, Arrays]:
    if module.dropout:
        raise NoCounterpart(f"dropout={module.dropout!r} has no counterpart; put a Dropout behind it")
    held = dict(module._tensors(module.rnn.weight_ih_l0.dtype).items())
    arrays = {name: value for name, value in held.items() if name not in OWN_TENSORS}
    first = None if module.dense else learn(arrays["beta"].detach().cpu().numpy())
    surrogate = surrogate_of("LeakyParallel", module.spike_grad, module.surrogate_disable)
    options = {name: getattr(module, name) for name in ("input_size", "hidden_size", "dense")}
    return neurons.LeakyParallel(**options, beta=first, bias=module.rnn.bias, surrogate=surrogate), arrays


def _associative_leaky(module: Any) -> Tuple[Layer, Arrays]:
    found: Arrays = {}
    for name, _ in module.neuron.sizes:
        linear = getattr(module, module._projections[name])
        found.update({f"{name}_weight": linear.weight, f"{name}_bias": linear.bias})
    return module.neuron, found


WHOLE = {
    StateLeaky: _state_leaky,
    LinearLeaky: _state_leaky,
    LeakyParallel: _leaky_parallel,
    AssociativeLeaky: _associative_leaky,
}


def whole_to_layer(module: Any) -> Tuple[Any, Arrays]:
    """The neuron with a module's options and values, and its weights by the neuron's names.

    Raises:
        NoCounterpart: an option that the neuron does not have.
    """
    made: Any
    made, arrays = WHOLE[type(module)](module)
    if isinstance(made.surrogate, Callable_):
        raise NoCounterpart(f"spike_grad={module.spike_grad!r} is a function of torch; use a spikecore.surrogate")
    own = {name: getattr(module, name) for name in OWN_TENSORS}
    arrays.update({name: value for name, value in own.items() if isinstance(value, nn.Parameter)})
    fields = {name: field_of(value, 1.0) for name, value in own.items()}
    return replace(made, **fields), arrays
