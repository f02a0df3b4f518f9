"""``poptorch.optim`` in the simulation: descriptions of optimisers; the executor has their arrays.

As in PopTorch, the user's optimiser object does not step. The executor copies its settings when a model is made and at
``setOptimizer``. ``state_dict`` copies the device's arrays to the host, under the names that PopART gives them. Before
a model is compiled, "ipu_state" and "ipu_param" are None; a loaded state has an effect only if neither is None.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple, Type

import torch

ADAM = {"exp_avg": "Accl1___", "exp_avg_sq": "Accl2___", "step": "Step___"}


class Optimizer:
    """The base of the optimisers."""

    base: Type[Any] = torch.optim.SGD
    prefixes: Dict[str, str] = {}  # prefixes of the device's arrays, by torch's names
    param_groups: List[Dict[str, Any]]

    def prepare(self, settings: Dict[str, Any]) -> Dict[str, Any]:
        """Store the settings that only PopTorch has; returns those that torch has."""
        given = {name: value for name, value in settings.items() if value is not None}
        self.loss_scaling = float(given.pop("loss_scaling", 1.0))
        self.max_grad_norm = given.pop("max_grad_norm", None)
        self.executor: Any = None
        self.held: Dict[str, Any] = {"ipu_state": None, "ipu_param": None}
        self.host_is_stale = False  # the device has made a step since its arrays were copied here
        self.device_is_stale = False  # arrays were loaded and have not been sent to the device
        return given

    def state_dict(self) -> Dict[str, Any]:
        if self.executor is not None:
            self.executor.read_optimizer()
        return {**self.held, **torch.optim.Optimizer.state_dict(self)}  # type: ignore[arg-type]

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        torch.optim.Optimizer.load_state_dict(self, state_dict)  # type: ignore[arg-type]
        if not ("ipu_state" in state_dict and "ipu_param" in state_dict):
            raise RuntimeError("Only IPU optimizer states can be loaded onto the IPU.")
        self.hold(state_dict)
        self.device_is_stale = True

    def hold(self, state: Dict[str, Any]) -> None:
        """Store the entries of a state that belong to the device."""
        self.held = {name: state[name] for name in self.held}
        self.host_is_stale = False

    def has_state(self) -> bool:
        """Whether there are arrays to send to the device: PopTorch sends them only if both entries are there."""
        return all(part is not None for part in self.held.values())

    def settings(self) -> Any:
        """The settings that are copied to the device, in a form that can be compared."""
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        return groups, self.loss_scaling, self.max_grad_norm


class SGD(Optimizer, torch.optim.SGD):
    """``poptorch.optim.SGD``."""

    base = torch.optim.SGD
    prefixes = {"momentum_buffer": "Accl1___"}  # with separate accumulators, the default

    def __init__(
        self, params: Any, lr: float, momentum: Any = None, dampening: Any = None, weight_decay: Any = None,
        nesterov: Any = None, maximize: Any = None, foreach: Any = None, differentiable: Any = None,
        loss_scaling: Any = None, velocity_scaling: Any = None, use_combined_accum: Any = None, accum_type: Any = None,
        velocity_accum_type: Any = None, max_grad_norm: Any = None,
    ) -> None:  # fmt: skip
        torch.optim.SGD.__init__(self, params, **self.prepare(dict(
            lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
            loss_scaling=loss_scaling, max_grad_norm=max_grad_norm)))  # fmt: skip


class Adam(Optimizer, torch.optim.Adam):
    """``poptorch.optim.Adam``."""

    base = torch.optim.Adam
    prefixes = ADAM

    def __init__(
        self, params: Any, lr: Any = None, betas: Any = None, eps: Any = None, weight_decay: Any = None,
        amsgrad: Any = None, foreach: Any = None, maximize: Any = None, capturable: Any = None,
        differentiable: Any = None, fused: Any = None, loss_scaling: Any = None, accum_type: Any = None,
        first_order_momentum_accum_type: Any = None, second_order_momentum_accum_type: Any = None,
        max_grad_norm: Any = None,
    ) -> None:  # fmt: skip
        _no_amsgrad(amsgrad)
        torch.optim.Adam.__init__(self, params, **self.prepare(dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, loss_scaling=loss_scaling,
            max_grad_norm=max_grad_norm)))  # fmt: skip


class AdamW(Optimizer, torch.optim.AdamW):
    """``poptorch.optim.AdamW``."""

    base = torch.optim.AdamW
    prefixes = ADAM

    def __init__(
        self, params: Any, lr: Any = None, betas: Any = None, eps: Any = None, weight_decay: Any = None,
        amsgrad: Any = None, maximize: Any = None, foreach: Any = None, capturable: Any = None,
        differentiable: Any = None, fused: Any = None, loss_scaling: Any = None, bias_correction: Any = None,
        accum_type: Any = None, first_order_momentum_accum_type: Any = None,
        second_order_momentum_accum_type: Any = None, max_grad_norm: Any = None,
    ) -> None:  # fmt: skip
        _no_amsgrad(amsgrad)
        torch.optim.AdamW.__init__(self, params, **self.prepare(dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, loss_scaling=loss_scaling,
            max_grad_norm=max_grad_norm)))  # fmt: skip


class RMSprop(Optimizer, torch.optim.RMSprop):
    """``poptorch.optim.RMSprop``."""

    base = torch.optim.RMSprop
    prefixes = {"square_avg": "Accl1___", "grad_avg": "Accl2___", "momentum_buffer": "Accl3___"}

    def __init__(
        self, params: Any, lr: Any = None, alpha: Any = None, eps: Any = None, weight_decay: Any = None,
        momentum: Any = None, centered: Any = None, foreach: Any = None, maximize: Any = None,
        differentiable: Any = None, loss_scaling: Any = None, accum_type: Any = None,
        first_order_momentum_accum_type: Any = None, second_order_momentum_accum_type: Any = None,
        use_tf_variant: Any = None,
    ) -> None:  # fmt: skip
        torch.optim.RMSprop.__init__(self, params, **self.prepare(dict(
            lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered,
            loss_scaling=loss_scaling)))  # fmt: skip


KINDS: Tuple[Any, ...] = (AdamW, Adam, RMSprop, SGD)


def _no_amsgrad(amsgrad: Any) -> None:
    if amsgrad:
        raise ValueError("Only non-amsgrad Adam/AdamW optimizers are supported.")


def converted(optimizer: Any) -> Any:
    """Convert an optimiser of torch to one of this module.

    Raises:
        AssertionError: the optimiser is neither SGD, Adam, AdamW nor RMSprop.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    for kind in KINDS:
        if type(optimizer) is kind.base:
            names = "lr momentum dampening weight_decay nesterov betas eps alpha centered amsgrad params".split()
            groups = [{name: group[name] for name in names if name in group} for group in optimizer.param_groups]
            _no_amsgrad(any(group.get("amsgrad") for group in groups))
            return kind(groups, lr=groups[0]["lr"])
    raise AssertionError(f"Unsupported optimizer type {type(optimizer).__name__}")
