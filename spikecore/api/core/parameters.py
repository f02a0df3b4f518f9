"""Values of a neuron's fields: a number, a constant array, or a value to be learned."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, Optional, Tuple, Union

from spikecore.api.core.host import float64, full_weight, host, to_numpy
from spikecore.api.core.initialisers import Initialiser, drawn
from spikecore.api.core.messages import warn
from spikecore.api.core.random import Key
from spikecore.arguments import Numbers, checked, hints_of, is_array, shown
from spikecore.printing import call, numbers

POSITIVE = (1e-300, math.inf)  # bounds of a field that must be > 0; from 1e-300 on, 1 / value is finite


class FixedArray:
    """A constant array inside a frozen dataclass: compared and hashed by content.

    Args:
        value: anything array-like; stored as a read-only float64 NumPy array.
    """

    __slots__ = ("data",)

    data: Any

    def __init__(self, value: Any) -> None:
        self.data = float64(value.data if isinstance(value, FixedArray) else value).copy()
        self.data.flags.writeable = False

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of the array."""
        return self.data.shape

    def tolist(self) -> Any:
        """The values as nested lists, for JSON."""
        return self.data.tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedArray) and self.shape == other.shape and bool((self.data == other.data).all())

    def __hash__(self) -> int:
        return hash((self.shape, self.data.tobytes()))

    def __repr__(self) -> str:
        return numbers(self.data)


Per = Optional[Literal["neuron", "channel"]]  # how many values a learned parameter has, see ``learn``


@dataclass(frozen=True)
class Learn:
    """A parameter that training may change; ``learn`` and ``learn_tau`` return it."""

    value: Union[float, FixedArray, Initialiser]
    per: Optional[str] = None
    dt: Optional[float] = None  # if set, ``value`` is a time constant, and training learns its logarithm

    def __repr__(self) -> str:
        options = {"dt": None if self.dt == 1.0 else self.dt, "per": self.per}
        arguments = [repr(self.value), *(f"{name}={value!r}" for name, value in options.items() if value is not None)]
        return call("learn" if self.dt is None else "learn_tau", arguments)


Param = Union[Numbers, FixedArray, Learn]


def param_fields(kind: Any) -> Tuple[str, ...]:
    """The fields of a dataclass that are annotated ``Param``."""
    if "_param_fields" not in kind.__dict__:  # asked at every step, and torch.compile cannot trace dataclasses.fields
        hints = hints_of(kind)
        kind._param_fields = tuple(field.name for field in fields(kind) if hints[field.name] == Param)
    names: Tuple[str, ...] = kind._param_fields
    return names


@checked
def learn(value: Union[Numbers, FixedArray, Initialiser], per: Per = None) -> Learn:
    """Mark a parameter as learnable.

    Args:
        value: initial value, a number or an array that broadcasts to the neurons; finite. Or how to draw the values,
            e.g. ``sc.init.normal(0.9, 0.05, high=1.0)``: an initialiser that draws each value independently.
        per: None (the default): one value for the whole layer; "neuron": one per neuron; "channel": one per channel
            (the first feature axis), for convolutional maps. Values that are drawn are one per neuron by default.

    Raises:
        ValueError: ``per`` is something else or given together with an array, or ``value`` is not finite. When the
            model is built: a value is drawn that the parameter cannot have.
        TypeError: ``value`` is neither a number nor an array of numbers nor such an initialiser.

    Example:
        >>> sc.Leaky(beta=sc.learn(0.9, per="neuron"))
        >>> sc.Leaky(beta=sc.learn(sc.init.uniform(0.8, 0.99)))
    """
    return _learned("learn", "value", value, per)


def _learned(function: str, name: str, value: Any, per: Per) -> Learn:
    """A learnable parameter, once the argument ``name`` of ``learn`` or ``learn_tau`` is checked."""
    if per not in (None, "neuron", "channel"):
        raise ValueError(f"{function}: per={per!r} must be None, 'neuron' or 'channel'")
    if isinstance(value, Initialiser):
        if not value.single:  # it needs a matrix, e.g. to make it orthogonal
            raise TypeError(
                f"{function}: {name}={value!r} is for weights; give one such as sc.init.normal or sc.init.gamma"
            )
        return Learn(value, per or "neuron")
    value = constant(value, f"{function}: {name}")
    flat = value.data.reshape(-1).tolist() if isinstance(value, FixedArray) else [value]
    if not flat or not all(map(math.isfinite, flat)):
        raise ValueError(f"{function}: {name}={shown(value)} must be {'finite' if flat else 'a number, or several'}")
    if per is not None and isinstance(value, FixedArray) and value.shape != ():
        raise ValueError(
            f"{function}: per={per!r} spreads one number; an array of shape {value.shape} already has its own values"
        )
    return Learn(value, per)


@checked
def learn_tau(tau: Union[Numbers, FixedArray, Initialiser], dt: float = 1.0, per: Per = None) -> Learn:
    """Mark a decay as learnable through its time constant: decay = exp(-dt / tau), and training learns log tau.

    A decay that is learned directly is clamped to [0, 1] and can get stuck at a border. This one cannot: tau is
    positive for every log tau, so the decay stays inside (0, 1) and always has a gradient. ``Model.params`` shows log
    tau, under the name of the field.

    Args:
        tau: initial time constant, > 0, in the unit of ``dt``; a number or an array that broadcasts to the neurons. Or
            how to draw them, e.g. ``sc.init.gamma(20.0)``.
        dt: duration of a time step, > 0; default 1.
        per: None, "neuron" or "channel", as for ``learn``.

    Raises:
        ValueError: tau or dt is not positive, or ``per`` is something else.

    Example:
        >>> model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky(beta=sc.learn_tau(10.0))))
        >>> tau = np.exp(model.params()["1.beta"])
        >>> beta = np.exp(-1.0 / tau)  # exp(-dt / tau)

    Source: Fang et al., Incorporating learnable membrane time constants, ICCV 2021 (there with a sigmoid).
    """
    learned = _learned("learn_tau", "tau", tau, per)
    value = learned.value
    flat: Any = value.data.reshape(-1).tolist() if isinstance(value, FixedArray) else [value]
    drawn_later = isinstance(value, Initialiser)
    if dt <= 0 or not (drawn_later or all(t > 0 for t in flat)):
        raise ValueError(f"learn_tau: tau={tau!r} and dt={dt!r} must be > 0")
    return Learn(learned.value, learned.per, float(dt))


@checked
def decay(tau: float, dt: float = 1.0) -> float:
    """The constant decay per step of a time constant: exp(-dt / tau).

    Args:
        tau: time constant, > 0, in the unit of ``dt``.
        dt: duration of a time step, > 0; default 1.

    Raises:
        ValueError: tau or dt is not positive.

    Warns:
        TrainingWarning: tau is less than a tenth of dt, as if they had different units.
    """
    if not (tau > 0 and dt > 0):
        raise ValueError(f"decay: tau={tau!r} and dt={dt!r} must be numbers > 0")
    if tau < dt / 10:
        warn(
            f"decay: with tau={tau:g} and steps of dt={dt:g} nothing is left after a step: give both in one unit, e.g. "
            "decay(20.0, dt=1.0) for 20 ms and steps of 1 ms"
        )
    return math.exp(-dt / tau)


def constant(value: Any, name: str = "value") -> Union[float, FixedArray]:
    """A number as a float, anything array-like as ``FixedArray``.

    Raises:
        TypeError: ``value`` holds something else than numbers; the message begins with ``name``.
    """
    if isinstance(value, FixedArray) or type(value) is float:
        return value
    if isinstance(value, bool) or not is_array(value):  # NumPy would read None, text and dates as numbers
        raise TypeError(f"{name}={shown(value)} must be a number or an array of numbers")
    if isinstance(value, (int, float)):
        return float(value)
    return FixedArray(value)


def normalise(value: Any, name: str = "value") -> Param:
    """The canonical form of a field's value.

    Raises:
        TypeError: ``value`` holds something else than numbers, or is a tensor that requires a gradient; the message
            begins with ``name``.
    """
    if getattr(value, "requires_grad", False):
        raise TypeError(
            f"{name}: a tensor with requires_grad=True would become a constant: write sc.learn(...) to learn it, or "
            "give it detached: tensor.detach()"
        )
    return value if isinstance(value, Learn) else constant(value, name)


def values_of(value: Param) -> Any:
    """The number or NumPy array that a field holds, or the ``Initialiser`` that will draw it."""
    plain = value.value if isinstance(value, Learn) else value
    return plain.data if isinstance(plain, FixedArray) else plain


def refuse_drawn(owner: object, name: str) -> None:
    """Refuse an initialiser for a field whose values are needed before they are drawn.

    Raises:
        ValueError: the field is to be drawn.
    """
    value = getattr(owner, name)
    if isinstance(value, Learn) and isinstance(value.value, Initialiser):
        kind = type(owner).__name__
        raise ValueError(f"{kind}: {name}={value!r} cannot be drawn: give a number, or an array of your own draws")


def decays_of(value: Param) -> Any:
    """The decay that a field holds, as a number or NumPy array; a time constant of ``learn_tau`` is converted."""
    plain = values_of(value)
    if not isinstance(value, Learn) or value.dt is None:
        return plain
    if isinstance(plain, float):
        return decay(plain, value.dt)
    decays = [decay(tau, value.dt) for tau in plain.reshape(-1).tolist()]
    return float64(decays).reshape(plain.shape)


def check_range(owner: object, name: str, value: Param, low: float, high: float) -> None:
    """Refuse a value that is not finite or outside [low, high], and ``learn_tau`` for a field that is not a decay.

    Raises:
        ValueError: the message names the class, the field, the value and the allowed range.
    """
    if isinstance(value, Learn) and value.dt is not None:  # a time constant, checked by learn_tau
        if low < 0.0 or high > 1.0:
            owner_name = type(owner).__name__
            raise ValueError(
                f"{owner_name}: {name}=learn_tau(...) is for decays, whose bounds lie within [0, 1]; give it learn(...)"
            )
        return
    plain = values_of(value)
    if isinstance(plain, Initialiser):
        return  # drawn values are checked when they are drawn, by ``initial``
    flat = [float(plain)] if isinstance(plain, float) else plain.reshape(-1).tolist()
    bad = [v for v in flat if not (math.isfinite(v) and low <= v <= high)]
    if bad:
        allowed = "finite" if math.isinf(low) and math.isinf(high) else f"in [{low:g}, {high:g}]"
        allowed = "finite and > 0" if (low, high) == POSITIVE else allowed
        raise ValueError(f"{type(owner).__name__}: {name}={bad[0]!r} must be {allowed}")


def initial(key: Key, owner: object, name: str, value: Learn, shape: Tuple[int, ...]) -> Any:
    """The initial value of a learnable parameter as a NumPy array, for samples of ``shape``.

    Raises:
        ValueError: ``value`` is an array that does not broadcast to ``shape``, or draws what the parameter cannot be.
    """
    plain = values_of(value)
    if isinstance(plain, Initialiser):
        return _drawn(key, owner, name, value, shape)
    if value.dt is not None:
        plain = to_numpy(host().xp.log(float64(plain)))  # ``host``: the NumPy engine, since NumPy is not imported here
    if value.per == "neuron":
        return full_weight(key, shape, float(plain))
    if value.per == "channel":
        return full_weight(key, (shape[0],) + (1,) * (len(shape) - 1), float(plain))
    check_broadcast(owner, name, plain, shape)
    return float64(plain)


def _drawn(key: Key, owner: Any, name: str, value: Learn, shape: Tuple[int, ...]) -> Any:
    """The initial values that an initialiser draws; they pass the same checks as numbers from a user."""
    initialiser: Any = value.value
    size = shape if value.per == "neuron" else (shape[0],) + (1,) * (len(shape) - 1)
    plain = drawn(initialiser, key, name, size)
    if key.blank:
        return plain
    is_tau = value.dt is not None
    low, high = (0.0, math.inf) if is_tau else getattr(owner, "bounds", {}).get(name, (-math.inf, math.inf))
    least, most = float(plain.min()), float(plain.max())
    too_low = least <= 0.0 if is_tau else least < low
    if too_low or most > high:
        wrong = least if too_low else most
        allowed = "> 0" if is_tau else f"in [{low:g}, {high:g}]"
        kind = type(owner).__name__
        raise ValueError(
            f"{kind}: {name}={initialiser!r} drew {wrong:.4g}, which must be {allowed}: give it low and high"
        )
    return to_numpy(host().xp.log(plain)) if is_tau else plain


def check_broadcast(owner: object, name: str, plain: Any, shape: Tuple[int, ...]) -> None:
    """Refuse an array parameter that does not broadcast to the shape of one sample."""
    extents = getattr(plain, "shape", ())
    fits = len(extents) <= len(shape) and all(n in (1, m) for n, m in zip(extents[::-1], shape[::-1]))
    if not fits:
        hint = f"; for one value per channel use shape ({shape[0]}, 1, 1)" if len(shape) == 3 else ""
        raise ValueError(
            f"{type(owner).__name__}: {name} of shape {extents} does not broadcast to neurons {shape}{hint}"
        )
