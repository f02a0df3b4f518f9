"""The optimiser on the simulated device: its steps, and its arrays by PopART's names."""

from __future__ import annotations

from typing import Any, Dict, List

import torch

RATE = "learningRate"


class Updates:
    """Optimiser steps on the device's own weights.

    Args:
        values: the weights by name; the optimiser updates those that are in its groups and have a gradient.
        names: names of the host's parameters by the address of their data.
        spec: an optimiser of ``optim.py``.
    """

    def __init__(self, values: Dict[str, Any], names: Dict[int, str], spec: Any) -> None:
        self.values, self.prefixes = values, spec.prefixes
        self.grouped = [[names[x.data_ptr()] for x in group["params"]] for group in spec.param_groups]
        self.learned = [name for group in self.grouped for name in group if values[name].requires_grad]
        # a float16 weight is updated in a float32 copy, because the optimiser's arrays are float32
        half = [name for name in self.learned if values[name].dtype == torch.float16]
        self.shadows = {name: values[name].detach().float().requires_grad_() for name in half}
        groups = [{**_settings(old), "params": self._of(group)} for old, group in zip(spec.param_groups, self.grouped)]
        self.optimizer = spec.base(groups, lr=spec.param_groups[0]["lr"])
        self.take(spec)

    def _of(self, names: List[str]) -> List[Any]:
        return [self._stepped(name) for name in names if name in self.learned]

    def _stepped(self, name: str) -> Any:
        return self.shadows.get(name, self.values[name])

    def take(self, spec: Any) -> None:
        """Copy the settings; a change of ``param_groups`` has no effect before."""
        self.scale, self.clip = spec.loss_scaling, spec.max_grad_norm
        for group, new_group in zip(self.optimizer.param_groups, spec.param_groups):
            group.update(_settings(new_group))

    def step(self) -> None:
        """Make a step with the accumulated gradients. A weight without a gradient is no part of the program."""
        reached = [name for name in self.learned if self.values[name].grad is not None]
        for name in reached:
            value, stepped = self.values[name], self._stepped(name)
            stepped.data.copy_(value.data)
            stepped.grad = value.grad.to(stepped.dtype) / self.scale
            # the device begins with a velocity of zero, torch with the first gradient
            if self._has_velocity() and stepped not in self.optimizer.state:
                self.optimizer.state[stepped] = {"momentum_buffer": torch.zeros_like(stepped)}
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_([self._stepped(name) for name in reached], self.clip)
        self.optimizer.step()
        for name in reached:
            self.values[name].data.copy_(self._stepped(name).data)
            self.values[name].grad = self._stepped(name).grad = None

    def _has_velocity(self) -> bool:
        return isinstance(self.optimizer, torch.optim.SGD) and self.optimizer.param_groups[0]["momentum"] != 0

    def _factor(self) -> float:
        """The factor of the arrays on the device."""
        return self.scale if self._has_velocity() else 1.0

    def read(self) -> Dict[str, Any]:
        """The arrays, and the settings that are inputs of a program."""
        arrays = {}
        for name in self.learned:
            for slot, x in self.optimizer.state.get(self._stepped(name), {}).items():
                if slot in self.prefixes and x is not None:
                    arrays[self.prefixes[slot] + name] = torch.as_tensor(x).detach() * self._factor()
        rate = torch.tensor(float(self.optimizer.param_groups[0]["lr"]))
        return {"ipu_state": arrays, "ipu_param": {RATE: rate}}

    def write(self, state: Dict[str, Any]) -> None:
        """The inverse of ``read``; arrays that ``state`` lacks do not change."""
        for name in self.learned:
            named = {slot: state["ipu_state"].get(prefix + name) for slot, prefix in self.prefixes.items()}
            arrays = {slot: x.clone() / self._factor() for slot, x in named.items() if x is not None}
            if "square_avg" in arrays:
                arrays["step"] = torch.tensor(0.0)  # torch's RMSprop counts steps but does not use the number
            if arrays:
                self.optimizer.state[self._stepped(name)] = arrays
        if RATE in state["ipu_param"]:
            for group in self.optimizer.param_groups:
                group["lr"] = float(state["ipu_param"][RATE])


def _settings(group: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in group.items() if name not in ("params", "decoupled_weight_decay")}
