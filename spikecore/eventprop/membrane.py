"""The membrane between two events: its course, the derivatives of that course, its peak and its next spike.

Between events the current I and the membrane V of a neuron follow

    tau_syn dI/dt = -I          tau_mem dV/dt = I - V

so that after a time t, with beta = exp(-t / tau_mem) and alpha = exp(-t / tau_syn),

    I(t) = alpha I(0)           V(t) = beta V(0) + c I(0)
    c    = tau_syn / (tau_mem - tau_syn) (beta - alpha)
         = t / tau_mem integral_0^1 exp(-t (1 - s) / tau_mem - t s / tau_syn) ds

The integral also holds for equal time constants; the functions below compute it and its first moment. They take arrays;
``layer_numba.py`` compiles all but the last for single numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Tuple

import numpy as np

NEWTON_STEPS = 100  # a peak that touches the threshold halves the error with each step
# A step this small, in tau_syn, leaves an error of its square, or where a peak touches the threshold one that rounding
# hides.
CLOSE = 1e-9
NOT_FOUND = "eventprop: a spike time was not found; please report the network and its input"


class Flow(NamedTuple):
    """The map from the state at the beginning of a time without events to that at its end."""

    beta: Any  # of V by V
    gain: Any  # c, of V by I
    alpha: Any  # of I by I


class FlowSlopes(NamedTuple):
    """Derivatives of a ``Flow`` by the time constants."""

    beta_mem: Any  # of beta by tau_mem
    gain_mem: Any
    gain_syn: Any
    alpha_syn: Any


def pick(condition: Any, a: Any, b: Any) -> Any:
    """Values of ``a`` where the condition holds, of ``b`` elsewhere."""
    return np.where(condition, a, b)


def _whole(z: Any, alpha: Any, beta: Any) -> Any:
    """The integral over s in [0, 1] of alpha^s beta^(1-s), with beta = alpha e^z."""
    z = pick(np.abs(z) < 1e-300, 1e-300, z)
    return pick(z < 1.0, alpha * (np.expm1(np.minimum(z, 1.0)) / z), (beta - alpha) / z)


def _moment(z: Any, alpha: Any, whole: Any) -> Any:
    """The integral over s in [0, 1] of s alpha^s beta^(1-s)."""
    small = np.abs(z) < 0.5
    near = pick(small, z, 0.0)
    series: Any = 1.0 / 39916800.0  # alpha times the sum of z^k / (k + 2)!, by Horner's rule
    for denominator in (3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0):
        series = series * near + 1.0 / denominator
    return pick(small, alpha * series, (whole - alpha) / pick(small, 1.0, z))


def flow(t: Any, tau_mem: Any, tau_syn: Any) -> Flow:
    """The course of a state over a time t without events."""
    return _flow(t, tau_mem, tau_syn)[0]


def _flow(t: Any, tau_mem: Any, tau_syn: Any) -> Tuple[Flow, Any, Any]:
    """``flow``, and z and the integral that it is made of."""
    alpha, beta = np.exp(-t / tau_syn), np.exp(-t / tau_mem)
    z = t * (1.0 / tau_syn - 1.0 / tau_mem)
    whole = _whole(z, alpha, beta)
    return Flow(beta, t / tau_mem * whole, alpha), z, whole


def follow(course: Flow, mem: Any, syn: Any) -> Tuple[Any, Any]:
    """Membrane and current at the end of a time without events, from those at its beginning."""
    return course.beta * mem + course.gain * syn, course.alpha * syn


def flow_slopes(t: Any, tau_mem: Any, tau_syn: Any) -> Tuple[Flow, FlowSlopes]:
    """``flow``, and its derivatives by the time constants."""
    course, z, whole = _flow(t, tau_mem, tau_syn)
    beta, gain, alpha = course
    moment = _moment(z, alpha, whole)
    by_mem = -gain / tau_mem + t * t * (whole - moment) / tau_mem**3
    by_syn = t * t * moment / (tau_mem * tau_syn**2)
    return course, FlowSlopes(beta * t / tau_mem**2, by_mem, by_syn, alpha * t / tau_syn**2)


def rise(mem: Any, syn: Any, tau_mem: Any) -> Any:
    """The slope of the membrane, dV/dt."""
    return (syn - mem) / tau_mem


def integral(kicks: Any, mem: Any, syn: Any, tau_mem: Any, tau_syn: Any) -> Any:
    """The integral of V over time for a membrane that began at rest and did not fire; ``kicks`` sums all arrivals.

    Both equations above, integrated: tau_syn (kicks - I) is the integral of I; that of V is the same less tau_mem V.
    """
    return tau_syn * (kicks - syn) - tau_mem * mem


def peak(mem: Any, syn: Any, tau_mem: Any, tau_syn: Any) -> Any:
    """The time at which a rising membrane is highest, V = I; 0 if it does not rise, inf if it rises for ever."""
    rises = syn > mem
    q = (tau_mem - tau_syn) / tau_mem
    u = pick(rises & (syn > 0.0), 1.0 - mem / pick(syn == 0.0, 1.0, syn), 0.0)
    ends = q * u < 1.0
    x = pick(ends, -q * u, 0.0)
    # tau_syn log(1 + x) / (-q); as q goes to 0 this is tau_syn u
    safe = pick(np.abs(x) < 1e-8, 1.0, x)
    ratio = pick(np.abs(x) < 1e-8, 1.0 - x / 2.0, np.log1p(safe) / safe)
    forever = rises & (~ends | (syn <= 0.0))  # towards 0 from below
    return pick(forever, np.inf, pick(rises, tau_syn * u * ratio, 0.0))


def crest(mem: Any, syn: Any, within: Any, tau_mem: Any, tau_syn: Any) -> Tuple[Any, Any]:
    """The time in [0, within] at which a membrane is highest, and its value then; (inf, 0) if it rises for ever."""
    end = np.minimum(peak(mem, syn, tau_mem, tau_syn), within)
    highest, _ = follow(flow(pick(np.isinf(end), 0.0, end), tau_mem, tau_syn), mem, syn)
    return end, pick(np.isinf(end), 0.0, highest)


def closer(t: Any, end: Any, mem: Any, syn: Any, tau_mem: Any, tau_syn: Any, threshold: Any) -> Any:
    """One step of Newton's method from a time t before the crossing; not beyond ``end``, the membrane's crest."""
    mem_then, syn_then = follow(flow(t, tau_mem, tau_syn), mem, syn)
    slope = rise(mem_then, syn_then, tau_mem)
    step = pick(slope > 0.0, (threshold - mem_then) / pick(slope > 0.0, slope, 1.0), 0.0)
    return np.minimum(t + np.maximum(step, 0.0), end)


def next_spike(mem: Any, syn: Any, within: Any, tau_mem: Any, tau_syn: Any, threshold: Any) -> Any:
    """The time of the first upward crossing of the threshold in (0, within]; inf where there is none.

    Up to its peak the membrane is concave. So Newton's method from the left end never passes the crossing, and needs no
    safeguard.
    """
    found = np.full(mem.shape, np.inf)
    end, highest = crest(mem, syn, within, tau_mem, tau_syn)
    crosses = (highest > threshold) & (end > 0.0)
    if not crosses.any():
        return found
    mem, syn, end = mem[crosses], syn[crosses], end[crosses]
    taus = [np.broadcast_to(tau, crosses.shape)[crosses] for tau in (tau_mem, tau_syn, threshold)]
    t = np.zeros_like(mem)
    for _ in range(NEWTON_STEPS):
        later = closer(t, end, mem, syn, *taus)
        close = later - t <= CLOSE * taus[1]
        t = later
        if close.all():
            break
    else:
        raise FloatingPointError(NOT_FOUND)
    found[crosses] = t
    return found
