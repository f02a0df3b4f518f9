"""The simulated device: weights of its own, and the program of one call."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

import torch

from spikecore.engines.ipu.simulation.ops import Error, Tracing
from spikecore.engines.ipu.simulation.rules import device_rules, final_losses


def parts_of(tensors: List[Any], options: Any) -> List[List[Tuple[Any, ...]]]:
    """The inputs of each optimiser step, and in it of each accumulation step and replica."""
    steps, accumulated = options.device_iterations, options.Training.gradient_accumulation
    count = accumulated * options.replication_factor
    cut = [x.reshape(steps, count, x.shape[0] // (steps * count), *x.shape[1:]) for x in tensors]
    return [[tuple(x[i, j] for x in cut) for j in range(count)] for i in range(steps)]


def places(module: Any) -> Iterator[Tuple[str, Dict[str, Any], str]]:
    """Every parameter and buffer: dotted name, the dict that holds it, its name there."""
    for prefix, part in torch.nn.Module.named_modules(module):
        for kind in ("_parameters", "_buffers"):
            for name, value in part.__dict__[kind].items():
                if value is not None:
                    yield f"{prefix}.{name}" if prefix else name, part.__dict__[kind], name


class Device:
    """What PopTorch would have compiled for an IPU.

    Args:
        module: the user's module.
        training: whether it returns a loss.
        options: ``Options``.
    """

    def __init__(self, module: Any, training: bool, options: Any) -> None:
        self.module, self.training, self.options, self.many = module, training, options, True
        self.values: Dict[str, Any] = {}
        self.prefixes: Dict[str, str] = {}
        self.shadows: Dict[str, Any] = {}
        self.from_host()
        self.double = any(value.dtype == torch.float64 for value in self.values.values())
        self.scale, self.clip, self.optimizer = 1.0, None, None  # type: ignore[var-annotated]

    # ---- weights ----

    def from_host(self) -> None:
        """Fetch the host's weights into the device's own tensors."""
        for name, folder, key in places(self.module):
            host = folder[key]
            if name in self.values:
                with torch.no_grad():
                    self.values[name].copy_(host)
            else:
                self.values[name] = host.detach().clone().requires_grad_(isinstance(host, torch.nn.Parameter))

    def to_host(self) -> None:
        """Bring the device's weights to the host's tensors."""
        with torch.no_grad():
            for name, folder, key in places(self.module):
                folder[key].copy_(self.values[name])

    # ---- the optimiser ----

    def fresh_optimizer(self, spec: Any) -> None:
        """An optimiser of the device's own weights."""
        learned = [self._stepped(name) for name, value in self.values.items() if value.requires_grad]
        if spec is not None and learned:
            options = {k: v for k, v in spec.param_groups[0].items() if k not in ("params", "decoupled_weight_decay")}
            self.optimizer = spec.base(learned, **options)
            self.set_optimizer(spec)

    def _stepped(self, name: str) -> Any:
        """What the optimiser steps for a weight: itself, or for float16 a float32 copy, as its arrays are float32."""
        value = self.values[name]
        if value.dtype != torch.float16:
            return value
        if name not in self.shadows:
            self.shadows[name] = value.detach().float().requires_grad_()
        return self.shadows[name]

    def set_optimizer(self, spec: Any) -> None:
        """Take over settings; what was changed in ``param_groups`` has no effect before this."""
        self.scale, self.clip, self.prefixes = spec.loss_scaling, spec.max_grad_norm, spec.prefixes
        if self.optimizer is not None:
            given = {name: value for name, value in spec.param_groups[0].items() if name != "params"}
            self.optimizer.param_groups[0].update(given)

    def optimizer_state(self) -> Dict[str, Any]:
        """The optimiser's arrays by PopART's names."""
        found = {}
        for name in self.values:
            held: Dict[str, Any] = (
                self.optimizer.state.get(self._stepped(name), {}) if self.optimizer is not None else {}
            )
            for slot, x in held.items():
                if slot in self.prefixes and x is not None:
                    found[self.prefixes[slot] + name] = torch.as_tensor(x).detach().clone()
        return found

    def load_optimizer_state(self, state: Dict[str, Any]) -> None:
        """The inverse of ``optimizer_state``."""
        if self.optimizer is None:
            return
        self.optimizer.state.clear()
        for name in self.values:
            names = {slot: prefix + name for slot, prefix in self.prefixes.items()}
            held = {slot: state[key].clone() for slot, key in names.items() if key in state}
            if "square_avg" in held:
                held["step"] = torch.tensor(0.0)  # torch's RMSprop counts, and does nothing with it
            if held:
                self.optimizer.state[self._stepped(name)] = held

    # ---- running ----

    def run(self, steps: List[List[Tuple[Any, ...]]]) -> List[Any]:
        """Carry out a call; returns what the module returned for each part."""
        outputs = []
        for parts in steps:
            for inputs in parts:
                found, loss = self._forward(inputs)
                outputs.append(found)
                if self.training and loss.requires_grad:
                    (loss * (self.scale / len(parts))).backward()
            self._update()
        return outputs

    def _update(self) -> None:
        if self.optimizer is None:
            return
        learned = [(value, self._stepped(name)) for name, value in self.values.items() if value.requires_grad]
        for value, stepped in learned:
            stepped.data.copy_(value.data)
            stepped.grad = (
                torch.zeros_like(stepped) if value.grad is None else value.grad.to(stepped.dtype) / self.scale
            )
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_([stepped for _, stepped in learned], self.clip)
        self.optimizer.step()
        for value, stepped in learned:
            value.data.copy_(stepped.data)
            value.grad = None

    def _forward(self, inputs: Tuple[Any, ...]) -> Tuple[Tuple[Any, ...], Any]:
        """The module on one part, with the device's weights in it and under the device's rules."""
        host = {name: folder[key] for name, folder, key in places(self.module)}
        before = {name: value.detach().clone() for name, value in self.values.items() if not value.requires_grad}
        for name, folder, key in places(self.module):
            folder[key] = self.values[name]
        storage = {name: value.detach() for name, value in self.values.items()}
        try:
            with Tracing(self.training) as tracing, device_rules(tracing.losses):
                found = self.module.forward(*inputs)
            self._settle_buffers(before, storage)
        finally:
            for name, folder, key in places(self.module):
                folder[key] = host[name]
        self.many = isinstance(found, (tuple, list))
        found = tuple(found) if self.many else (found,)
        return tuple(x.detach() for x in found), _loss(tracing) if self.training else None

    def _settle_buffers(self, before: Dict[str, Any], storage: Dict[str, Any]) -> None:
        """Keep in-place changes of float buffers; lose ``.data =`` and whole numbers; refuse reassigned ones."""
        for name, folder, key in places(self.module):
            if name not in self.values or folder[key] is not self.values[name]:
                raise Error(f"buffer or parameter {name} was reassigned: change buffers in place, with copy_")
            value = self.values[name]
            moved = value.data_ptr() != storage[name].data_ptr()
            if name not in before:  # a parameter: only the optimiser changes it
                value.data = storage[name] if moved else value.data
            else:
                self.values[name] = before[name] if moved or not value.is_floating_point() else value.detach()


def _loss(tracing: Tracing) -> Any:
    if not tracing.losses:
        raise Error("Couldn't find a loss in graph! Return one wrapped in poptorch.identity_loss")
    final = final_losses(tracing.losses)
    if len(final) != 1:
        raise Error("Multiple independent losses found: wrap their sum in one poptorch.identity_loss")
    if final[0].ndim:
        raise Error(f"the loss must be a scalar, not of shape {tuple(final[0].shape)}")
    return final[0]
