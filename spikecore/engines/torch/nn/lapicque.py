"""Lapicque's neuron: an RC circuit."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch

from spikecore.api import neurons
from spikecore.api.core.layer import Params
from spikecore.arguments import Numbers, checked
from spikecore.engines.torch.nn.neuron import LIF
from spikecore.engines.torch.nn.options import OWN_TENSORS


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

    kind: ClassVar[Any] = neurons.Lapicque
    states: ClassVar[Tuple[str, ...]] = ("mem",)
    time_step: Any

    @checked
    def __init__(
        self,
        beta: Numbers = False,
        R: Numbers = False,
        C: Numbers = False,
        time_step: Numbers = 1,
        threshold: Any = 1.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
    ) -> None:
        circuit = _circuit(beta, R, C, time_step)
        super().__init__(
            circuit["beta"], threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_beta,
            learn_threshold, reset_mechanism, state_quant, output,
        )  # fmt: skip
        for name in ("time_step", "R", "C"):
            self._register(name, circuit[name], False)
        self._follows = "R" if _given(C) and not _given(R) else "C"  # what beta determines where it is learned
        self._rebuild()

    def _defaults(self) -> Dict[str, float]:
        return {name: 1.0 for name in (*OWN_TENSORS, "R", "C")}

    def _rebuild(self) -> None:
        if "time_step" in self._buffers:  # else the constructor is not done yet
            super()._rebuild()

    def _described_options(self) -> Dict[str, Any]:
        return {**super()._described_options(), "time_step": float(self.time_step)}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        values = {name: getattr(self, name).to(getattr(torch, engine.dtype)) for name in (*OWN_TENSORS, "R", "C")}
        if isinstance(self.beta, torch.nn.Parameter):
            other = values["R" if self._follows == "C" else "C"]
            decay = self.beta.to(other.dtype).clamp(1e-6, 1.0 - 1e-6)
            values[self._follows] = -self._neuron.time_step / (other * torch.log(decay))
        return Params(values)

    def forward(self, input_: Any, mem: Any = None) -> Any:
        return self._advance(input_, mem)

    init_lapicque = LIF.reset_mem


def _given(value: Any) -> bool:
    return value is not None and value is not False


def _circuit(beta: Any, R: Any, C: Any, time_step: Any) -> Dict[str, Any]:
    """All of beta, R and C from those that were given."""
    given = tuple(name for name, value in (("beta", beta), ("R", R), ("C", C)) if _given(value))
    if given not in (("beta",), ("beta", "R"), ("beta", "C"), ("R", "C")):
        raise ValueError(
            f"Lapicque: got {', '.join(given) or 'nothing'}; give R and C, or beta alone or with one of them"
        )
    found = {n: torch.as_tensor(v, dtype=torch.get_default_dtype()) for n, v in (("R", R), ("C", C), ("beta", beta))}
    found["time_step"] = torch.as_tensor(time_step, dtype=torch.get_default_dtype())
    for name in (*given, "time_step"):
        allowed = (found[name] > 0) & (found[name] < (1.0 if name == "beta" else float("inf")))
        if not bool(allowed.all()):
            raise ValueError(
                f"Lapicque: {name}={found[name].tolist()!r} must be {'in (0, 1)' if name == 'beta' else '> 0'}"
            )
    if "beta" not in given:
        return {**found, "beta": torch.exp(torch.ones(1) * (-found["time_step"] / (found["R"] * found["C"])))}
    product = found["time_step"] / torch.log(1 / found["beta"])
    if "C" in given:
        return {**found, "R": product / found["C"]}
    found["R"] = found["R"] if "R" in given else torch.ones(())
    return {**found, "C": product / found["R"]}
