"""Optimisers as plain descriptions, with their update rules written once in vocabulary words.

The NumPy engine runs ``update``, for large parameters as a kernel generated from ``rule``. The torch engine passes the
description to torch.optim, whose slots have the same names, so that checkpoints can move between engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.sizes import is_finite
from spikecore.api.core.words import Array, Vocabulary
from spikecore.arguments import Checked
from spikecore.printing import Concise

Slots = Dict[str, Any]
Scalars = Dict[str, Any]


@dataclass(frozen=True)
class Optimizer(Concise, Checked):
    """Base of all optimisers.

    Args:
        lr: learning rate, >= 0.
        weight_decay: factor of the L2 penalty, >= 0; it is added to the gradient, in AdamW applied separately.

    Raises:
        ValueError: an argument is out of range.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0

    told: ClassVar[Tuple[str, ...]] = ("lr",)

    def __post_init__(self) -> None:
        self._check("lr", self.lr, 0.0, math.inf)
        self._check("weight_decay", self.weight_decay, 0.0, math.inf)

    def _check(self, name: str, value: float, low: float, high: float, above: bool = False) -> None:
        """Refuse a value outside [low, high), or with ``above`` outside (low, high)."""
        number = isinstance(value, (int, float)) and is_finite(value)
        if not number or not low <= value < high or (above and value == low):
            allowed = f"{'(' if above else '['}{low:g}, {high:g})"
            raise ValueError(f"{type(self).__name__}: {name}={value!r} must be a number in {allowed}")

    @property
    def slots(self) -> Tuple[str, ...]:
        """Names of the arrays that the optimiser stores for each parameter."""
        return ()

    def update(
        self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, step: int, lr: float
    ) -> Tuple[Any, Slots]:
        """The parameter and its slots after step number ``step`` (from 1); ``slots`` is empty before the first."""
        return self.rule(xp, param, grad, slots, self.scalars(step, lr))

    def scalars(self, step: int, lr: float) -> Scalars:
        """The numbers that depend on step and learning rate only, by name."""
        return {"lr": lr}

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        """The update itself, elementwise and in words; ``now``: what ``scalars`` returned."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent.

        g <- g + weight_decay p
        v <- momentum v + (1 - dampening) g       (v = g at the first step)
        p <- p - lr v                             nesterov: p - lr (g + momentum v)

    Args:
        lr: learning rate, >= 0; default 0.01.
        momentum: in [0, 1); default 0.
        weight_decay: factor of the L2 penalty, >= 0; default 0.
        dampening: in [0, 1]; default 0.
        nesterov: whether to use Nesterov's variant, which needs momentum and no dampening; default False.

    Raises:
        ValueError: an argument is out of range, or ``nesterov`` is used without momentum or with dampening.
    """

    lr: float = 1e-2
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("momentum", self.momentum, 0.0, 1.0)
        self._check("dampening", self.dampening, 0.0, 1.0 + 1e-12)
        if not isinstance(self.nesterov, bool):
            raise ValueError(f"SGD: nesterov={self.nesterov!r} must be True or False")
        if self.nesterov and (self.momentum == 0.0 or self.dampening != 0.0):
            raise ValueError(
                f"SGD: nesterov needs momentum > 0 and dampening = 0, got {self.momentum} and {self.dampening}"
            )

    @property
    def slots(self) -> Tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        if not self.momentum:
            return param - now["lr"] * grad, slots
        velocity = grad
        if slots:
            velocity = self.momentum * slots["momentum_buffer"] + (1.0 - self.dampening) * grad
        direction = grad + self.momentum * velocity if self.nesterov else velocity
        return param - now["lr"] * direction, {"momentum_buffer": velocity}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015).

        g <- g + weight_decay p
        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        p <- p - lr / (1 - b1^t)  m / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        lr: learning rate, >= 0; default 0.001.
        betas: b1 and b2, each in [0, 1); default (0.9, 0.999).
        eps: > 0, keeps the quotient finite; default 1e-8.
        weight_decay: factor of the L2 penalty, >= 0; default 0.

    Raises:
        ValueError: an argument is out of range.
    """

    betas: Tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "betas", tuple(self.betas))
        for beta in self.betas:
            self._check("betas", beta, 0.0, 1.0)
        self._check("eps", self.eps, 0.0, math.inf, above=True)

    @property
    def slots(self) -> Tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, step: int, lr: float) -> Scalars:
        b1, b2 = self.betas
        return {"rate": lr / (1.0 - b1**step), "spread": math.sqrt(1.0 - b2**step)}

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        return self._adam(xp, param, grad, slots, now)

    def _adam(self, xp: Any, param: Any, grad: Any, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        (b1, b2), zero = self.betas, xp.zeros_like(param)
        mean = b1 * slots.get("exp_avg", zero) + (1.0 - b1) * grad
        square = b2 * slots.get("exp_avg_sq", zero) + (1.0 - b2) * (grad * grad)
        spread = xp.sqrt(square) / now["spread"] + self.eps
        return param - now["rate"] * (mean / spread), {"exp_avg": mean, "exp_avg_sq": square}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019): p <- p (1 - lr weight_decay), then Adam.

    Args:
        lr, betas, eps: as in Adam.
        weight_decay: >= 0; default 0.01.

    Raises:
        ValueError: an argument is out of range.
    """

    weight_decay: float = 1e-2

    def scalars(self, step: int, lr: float) -> Scalars:
        return {**super().scalars(step, lr), "shrink": 1.0 - lr * self.weight_decay}

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        return self._adam(xp, param * now["shrink"], grad, slots, now)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6 of Neural networks for machine learning, 2012), as in torch, not centred.

        g <- g + weight_decay p
        v <- alpha v + (1 - alpha) g^2
        b <- momentum b + g / (sqrt(v) + eps)
        p <- p - lr b

    Args:
        lr: learning rate, >= 0; default 0.01.
        alpha: decay of the mean square, in [0, 1); default 0.99.
        eps: > 0, keeps the quotient finite; default 1e-8.
        momentum: in [0, 1); default 0.
        weight_decay: factor of the L2 penalty, >= 0; default 0.

    Raises:
        ValueError: an argument is out of range.
    """

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "momentum"):
            self._check(name, getattr(self, name), 0.0, 1.0)
        self._check("eps", self.eps, 0.0, math.inf, above=True)

    @property
    def slots(self) -> Tuple[str, ...]:
        return ("square_avg", "momentum_buffer") if self.momentum else ("square_avg",)

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        zero = xp.zeros_like(param)
        square = self.alpha * slots.get("square_avg", zero) + (1.0 - self.alpha) * (grad * grad)
        move = grad / (xp.sqrt(square) + self.eps)
        if not self.momentum:
            return param - now["lr"] * move, {"square_avg": square}
        move = self.momentum * slots.get("momentum_buffer", zero) + move
        return param - now["lr"] * move, {"square_avg": square, "momentum_buffer": move}
