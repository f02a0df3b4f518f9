"""Every neuron and every surrogate has a mutant of its own, and the check against its equation finds it."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api import neurons
from spikecore.api.neurons import recurrent
from spikecore.conformance import cases, equations, reset_equations, test_surrogates
from spikecore.conformance.test_neuron_equations import NEURONS, RESETS, check_equation, check_resets

from .mistakes import with_mistake


def where(layer):
    """The class whose step a mutant changes: wrappers run another one's, some run all steps at once."""
    if isinstance(layer, (sc.RLeaky, sc.RSynaptic)):
        return sc.Recurrent, "step"
    text = {sc.PSN: "unrolled", sc.MaskedPSN: "_weighted", sc.SlidingPSN: "_filtered", sc.StateSpace: "_read"}
    return (
        (sc.StateLeaky, "unrolled")
        if isinstance(layer, sc.LinearLeaky)
        else (type(layer), text.get(type(layer), "step"))
    )


@NEURONS
def test_a_mutant_of_each_neuron_is_found(monkeypatch, case):
    """One mistake in the text of its step."""
    owner, name = where(case[0])
    monkeypatch.setattr(owner, name, with_mistake(vars(owner)[name], *case[4]))
    engine = sc.get_engine("numpy", dtype="float64", fused=False)  # kernels are made of steps as they were
    with pytest.raises(AssertionError, match="relative error"):
        check_equation(engine, case)


@RESETS
def test_a_mutant_of_the_reset_to_zero_of_each_neuron_is_found(monkeypatch, case):
    """It clears the input where it must not, or leaves it where it must clear it."""
    owner = getattr(case.layer, "base", type(case.layer))  # of a neuron with recurrence
    if "zero" not in owner.resets:
        return
    monkeypatch.setattr(owner, "zero_keeps_input", not owner.zero_keeps_input)
    engine = sc.get_engine("numpy", dtype="float64", fused=False)
    with pytest.raises(AssertionError, match="zero, delayed"):
        check_resets(engine, case)


def test_every_neuron_with_a_reset_has_a_case_of_its_resets():
    every = {
        kind
        for kind in (getattr(neurons, name) for name in dir(neurons))
        if isinstance(kind, type) and hasattr(kind, "reset_mechanism")
    }
    assert every - {type(case.layer) for case in reset_equations.CASES} == {sc.base.Membrane, sc.Alpha}


def test_every_neuron_has_a_case_here():
    """Leaky's mutants are in mutants.py; OneToOne and Recurrent run in the recurrent neurons.

    The equations of Noisy are in tests/core/test_noise.py, since no oracle repeats its draws.
    """
    every = {type(case.layer) for case in cases.NEURONS}
    assert every - {type(case[0]) for case in equations.CASES} == {sc.Leaky, sc.Recurrent, sc.Noisy}
    assert recurrent.OneToOne is sc.OneToOne


@pytest.mark.parametrize("one", [one for _, one in cases.SURROGATES], **cases.ids(cases.SURROGATES))
def test_a_mutant_of_each_surrogate_is_found(monkeypatch, one):
    """A derivative that is one percent too large."""
    right = type(one).derivative
    engine = sc.get_engine("numpy", dtype="float64")
    test_surrogates.check_derivative(engine, one)
    monkeypatch.setattr(type(one), "derivative", lambda self, xp, u: 1.01 * right(self, xp, u))
    with pytest.raises(AssertionError, match="relative error"):
        test_surrogates.check_derivative(engine, one)
