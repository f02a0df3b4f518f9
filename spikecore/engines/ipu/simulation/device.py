"""The simulated device: it has its own copy of the weights and carries out calls."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

import torch

from spikecore.engines.ipu.simulation.ops import Error, Tracing
from spikecore.engines.ipu.simulation.rules import device_rules, final_losses
from spikecore.engines.ipu.simulation.updates import Updates


def parts_of(tensors: List[Any], options: Any) -> List[List[Tuple[Any, ...]]]:
    """Cut inputs into a list per optimiser step, each with one entry per accumulation step and replica."""
    steps, accumulated = options.device_iterations, options.Training.gradient_accumulation
    count = accumulated * options.replication_factor
    cut = [x.reshape(steps, count, x.shape[0] // (steps * count), *x.shape[1:]) for x in tensors]
    return [[tuple(x[i, j].clone() for x in cut) for j in range(count)] for i in range(steps)]


def places(module: Any) -> Iterator[Tuple[str, Dict[str, Any], str]]:
    """Every parameter and buffer of a module: its dotted name, the dict that contains it, its key in this dict."""
    for prefix, part in torch.nn.Module.named_modules(module):
        for kind in ("_parameters", "_buffers"):
            for name, value in part.__dict__[kind].items():
                if value is not None:
                    yield f"{prefix}.{name}" if prefix else name, part.__dict__[kind], name


class Device:
    """The simulated result of a compilation for an IPU.

    Args:
        module: PopTorch's shallow copy of the user's module.
        training: whether the module returns a loss.
        options: ``Options``.
        optimizer: an optimiser of ``optim.py``; None in inference.
    """

    def __init__(self, module: Any, training: bool, options: Any, optimizer: Any = None) -> None:
        self.module, self.training, self.options, self.many = module, training, options, True
        self.weights: Dict[str, Any] = {}
        self.buffers: List[Dict[str, Any]] = [{} for _ in range(options.replication_factor)]
        self.from_host()
        tensors = [*self.weights.values(), *self.buffers[0].values()]
        self.double = any(value.dtype == torch.float64 for value in tensors)
        self.blocks: List[Any] = []  # (name, IPU) of each block in the order of the program
        self.updates = None
        if optimizer is not None:
            names = {folder[key].data_ptr(): name for name, folder, key in places(module)}
            self.updates = Updates(self.weights, names, optimizer)

    # ---- weights ----

    def from_host(self) -> None:
        """Copy the host's weights to the device's tensors; each replica has its own buffers."""
        with torch.no_grad():
            for name, folder, key in places(self.module):
                host = folder[key]
                if name in self.weights:
                    self.weights[name].copy_(host)
                elif isinstance(host, torch.nn.Parameter):
                    self.weights[name] = host.detach().clone().requires_grad_(host.requires_grad)
                else:
                    for copies in self.buffers:
                        copies[name] = host.detach().clone()

    def to_host(self) -> None:
        """Copy the device's weights, and the buffers of the first replica, to the host's tensors."""
        with torch.no_grad():
            for name, folder, key in places(self.module):
                folder[key].copy_(self.weights[name] if name in self.weights else self.buffers[0][name])

    # ---- running ----

    def run(self, steps: List[List[Tuple[Any, ...]]]) -> List[Any]:
        """Carry out a call; returns the module's result for each part."""
        outputs = []
        for parts in steps:
            for j, inputs in enumerate(parts):
                result, loss = self._forward(inputs, self.buffers[j % len(self.buffers)])
                outputs.append(result)
                if self.updates is not None and loss.requires_grad:
                    (loss * (self.updates.scale / len(parts))).backward()
            if self.updates is not None:
                self.updates.step()
        return outputs

    def trace(self, inputs: Tuple[Any, ...]) -> None:
        """One pass that changes nothing."""
        self._forward(inputs, {name: value.clone() for name, value in self.buffers[0].items()})

    def _forward(self, inputs: Tuple[Any, ...], buffers: Dict[str, Any]) -> Tuple[Tuple[Any, ...], Any]:
        """Call the module on one part, with the device's weights in it and by the device's rules."""
        host = {name: folder[key] for name, folder, key in places(self.module)}
        before = {name: value.clone() for name, value in buffers.items()}
        for name, folder, key in places(self.module):
            folder[key] = self.weights[name] if name in self.weights else buffers[name]
        try:
            with Tracing(self.training) as tracing, device_rules(tracing.losses):
                result = self.module(*inputs)
            self._settle_buffers(buffers, before)
        finally:
            for name, folder, key in places(self.module):
                folder[key] = host.get(name)
        self.blocks = tracing.blocks
        self.many = isinstance(result, (tuple, list))
        result = tuple(result) if self.many else (result,)
        # copies, since an output may be a view of a parameter, which the update changes
        return tuple(x.detach().clone() for x in result), _loss(tracing) if self.training else None

    def _settle_buffers(self, buffers: Dict[str, Any], before: Dict[str, Any]) -> None:
        """Keep in-place changes of float buffers, lose those of whole numbers; refuse new and shared tensors."""
        for name, folder, key in places(self.module):
            if folder[key] is not (self.weights[name] if name in self.weights else buffers.get(name)):
                raise Error(f"buffer or parameter {name} was reassigned: change buffers in place, with copy_")
        for name, old in before.items():
            changed = buffers[name]._version > 0
            if changed and len(self.buffers) > 1 and self.options.broadcast_buffers:
                raise Error("PopTorch does not support broadcasting buffers: use Options.broadcastBuffers(False)")
            if changed:
                buffers[name] = buffers[name].detach().clone() if old.is_floating_point() else old


def _loss(tracing: Tracing) -> Any:
    if not tracing.losses:
        raise Error("Couldn't find a loss in graph! Return one wrapped in poptorch.identity_loss")
    final = final_losses(tracing.losses)
    if len(final) != 1:
        raise Error("Multiple independent losses found: wrap their sum in one poptorch.identity_loss")
    if final[0].ndim:
        raise Error(f"the loss must be a scalar, not of shape {tuple(final[0].shape)}")
    return final[0]
