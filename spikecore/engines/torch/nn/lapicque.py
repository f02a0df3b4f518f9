"""Lapicque as a module of torch, with the options that snnTorch's has: R, C, time_step."""

from __future__ import annotations

from typing import Any, Dict

import torch

from spikecore.api import neurons
from spikecore.api.core.layer import Params
from spikecore.engines.torch.nn.face import LEAKING, Face
from spikecore.engines.torch.nn.neuron import LIF


class Lapicque(LIF):
    """RC circuit integrated by forward Euler; equations: ``spikecore.Lapicque``.

        spk, mem = lif(x, mem)

    Give R and C; or beta alone (R = 1) or with one of them. The membrane decays by 1 - time_step / (R C) per step,
    which with beta alone is 1 + ln beta, as in snnTorch.

    Args:
        beta: decay exp(-time_step / (R C)), in (0, 1); False where R and C are given.
        R, C: resistance and capacitance, > 0; False where they follow from beta.
        time_step: > 0.
        learn_beta: beta as a Parameter that the circuit follows, through C (through R where beta and C were given).
        Others: see ``Leaky``.

    Buffers: ``R``, ``C``, ``time_step``.

    Raises:
        ValueError: too few or too many of beta, R, C, or one of them out of range.
    """

    face = Face(neurons.Lapicque, f"beta R C time_step {LEAKING}", states="mem", beta=False)
    time_step: Any
    _follows: str  # the part of the circuit, R or C, that a learned beta determines

    def _construct(self, given: Dict[str, Any]) -> None:
        circuit = _circuit(*(given[name] for name in ("beta", "R", "C", "time_step")))
        self.__dict__["_follows"] = "R" if _given(given["C"]) and not _given(given["R"]) else "C"
        super()._construct({**given, **circuit})

    def _register_values(self, given: Dict[str, Any]) -> None:
        super()._register_values(given)
        self._rebuild()

    def _fields(self) -> Dict[str, Any]:
        step = self._buffers.get("time_step")  # while the neuron is first made there is none
        return {**super()._fields(), "time_step": 1.0 if step is None else float(step)}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        values = {name: getattr(self, name).to(getattr(torch, engine.dtype)) for name in self.tensors}
        if isinstance(self.beta, torch.nn.Parameter):
            other = values["R" if self._follows == "C" else "C"]
            decay = self.beta.to(other.dtype).clamp(1e-6, 1.0 - 1e-6)
            values[self._follows] = -self._neuron.time_step / (other * torch.log(decay))
        return Params(values)

    def described(self) -> Any:
        if isinstance(self.beta, torch.nn.Parameter):
            raise ValueError("learn_beta=True has no counterpart there; R and C are what is learned")
        return super().described()


def _given(value: Any) -> bool:
    return value is not None and value is not False


def _circuit(beta: Any, R: Any, C: Any, time_step: Any) -> Dict[str, Any]:
    """All of beta, R and C from those that were given."""
    given = tuple(name for name, value in (("beta", beta), ("R", R), ("C", C)) if _given(value))
    if given not in (("beta",), ("beta", "R"), ("beta", "C"), ("R", "C")):
        raise ValueError(
            f"Lapicque: got {', '.join(given) or 'nothing'}; give R and C, or beta alone or with one of them"
        )
    values = (("R", R), ("C", C), ("beta", beta), ("time_step", time_step))
    circuit = {name: torch.as_tensor(value, dtype=torch.get_default_dtype()) for name, value in values}
    for name in (*given, "time_step"):
        allowed = (circuit[name] > 0) & (circuit[name] < (1.0 if name == "beta" else float("inf")))
        if not bool(allowed.all()):
            raise ValueError(
                f"Lapicque: {name}={circuit[name].tolist()!r} must be {'in (0, 1)' if name == 'beta' else '> 0'}"
            )
    if "beta" not in given:
        decay = torch.exp(torch.ones(1) * (-circuit["time_step"] / (circuit["R"] * circuit["C"])))
        return {**circuit, "beta": decay}
    product = circuit["time_step"] / torch.log(1 / circuit["beta"])
    if "C" in given:
        return {**circuit, "R": product / circuit["C"]}
    circuit["R"] = circuit["R"] if "R" in given else torch.ones(())
    return {**circuit, "C": product / circuit["R"]}
