"""When a neuron cannot fire by itself: a box of states that it does not leave while nothing arrives, without a spike.

A step is evaluated once on intervals instead of numbers. Rounding is monotone, so bounds computed by the step's own
operations, in its own type, hold for all values between them, rounding included. If the states after the step lie
within the box and the output is zero, then so it is for every state in the box, and after any number of steps.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.kernels.form import Step, constants_in

Interval = Tuple[Any, Any]  # the least and the greatest value, one of each per neuron; comparisons are 0 or 1
MEMBRANE = "mem"
FAR, NEAR = 1e30, 1e20  # beyond any membrane, and beyond any other state: a box may be open below
NARROWER = 24  # how many boxes are tried for states beside the membrane, each half as wide as the last one


def quiet_box(step: Step, params: Dict[str, Any], threshold: Any, idle: Any) -> Optional[Dict[str, Interval]]:
    """The box of each state, by its number; None where no neuron has one.

    Neurons that have none get an empty box, from infinity to minus infinity.

    Args:
        step: the neurons' step.
        params: its parameters by their indices: arrays like ``idle``, or single numbers.
        threshold: an array like ``idle``: what a membrane must exceed to fire.
        idle: the input while nothing arrives.
    """
    if MEMBRANE not in step.states:
        return None
    number, missing = np.dtype(step.dtype).type, np.ones(idle.shape, bool)
    found = {s: (np.full_like(idle, np.inf), np.full_like(idle, -np.inf)) for s in step.trace.states}
    with np.errstate(all="ignore"):
        for lowest, share in _borders(len(step.states)):
            box: Dict[str, Any] = {}
            for s, name in zip(step.trace.states, step.states):
                ends = (-FAR, threshold) if name == MEMBRANE else (lowest, threshold * number(share))
                box[s] = tuple(np.broadcast_to(np.asarray(end, step.dtype), idle.shape) for end in ends)
            holds = missing & _stays(step, params, box, idle)
            for s, ends in box.items():
                for kept, end in zip(found[s], ends):
                    kept[holds] = end[holds]
            missing &= ~holds
            if not missing.any():
                break
    return None if missing.all() else found


def _borders(states: int) -> Iterator[Tuple[float, float]]:
    """For states beside the membrane: the lower border, and the upper one as a share of the threshold."""
    if states == 1:
        yield 0.0, 1.0
        return
    for lowest in (-NEAR, 0.0):
        for narrower in range(NARROWER):
            yield lowest, 2.0**-narrower


def _stays(step: Step, params: Dict[str, Any], box: Dict[str, Any], idle: Any) -> Any:
    """Whether each neuron, from any state in the box, stays in it and does not fire."""
    trace = step.trace
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    intervals = {"x": (idle, idle), **{f"s_{s}": ends for s, ends in box.items()}}
    intervals.update({f"p_{p}": (value, value) for p, value in params.items()})
    intervals.update({name: (step.constant_array[i],) * 2 for name, i in constants_in(trace.graph).items()})
    values: Dict[Any, Interval] = {v: intervals[name] for name, v in trace.graph.inputs.items() if v in leaves}
    number = np.dtype(step.dtype).type
    for op in ops:
        if op.word not in RULES:
            return np.zeros(idle.shape, bool)
        arguments = [values[a] if type(a) is Value else (number(a), number(a)) for a in op.args]
        low, high = RULES[op.word](*arguments)
        unknown = np.isnan(low) | np.isnan(high)
        values[op.out] = np.where(unknown, number(-np.inf), low), np.where(unknown, number(np.inf), high)
    low, high = values[trace.output]
    holds = np.broadcast_to((low == 0) & (high == 0), idle.shape)
    for s, v in zip(trace.states, trace.after):
        holds = holds & (values[v][0] >= box[s][0]) & (values[v][1] <= box[s][1])
    return holds


# ---- one rule for each word: intervals in, interval out ------------------------------------------------------------


def _corners(function: Callable[[Any, Any], Any]) -> Callable[[Interval, Interval], Interval]:
    """A function that is monotone in each argument, whichever way."""

    def rule(a: Interval, b: Interval) -> Interval:
        ends = [function(x, y) for x in a for y in b]
        return np.minimum.reduce(ends), np.maximum.reduce(ends)

    return rule


def _divide(a: Interval, b: Interval) -> Interval:
    low, high = _corners(np.divide)(a, b)
    through_zero = (b[0] <= 0) & (b[1] >= 0)
    return np.where(through_zero, -np.inf, low), np.where(through_zero, np.inf, high)


def _rising(function: Callable[..., Any]) -> Callable[..., Interval]:
    """A function that rises with each argument."""
    return lambda *given: (function(*(a[0] for a in given)), function(*(a[1] for a in given)))


def _abs(a: Interval) -> Interval:
    ends = np.abs(a[0]), np.abs(a[1])
    return np.where((a[0] <= 0) & (a[1] >= 0), 0, np.minimum(*ends)), np.maximum(*ends)


def _holds(certain: Any, possible: Any) -> Interval:
    return certain.astype("float32"), possible.astype("float32")


def _greater(a: Interval, b: Interval) -> Interval:
    return _holds(np.greater(a[0], b[1]), np.greater(a[1], b[0]))


def _greater_equal(a: Interval, b: Interval) -> Interval:
    return _holds(np.greater_equal(a[0], b[1]), np.greater_equal(a[1], b[0]))


def _not(a: Interval) -> Interval:
    return 1 - a[1], 1 - a[0]


def _where(c: Interval, a: Interval, b: Interval) -> Interval:
    def end(i: int, either: Callable[[Any, Any], Any]) -> Any:
        return np.where(c[0] == 1, a[i], np.where(c[1] == 0, b[i], either(a[i], b[i])))

    return end(0, np.minimum), end(1, np.maximum)


RULES: Dict[str, Callable[..., Interval]] = {
    "add": _corners(np.add),
    "subtract": _corners(np.subtract),
    "multiply": _corners(np.multiply),
    "divide": _divide,
    "negative": lambda a: (-a[1], -a[0]),
    "abs": _abs,
    **{word: _rising(getattr(np, word)) for word in ("maximum", "minimum", "floor", "ceil", "sign")},
    "round": _rising(np.rint),
    "clip": _rising(lambda a, low, high: np.minimum(np.maximum(a, low), high)),
    "greater": _greater,
    "greater_equal": _greater_equal,
    "less": lambda a, b: _greater(b, a),
    "less_equal": lambda a, b: _greater_equal(b, a),
    "logical_and": _rising(np.minimum),
    "logical_or": _rising(np.maximum),
    "logical_not": _not,
    "where": _where,
    "astype": lambda a: a,
    "stop_gradient": lambda a: a,
    "spike": lambda u: _greater(u, (0.0, 0.0)),
}
