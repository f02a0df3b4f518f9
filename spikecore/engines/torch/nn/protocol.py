"""snnTorch's protocol of a step, for modules of which the user overrides methods.

    reset = mem_reset(mem)
    states = state_function(input_)      # _base_sub, _base_zero or _base_int, each made of _base_state_function
    spk = fire(mem)                      # or fire_inhibition(batch, mem)

A module whose methods are all the library's goes the short way, through the ``step`` of ``spikecore.api``; it gives the
same. One with a method of its own, or with a function where a formula is expected, goes this way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Dict, FrozenSet, Mapping, Tuple

import torch

from spikecore.api.core.layer import State
from spikecore.api.neurons.membrane import Membrane
from spikecore.engines.torch.modes import written_down
from spikecore.engines.torch.nn.engine import Disabled, FunctionQuantiser, FunctionSurrogate, working
from spikecore.engines.torch.nn.parts import StepMethods
from spikecore.engines.torch.nn.snntorch_names import NOT_CALLED

STEP = frozenset(
    "fire fire_inhibition mem_reset state_function _base_state_function _base_sub _base_zero _base_int "
    "_base_state_reset_zero _base_state_reset_sub_function".split()
)
FUNCTIONS = frozenset({"spike_grad", "state_quant"})


class SnnTorchStep(StepMethods):
    """A module that can make a step by snnTorch's protocol; ``by_protocol`` says whether it does."""

    honours: ClassVar[FrozenSet[str]] = STEP  # methods of the protocol that count if they are overridden
    _own: Tuple[str, ...] = ()  # those that are
    _functions: str = ""  # what is a function where a formula is expected
    _reset: Any = None  # as a step by the protocol set it
    _mem_before: Any = None  # the membrane before the last step
    _begun: Mapping[str, Any] = {}  # noqa: RUF012  (never changed) of each state, what wrote down where it was last set

    def _find_own(self) -> None:
        """Note which methods of the protocol are the user's.

        Raises:
            TypeError: one that no step would call.
        """
        kind = type(self)
        self._own = tuple(n for n in sorted(STEP) if hasattr(kind, n) and not _is_ours(getattr(kind, n)))
        for name in (*(() if self.kind is None else NOT_CALLED), *self._own):
            if hasattr(kind, name):
                self._check_called(name)

    def _check_called(self, name: str) -> None:
        kind = type(self)
        if name in self.honours or (name in STEP and not _is_ours(kind.forward)):  # a forward may call what it likes
            return
        base = next(base.__name__ for base in kind.__mro__ if base.__module__.startswith("spikecore."))
        known = ", ".join(sorted(self.honours)) or "forward alone"
        raise TypeError(
            f"{kind.__name__} defines {name}, which spikecore.nn's {base} does not call: it would have no effect. "
            f"What can be overridden is {known}; or write a forward"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FUNCTIONS:  # by the property, which torch goes past where a module is involved
            object.__setattr__(self, name, value)
            return
        if name in STEP and name not in self._own:
            self._check_called(name)
            self._own = (*self._own, name)
        super().__setattr__(name, value)
        if name == "reset_mechanism_val":
            self._take_reset()
        elif name in self.states:
            begun = written_down()
            if begun is not self._begun.get(name):
                object.__setattr__(self, "_begun", {**self._begun, name: begun})

    def _goes_on(self, written: Any) -> bool:
        """Whether a call recorded by ``written`` (an export or a trace) begins with a state from before the recording.

        The recorded graph would hold such a state as a constant.
        """
        return any(self._begun.get(name) is not written for name in self.states)

    def overridden(self) -> str:
        """The parts of a step that are the user's code, in words; "" if there are none."""
        return f"{', '.join(self._own)} of its own" if self._own else ""

    def by_protocol(self) -> str:
        """The reason to make a step by snnTorch's protocol; "" if the neuron of ``spikecore.api`` computes it."""
        return self.overridden() or self._functions

    def described(self) -> Any:
        neuron = super().described()  # which has more to say of functions
        if self.by_protocol():
            raise ValueError(f"{self.by_protocol()} has no counterpart")
        return neuron

    def _rebuild(self) -> None:
        super()._rebuild()
        functions = (
            ("spike_grad", FunctionSurrogate, self._surrogate),
            ("state_quant", FunctionQuantiser, self._quantiser),
        )
        words = [name for name, kind, value in functions if isinstance(value, kind)]
        neuron = None if self._neuron is None else self._neuron.core[0]
        self._functions = f"a function as {' and as '.join(words)}" if words and isinstance(neuron, Membrane) else ""
        if isinstance(neuron, Membrane):
            self._unreset = replace(
                neuron, reset_mechanism="none", reset_delay=True, inhibition=False, state_quant=None,
                surrogate=Disabled(),
            )  # fmt: skip

    # ---- what a step leaves behind ----

    @property
    def reset(self) -> Any:
        """``mem_reset`` of the membrane before the last step."""
        if self._reset is None and self._mem_before is None:
            raise AttributeError("reset")  # as before the first step
        return self.mem_reset(self._mem_before) if self._reset is None else self._reset

    @reset.setter
    def reset(self, value: Any) -> None:
        self._reset = value

    def _noted(self, start: State) -> Tuple[Tuple[str, Any], ...]:
        """Attributes that a step sets besides states: the membrane before it, from which ``reset`` is computed."""
        before = start.get("mem")
        if before is not None and before.requires_grad:
            before = before.detach()
        return ("_reset", None), ("_mem_before", before)

    def set_hidden(self, values: Any) -> None:
        super().set_hidden(values)
        self._reset = self._mem_before = None

    # ---- the step ----

    def _by_parts(self, input_: Any, before: Dict[str, Any], alone: bool = True) -> Tuple[Any, Any]:
        """Spikes and states of a step from the states ``before``; the states are stored."""
        x = working(input_)
        for name, value in self._start(x, before).items():
            setattr(self, name, value)
        # At once, the library's own neurons reset by the spike alone; those of one's own as snnTorch's.
        delayed = self.reset_delay or bool(self._own)
        self.reset = self.mem_reset(self.mem) if delayed else torch.zeros_like(self.mem)
        names = tuple(name for name in self.states if name != "spk")
        returned = self.state_function(x)
        moved = returned if isinstance(returned, (tuple, list)) else (returned,)
        if len(moved) != len(names):
            raise TypeError(f"{type(self).__name__}: its state function returned {len(moved)} states, expected {names}")
        for name, value in zip(names, moved):
            setattr(self, name, self._quantised(value))
        seen = self._seen(self.mem)
        spk = self.fire_inhibition(seen.size(0), seen) if self.inhibition else self.fire(seen)
        if not self.reset_delay:
            self._reset_at_once(spk / self.graded_spikes_factor - self.reset)
        if "spk" in self.states:
            self.spk = spk
        return spk, self.hidden()

    def _reset_at_once(self, fired: Any) -> None:
        if self.reset_mechanism in ("subtract", "subtract_decayed"):
            self.mem = self.mem - fired * self.threshold
        elif self.reset_mechanism == "zero":
            self.mem = self.mem - fired * self.mem

    def _seen(self, mem: Any) -> Any:
        """The value of the membrane that is compared with the threshold."""
        return mem


def _is_ours(method: Any) -> bool:
    return getattr(method, "__module__", "").startswith("spikecore.")
