"""The engine behind the modules: the torch engine, found from a tensor, which also takes spikes of your own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple

import torch

from spikecore.api.core.variants import unfused
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.surrogate import Surrogate, atan, custom_surrogate
from spikecore.engines.torch.engine import TorchEngine
from spikecore.engines.torch.modes import compiling

WORKING = {torch.float32: "float32", torch.float64: "float64"}  # every other dtype is computed in float32


@dataclass(frozen=True)
class FunctionSurrogate(Surrogate):
    """A function from potential above threshold to spikes, as snnTorch's surrogates are; it brings its own gradient."""

    function: Callable[[Any], Any]


@dataclass(frozen=True)
class Disabled(Surrogate):
    """No gradient through spikes at all (``surrogate_disable=True``)."""

    def derivative(self, xp: Any, u: Any) -> Any:
        return xp.zeros_like(u)

    def fire(self, engine: Any, u: Any, noise: Any = None) -> Any:
        return (u > 0).to(u.dtype)


@dataclass(frozen=True)
class FunctionQuantiser:
    """A function that quantises states, in the shape of ``functional.quant.state_quant``."""

    function: Callable[[Any], Any]

    def apply(self, engine: Any, x: Any) -> Any:
        """The quantised state."""
        return self.function(x).to(x.dtype)


class FaceEngine(TorchEngine):
    """The torch engine with the spikes that only the modules know: functions, none at all, stochastic ones."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        formula = self.xp.spike

        def spike(u: Any, surrogate: Any) -> Any:
            if isinstance(surrogate, FunctionSurrogate):
                return surrogate.function(u).to(u.dtype)
            if isinstance(surrogate, Disabled):
                return surrogate.fire(self, u)
            if surrogate.stochastic:
                return surrogate.fire(self, u, noise=torch.rand_like(u))
            return formula(u, surrogate)

        self.xp.spike = spike

    def scan(self, stepper: Any, params: Any, state: Any, inputs: Any, **options: Any) -> Any:
        engine, options["repeating"] = self._suited(stepper), _training(inputs)
        return TorchEngine.scan(engine, stepper, params, state, inputs, **options)

    def readout_scan(
        self, stepper: Any, params: Any, state: Any, inputs: Any, weight: Any, bias: Any = None, **options: Any
    ) -> Any:
        engine, options["repeating"] = self._suited(stepper), _training(inputs)
        return TorchEngine.readout_scan(engine, stepper, params, state, inputs, weight, bias, **options)

    def any_size(self, repeating: bool) -> bool:
        return True

    def _suited(self, stepper: Any) -> Any:
        """The engine for a run of a neuron."""
        return self if has_formula(stepper) else unfused(self)

    def explain(self, stepper: Any) -> str:
        if has_formula(stepper):
            return super().explain(stepper)
        name = type(stepper).__name__
        return f"loop: one {name}.step per time step, because its surrogate or quantiser is not a formula"

    def asarray(self, x: Any, dtype: Optional[str] = None) -> Any:
        if compiling() and not isinstance(x, torch.Tensor):  # a neuron's constant; Dynamo cannot follow its checks
            return torch.as_tensor(x, dtype=getattr(torch, dtype or self.dtype), device=self.device)
        return super().asarray(x, dtype)


def _training(inputs: Any) -> bool:
    return bool(torch.is_grad_enabled() and inputs.requires_grad)


def has_formula(stepper: Any) -> bool:
    """Whether surrogate and quantiser of a neuron are formulas, from which kernels can be made."""
    if not isinstance(stepper, Stepper):
        return False
    neuron = stepper.core[0]
    surrogate = neuron.surrogate
    foreign = isinstance(surrogate, custom_surrogate) and not surrogate.in_words
    foreign = (
        foreign
        or isinstance(surrogate, FunctionSurrogate)
        or isinstance(getattr(neuron, "state_quant", 0), FunctionQuantiser)
    )
    return not foreign and not surrogate.stochastic


def surrogate_of(owner: str, spike_grad: Any, disabled: bool) -> Surrogate:
    """The surrogate that the options ``spike_grad`` and ``surrogate_disable`` ask for.

    Raises:
        TypeError: ``spike_grad`` is neither a surrogate nor a function.
    """
    if disabled:
        return Disabled()
    if spike_grad is None:
        return atan()
    if isinstance(spike_grad, Surrogate):
        return spike_grad
    if isinstance(spike_grad, type) and issubclass(spike_grad, Surrogate):
        name = spike_grad.__name__
        raise TypeError(f"{owner}: spike_grad={name} is a class: make one, e.g. spike_grad=surrogate.{name}()")
    if isinstance(spike_grad, type) or not callable(spike_grad):
        raise TypeError(
            f"{owner}: spike_grad={spike_grad!r} must be a spikecore.surrogate, e.g. surrogate.atan(), "
            "a function from potentials to spikes, or None"
        )
    return FunctionSurrogate(spike_grad)


def quantiser_of(owner: str, state_quant: Any) -> Any:
    """The quantiser that the option ``state_quant`` asks for; None for full precision.

    Raises:
        TypeError: it cannot be called.
    """
    if state_quant is None or state_quant is False:
        return None
    if hasattr(state_quant, "apply") and not isinstance(state_quant, type):
        return state_quant
    if not callable(state_quant) or isinstance(state_quant, type):
        raise TypeError(f"{owner}: state_quant={state_quant!r} must be a functional.quant.state_quant, or False")
    return FunctionQuantiser(state_quant)


_ENGINES: Dict[Tuple[torch.device, torch.dtype], FaceEngine] = {}


def engine_for(device: torch.device, dtype: torch.dtype) -> FaceEngine:
    """The engine for one device and float32 or float64; equal arguments give the same object."""
    engine = _ENGINES.get((device, dtype))
    if engine is None:
        engine = _ENGINES[device, dtype] = FaceEngine(str(device), WORKING[dtype])
    return engine


def working(x: Any) -> Any:
    """The input in the dtype it is computed in: float32 and float64 as they are, everything else in float32."""
    if getattr(x, "dtype", None) in WORKING:
        return x
    if isinstance(x, tuple):
        raise TypeError(
            "input_ is a tuple, expected a tensor: a neuron returns (spikes, state); pass the spikes on, or make it "
            "with init_hidden=True, then it returns the spikes alone and fits into nn.Sequential"
        )
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"input_ is a {type(x).__name__}, expected a tensor: torch.as_tensor(x) makes one")
    return x.to(torch.float32)


def in_dtype_of(x: Any, spk: Any) -> Any:
    """Spikes in the dtype of the input ``x``; as they are computed where it has no fractions."""
    return spk.to(x.dtype) if spk.dtype != x.dtype and x.is_floating_point() else spk


def _prepare_known_devices() -> None:
    """Engines of all visible devices, made now: torch.compile cannot trace their making."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    for device in devices:
        for dtype in WORKING:
            engine_for(torch.device(device), dtype)


_prepare_known_devices()
