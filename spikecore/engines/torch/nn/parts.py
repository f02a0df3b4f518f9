"""snnTorch's parts of a step, which neurons of your own call and override: firing, resets, the update of the states."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import torch

from spikecore.api.core.layer import Params, State
from spikecore.api.neurons.base import DECAY
from spikecore.engines.torch.modes import compiling, transformed
from spikecore.engines.torch.nn.engine import FunctionSurrogate, engine_for, working
from spikecore.engines.torch.nn.options import ModuleOptions

_RESETS = {"subtract": "_base_sub", "subtract_decayed": "_base_sub_decayed", "zero": "_base_zero", "none": "_base_int"}


class StepMethods(ModuleOptions):
    """A module with snnTorch's parts of a step. The update is that of the neuron of ``spikecore.api``."""

    _unreset: Any = None  # the neuron of ``spikecore.api`` without reset, quantiser and spikes
    mem: Any
    reset: Any
    reset_mechanism: str

    # ---- parameters ----

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        """The neuron's parameters, in the engine's dtype; with ``host``, constants as numbers, which steps use faster.

        A step is traced for every number and only once for tensors, so sequences get tensors; 1.0 is not multiplied.
        """
        return Params({name: self._tensor(name, getattr(self, name), engine, host) for name in self.tensors})

    _own_tensors = _tensors  # without the weights of a layer inside of it

    def _tensor(self, name: str, value: Any, engine: Any, host: bool) -> Any:
        if (host or name == "graded_spikes_factor") and _is_number(value):
            number = float(value)
            if host and self.kind.bounds.get(name) == DECAY:
                number = min(max(number, 0.0), 1.0)
            if host or number == 1.0:
                return number
        wanted = getattr(torch, engine.dtype)
        return value if value.dtype == wanted else value.to(wanted)

    def _ready(self, x: Any, host: bool = False) -> Tuple[Any, Params]:
        """Engine and prepared parameters for an input."""
        engine = engine_for(x.device, x.dtype)
        return engine, self._neuron.prepare(engine, self._tensors(engine, host))

    def prepared(self) -> Params:
        """The prepared parameters of a run over time in float32."""
        return self._ready(torch.zeros(()))[1]

    # ---- spikes and resets ----

    def fire(self, mem: Any) -> Any:
        """Graded spikes of a membrane potential."""
        fired = self._fired(self._quantised(working(mem)) - self.threshold)
        return (fired * self.graded_spikes_factor).to(mem.dtype)

    def fire_inhibition(self, batch_size: int, mem: Any) -> Any:
        """Graded spikes of the feature with the highest potential of each sample; the others are silent."""
        best = (mem - self.threshold).argmax(dim=1, keepdim=True)
        return self.fire(mem) * torch.zeros_like(mem).scatter(1, best, 1.0)

    def mem_reset(self, mem: Any) -> Any:
        """The factor of a delayed reset: the spikes of a membrane, neither graded nor differentiated."""
        if isinstance(self._surrogate, FunctionSurrogate):
            return self._fired(working(mem) - self.threshold).detach().to(mem.dtype)
        return (mem > self.threshold).to(mem.dtype)

    def _fired(self, u: Any) -> Any:
        return engine_for(u.device, u.dtype).spike(u, self._surrogate)

    def _quantised(self, state: Any) -> Any:
        if self._quantiser is None:
            return state
        return self._quantiser.apply(engine_for(state.device, state.dtype), state)

    # ---- the update of the states: one tensor, or a tuple in the order of ``states`` ----

    def state_function(self, input_: Any) -> Any:
        """The states after a step with the reset that is set."""
        return getattr(self, _RESETS[self.reset_mechanism])(input_)

    def _base_state_function(self, input_: Any) -> Any:
        """The states after a step without reset."""
        moved = self._moved(input_)
        return moved if len(moved) > 1 else moved[0]

    def _base_int(self, input_: Any) -> Any:
        return self._base_state_function(input_)

    def _base_sub(self, input_: Any) -> Any:
        moved = self._base_state_function(input_)
        if isinstance(moved, tuple):
            return (*moved[:-1], moved[-1] - self.reset * self.threshold)
        return moved - self.reset * self.threshold

    def _base_sub_decayed(self, input_: Any) -> Any:
        self.mem = self.mem - self.reset * self.threshold
        return self._base_state_function(input_)

    def _base_zero(self, input_: Any) -> Any:
        return self._without(self._base_state_function(input_), self._base_state_function(input_))

    def _without(self, moved: Any, lost: Any) -> Any:
        """The states after a reset that takes ``lost`` away."""
        if isinstance(moved, tuple):
            return tuple(state - share * self.reset for state, share in zip(moved, lost))
        return moved - self.reset * lost

    def _moved(self, input_: Any) -> Tuple[Any, ...]:
        """The library's own update without reset, by the neuron of ``spikecore.api``."""
        engine = engine_for(input_.device, input_.dtype)
        neuron = self._unreset
        params = neuron.prepare(engine, self._own_tensors(engine, host=True))
        before = State({name: getattr(self, name) for name in neuron.state})
        after = neuron.step(engine, params, before, input_)[1]
        return tuple(after[name] for name in neuron.state)

    @staticmethod
    def detach(*args: Any) -> None:
        """Detach tensors in place."""
        for state in args:
            state.detach_()

    @staticmethod
    def zeros(*args: Any) -> None:
        """Fill tensors with zeros, in place."""
        for state in args:
            state.detach_().zero_()


class CurrentSpared:
    """The reset to zero of neurons with a current, which it leaves alone."""

    def _base_state_reset_zero(self: Any, input_: Any) -> Any:
        return 0, self._moved(input_)[-1]

    def _base_zero(self: Any, input_: Any) -> Any:
        return self._without(self._base_state_function(input_), self._base_state_reset_zero(input_))


def _is_number(value: Any) -> bool:
    """Whether a parameter is a constant on the CPU that can be read at once."""
    readable = value.device.type == "cpu" and not (compiling() or torch.jit.is_tracing() or transformed())
    return value.ndim == 0 and not value.requires_grad and readable


def with_weights(own: Params, weights: Dict[str, torch.Tensor], engine: Any) -> Params:
    """A neuron's parameters and weights, these in the engine's dtype."""
    wanted = getattr(torch, engine.dtype)
    return own.replace(**{name: value.to(wanted) for name, value in weights.items()})
