"""Optimisers as plain descriptions, with their update rules written once in vocabulary words.

The NumPy engine runs ``update``, for large parameters as a kernel generated from ``rule``. The torch engine passes the
description to torch.optim, whose slots have the same names, so that checkpoints can move between engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Dict, Iterable, Optional, Sequence, Tuple

from spikecore.api.core.sizes import is_finite
from spikecore.api.core.words import Array, Vocabulary
from spikecore.arguments import Checked, argument_kind
from spikecore.printing import Concise

Slots = Dict[str, Any]
Scalars = Dict[str, Any]
TINY = 2.0**-126  # the smallest normal number of float32


class _Ranged(Concise, Checked):
    """Base of descriptions whose numbers have a range."""

    def _check(self, name: str, value: Optional[float], low: float, high: float, ends: str = "[)") -> None:
        """Refuse a value outside [low, high); ``ends`` says which ends belong to the range, e.g. "(]" the upper one."""
        number = isinstance(value, (int, float)) and is_finite(value)
        outside = (value == low and ends[0] == "(") or (value == high and ends[1] == ")")
        if not number or not low <= value <= high or outside:  # type: ignore[operator]
            allowed = f"{ends[0]}{low:g}, {high:g}{ends[1]}"
            raise ValueError(f"{type(self).__name__}: {name}={value!r} must be a number in {allowed}")


@dataclass(frozen=True)
class Group(_Ranged):
    """Options of an optimiser for some of the parameters: another learning rate, another weight decay, or no training.

    Options that a group does not give are the optimiser's. If several groups match a parameter, each option is that of
    the last one that gives it; so begin with the general pattern: ``(Group("*", frozen=True), Group("4.*",
    frozen=False))`` trains layer 4 alone.

    Args:
        match: pattern of parameter names, as ``model.params()`` has them: ``*`` stands for any text, dots included,
            ``?`` for one character, ``[ab]`` for one of several. E.g. "*.beta", "0.*", "2.weight".
        lr: learning rate of these parameters, >= 0. A schedule scales it as it scales that of the optimiser. None, the
            default: the optimiser's.
        weight_decay: weight decay of these parameters, >= 0; None, the default: the optimiser's.
        frozen: True: these parameters stay as they are, without weight decay, and do not count for ``clip_norm``;
            False: they are trained, although an earlier group has frozen them. None, the default: not said.

    Raises:
        ValueError: an argument is out of range, or the group has no option.

    Example:
        >>> sc.Adam(lr=1e-3, weight_decay=1e-4, groups=(sc.Group("*.beta", lr=1e-2, weight_decay=0.0),))
    """

    match: str
    lr: Optional[float] = None
    weight_decay: Optional[float] = None
    frozen: Optional[bool] = None

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay"):
            if getattr(self, name) is not None:
                self._check(name, getattr(self, name), 0.0, math.inf)
        if self.frozen not in (None, True, False):
            raise ValueError(f"Group: frozen={self.frozen!r} must be True, False or None")
        if not self.given():
            raise ValueError(f"Group: match={self.match!r} has no option: give lr, weight_decay or frozen")

    def given(self) -> Dict[str, Any]:
        """The options that the group gives, by name."""
        options = {name: getattr(self, name) for name in ("lr", "weight_decay", "frozen")}
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class Optimizer(_Ranged):
    """Base of all optimisers.

    Args:
        lr: learning rate, >= 0.
        weight_decay: factor of the L2 penalty, >= 0; it is added to the gradient, in AdamW applied separately.
        groups: options of some of the parameters, see ``Group``; default none.
        keep_zeros: whether connections of weight zero do not exist: they stay zero, their gradients do not count for
            ``clip_norm``, and their moments are zero. No other weight becomes zero: one that would gets 2**-126. So
            training leaves the connections of a pruned network as they are. It concerns weights of connections, as
            ``sc.compression.sparsity`` lists them, not biases and parameters of neurons. Default False.
        clip_norm: largest Euclidean norm of the gradient of all parameters together, > 0: a larger gradient is scaled
            to it, as by ``torch.nn.utils.clip_grad_norm_``. None, the default, does not clip.

    Raises:
        ValueError: an argument is out of range.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    groups: Sequence[Group] = ()
    keep_zeros: bool = False
    clip_norm: Optional[float] = None

    _told: ClassVar[Tuple[str, ...]] = ("lr",)  # printed even with its default

    def __post_init__(self) -> None:
        self._check("lr", self.lr, 0.0, math.inf)
        self._check("weight_decay", self.weight_decay, 0.0, math.inf)
        if self.clip_norm is not None:
            self._check("clip_norm", self.clip_norm, 0.0, math.inf, "()")
        several = isinstance(self.groups, (tuple, list))
        if not several or not all(isinstance(group, Group) for group in self.groups):
            kind = type(self).__name__
            raise TypeError(
                f"{kind}: groups={self.groups!r} must be sc.Group objects, e.g. (sc.Group('*.beta', lr=0.01),)"
            )
        object.__setattr__(self, "groups", tuple(self.groups))
        if self.lr == 0 and any(group.lr for group in self.groups):
            raise ValueError(
                f"{type(self).__name__}: lr={self.lr!r} cannot be scaled to a group's: give the group's rate as lr, "
                "and let groups=(Group('*', frozen=True), Group(..., frozen=False)) say what is trained"
            )

    # ---- parameter groups ----

    def of(self, name: str) -> Optional[Optimizer]:
        """The optimiser of the parameter ``name``, without groups; None if the parameter is frozen."""
        if not self.groups:
            return self
        options: Dict[str, Any] = {}
        for group in self.groups:
            if fnmatchcase(name, group.match):
                options.update(group.given())
        return None if options.pop("frozen", False) else replace(self, groups=(), **options)

    def by_name(self, names: Iterable[str]) -> Dict[str, Optional[Optimizer]]:
        """The optimiser of each parameter by name, None for those that are frozen.

        Raises:
            ValueError: a group matches no parameter.
        """
        names = list(names)
        for group in self.groups:
            if not any(fnmatchcase(name, group.match) for name in names):
                raise ValueError(
                    f"groups: match={group.match!r} matches no parameter; the network has {', '.join(names) or 'none'}"
                )
        return {name: self.of(name) for name in names}

    def rate(self, spec: Optimizer, lr: float) -> float:
        """The learning rate of a group now.

        Args:
            spec: the group's optimiser, as ``of`` returns it.
            lr: the learning rate of the parameters in no group now, after schedules.
        """
        return lr if spec.lr == self.lr else lr * (spec.lr / self.lr)

    # ---- the update ----

    @property
    def slots(self) -> Tuple[str, ...]:
        """Names of the arrays that are stored for each parameter; the argument ``slots`` has them by name."""
        return ()

    def update(
        self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, step: int, lr: float
    ) -> Tuple[Any, Slots]:
        """The parameter and its slots after step number ``step`` (from 1); ``slots`` is empty before the first."""
        return self.whole_rule(xp, param, grad, slots, self.scalars(step, lr))

    def whole_rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        """Apply ``rule``; with ``keep_zeros``, weights of zero stay zero and no other weight becomes zero."""
        if not self.keep_zeros:
            return self.rule(xp, param, grad, slots, now)
        after, slots = self.rule(xp, param, self.existing(xp, param, grad), slots, now)
        zero = xp.zeros_like(param)
        after = xp.where(after == zero, zero + TINY, after)
        return self.existing(xp, param, after), {name: self.existing(xp, param, x) for name, x in slots.items()}

    def existing(self, xp: Vocabulary, param: Array, x: Array) -> Any:
        """An array of the parameter's shape; if zeros are kept, it is zero wherever the parameter is."""
        if not self.keep_zeros:
            return x
        zero = xp.zeros_like(param)
        return xp.where(param == zero, zero, x)

    def scalars(self, step: int, lr: float) -> Scalars:
        """The numbers in ``rule`` that depend only on step and learning rate, by name."""
        return {"lr": lr}

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        """The update itself, elementwise and in words; ``now``: what ``scalars`` returned."""
        raise NotImplementedError


argument_kind(Optimizer, "a spikecore optimiser, e.g. sc.Adam(lr=1e-3)")


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
        groups: options of some of the parameters, see ``Group``; default none.
        keep_zeros: whether connections of weight zero stay zero, as in ``Optimizer``; default False.
        clip_norm: largest norm of the whole gradient, > 0, as in ``Optimizer``; None, the default, does not clip.

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
        self._check("dampening", self.dampening, 0.0, 1.0, "[]")
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
        groups: options of some of the parameters, see ``Group``; default none.
        keep_zeros: whether connections of weight zero stay zero, as in ``Optimizer``; default False.
        clip_norm: largest norm of the whole gradient, > 0, as in ``Optimizer``; None, the default, does not clip.

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
        self._check("eps", self.eps, 0.0, math.inf, "()")

    @property
    def slots(self) -> Tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def scalars(self, step: int, lr: float) -> Scalars:
        b1, b2 = self.betas
        return {"rate": lr / (1.0 - b1**step), "spread": math.sqrt(1.0 - b2**step)}  # the corrections of both means

    def rule(self, xp: Vocabulary, param: Array, grad: Array, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        return self._adam(xp, param, grad, slots, now)

    def _adam(self, xp: Any, param: Any, grad: Any, slots: Slots, now: Scalars) -> Tuple[Any, Slots]:
        (b1, b2), zero = self.betas, xp.zeros_like(param)
        mean = b1 * slots.get("exp_avg", zero) + (1.0 - b1) * grad
        square = b2 * slots.get("exp_avg_sq", zero) + (1.0 - b2) * (grad * grad)
        size = xp.sqrt(square) / now["spread"] + self.eps
        return param - now["rate"] * (mean / size), {"exp_avg": mean, "exp_avg_sq": square}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019): p <- p (1 - lr weight_decay), then Adam.

    Args:
        lr, betas, eps, groups, keep_zeros, clip_norm: as in Adam.
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
        groups: options of some of the parameters, see ``Group``; default none.
        keep_zeros: whether connections of weight zero stay zero, as in ``Optimizer``; default False.
        clip_norm: largest norm of the whole gradient, > 0, as in ``Optimizer``; None, the default, does not clip.

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
        self._check("eps", self.eps, 0.0, math.inf, "()")

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
