"""The numbers that a rule gives for a node, the neuron that has them, and both in words."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any, Dict, List

import numpy as np

from spikecore.api.core.layer import Shape
from spikecore.nir.dialects import FORMULAS, NodeRule
from spikecore.nir.members import Unit
from spikecore.nir.notes import NirError
from spikecore.nir.read_layers import fitting
from spikecore.nir.steps import ReaderNeuron, SolvedNeuron
from spikecore.nir.values import compact

NEAR = 1e-6  # numbers of a node this near to each other are equal: files hold float32
WORDED = ("reset", "fires_at", "late", "binary", "within")  # fields of a rule that are no formulas


def numbers_of(rule: NodeRule, unit: Unit, shape: Shape, dt: float) -> Dict[str, Any]:
    """The numbers of a rule for a node: each formula's value, by field.

    Raises:
        NirError: a time constant is not positive, or v_reset does not lie below v_threshold.
    """
    node, place = unit.node, unit.place
    named = {f.name: getattr(node, f.name) for f in fields(node) if f.name[0] in "rtvw"}
    n = SimpleNamespace(**{name: fitting(value, place, name, shape) for name, value in named.items()})
    for name in ("tau", "tau_mem", "tau_syn"):
        if hasattr(n, name) and not bool((getattr(n, name) > 0).all()):
            raise NirError(f"{place}: {name}={getattr(n, name).min():g} must be > 0")
    if not bool((n.v_reset < n.v_threshold).all()):
        raise NirError(f"{place}: v_reset={n.v_reset.max():g} must lie below v_threshold, or it fires without end")
    n.tau, n.dt = getattr(n, "tau_mem", getattr(n, "tau", None)), dt
    n.dt = FORMULAS[rule.dt](n)
    found = {"dt": n.dt}
    for name in ("decay", "syn"):
        found[name] = FORMULAS[getattr(rule, name)](n)
        setattr(n, name, found[name])
    for f in fields(NodeRule):
        if f.name not in ("needs", "uniform", "longer", *WORDED):
            found[f.name] = FORMULAS[getattr(rule, f.name)](n)
    _check(rule, unit, n)
    return {**found, **{name: getattr(rule, name) for name in WORDED}}


def _check(rule: NodeRule, unit: Unit, n: Any) -> None:
    for name in ("tau", "tau_syn") if rule.longer else ():
        value = getattr(n, name, n.tau)
        if bool((value <= n.dt if unit.kind == "LIF" else value < n.dt).any()):
            shown = f"{unit.place}: {name}={shown_range(value)}"
            raise NirError(f"{shown}: this reader needs longer time constants than a step, dt={n.dt:g}")
    if rule.fires_at == "count" and not bool((n.v_threshold > 0).all()):
        raise NirError(
            f"{unit.place}: v_threshold={shown_range(n.v_threshold)}: this reader divides by it; it must be > 0"
        )
    for name, formulas in rule.needs:
        value = getattr(n, "tau" if name == "tau_mem" else name)
        if not any(np.allclose(value, FORMULAS[formula](n), rtol=NEAR, atol=1e-12) for formula in formulas):
            wanted = " or ".join(
                f"{one} = {shown_range(FORMULAS[one](n))}" if one[0] not in "01" else one for one in formulas
            )
            raise NirError(f"{unit.place}: {name}={shown_range(value)}: this reader needs {name} = {wanted}")
    for name in rule.uniform:
        value = getattr(n, "tau" if name == "tau_mem" else name)
        if bool((value != value.reshape(-1)[0]).any()):
            raise NirError(f"{unit.place}: {name}={shown_range(value)}: this reader needs the same for all neurons")


def neuron_of(numbers: Dict[str, Any]) -> Any:
    """The neuron with these numbers."""
    plain = {name: numbers[name] for name in WORDED}
    value = {name: compact(each) for name, each in numbers.items() if name not in WORDED}
    if plain["within"]:
        leaks = bool((np.asarray(numbers["decay"]) < 1.0).any())
        gain = compact(np.asarray(numbers["gain"]) / (1.0 - np.asarray(numbers["decay"]))) if leaks else value["gain"]
        leak = compact(np.asarray(numbers["leak"]) / (1.0 - np.asarray(numbers["decay"]))) if leaks else 0.0
        return SolvedNeuron(
            decay=value["decay"], gain=gain, leak=leak, rho=value["rho"], start=value["start"],
            threshold=value["threshold"],
        )  # fmt: skip
    return ReaderNeuron(
        beta=value["decay"], gain=value["gain"], carry=value["carry"], direct=value["direct"], bias=value["leak"],
        alpha=value["syn"], received=value["received"], current=value["current"], rho=value["rho"],
        floor=value["floor"], grain=value["grain"], start=value["start"], syn_start=value["syn_start"],
        threshold=value["threshold"],
        graded_spikes_factor=value["size"], fires_at=plain["fires_at"], resets=plain["reset"], late=plain["late"],
        binary=plain["binary"],
    )  # fmt: skip


def equal(a: Any, b: Any) -> bool:
    """Whether numbers, or words, of two rules are the same."""
    return a == b if isinstance(a, (str, bool)) else bool(np.allclose(a, b, rtol=NEAR, atol=1e-12))


def same_reset(a: Dict[str, Any], b: Dict[str, Any]) -> bool:
    """Whether two rules' resets are the same."""
    return a["reset"] == b["reset"] and equal(a["rho"], b["rho"])


def told(rule: NodeRule, numbers: Dict[str, Any], names: List[str]) -> str:
    """Rules in words, with their numbers."""
    return ", ".join(_phrase(name, getattr(rule, name), numbers[name]) for name in names)


_PHRASES: Dict[str, Dict[Any, str]] = {
    "fires_at": {">": "v > v_threshold", ">=": "v >= v_threshold", "count": "as often as v_threshold fits into v"},
    "reset": {
        "value": "to a value", "subtract": "v_threshold is subtracted",
        "subtract_decayed": "v_threshold is subtracted before the decay",
        "subtract_once": "v_threshold is subtracted, after a second spike one step late",
    },
    "late": {True: "the spike comes one step later", False: "the spike comes in the step"},
    "binary": {True: "any input but 0 counts as 1", False: "the size of the input counts"},
}  # fmt: skip


def _phrase(name: str, formula: Any, value: Any) -> str:
    if name in _PHRASES:
        return _PHRASES[name][formula]
    called = {"syn": "decay of the current", "leak": "offset", "rho": "to", "floor": "lowest", "carry": "past current"}
    number = shown_range(value)
    if name == "dt":
        return f"dt = {number}"
    return f"{called.get(name, name)} {formula}{'' if formula == number else f' = {number}'}"


def shown_range(value: Any) -> str:
    """A number, or the range of an array."""
    low, high = (float(f(np.asarray(value))) for f in (np.min, np.max))
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
