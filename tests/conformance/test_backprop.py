"""Learning through time: the suite's cases, every elementwise neuron, mutants."""

from __future__ import annotations

import importlib

import pytest

import spikecore as sc
from spikecore.api.core.tree import map_leaves
from spikecore.api.learning import eligibility, factorised, forward_mode
from spikecore.conformance import cases
from spikecore.conformance.test_backprop import *  # noqa: F403
from spikecore.conformance.test_backprop import (
    ELEMENTWISE,
    check_factorised,
    check_forward_mode,
    check_last_layer,
    check_truncated,
    names,
)
from spikecore.engines.numpy.executor import NumpyExecutor

online = importlib.import_module("spikecore.api.learning.online")  # its package has a function of that name


@pytest.mark.parametrize("case", ELEMENTWISE, **names)
def test_so_does_every_elementwise_neuron(case):
    check_last_layer(sc.get_engine("numpy", dtype="float64"), case)


SYNAPTIC = cases.Case("Synaptic", sc.Synaptic(alpha=sc.learn(0.6), beta=sc.learn(0.8), threshold=0.4))


def forgets(right):
    """The trace without what it was before."""
    return lambda d, traces, enter, shaped: right(d, map_leaves(lambda e: 0.0 * e, traces), enter, shaped)


def one_state_only(right):
    """The trace without what one state does to another."""

    def moved(d, traces, enter, shaped):
        alone = {name: right(d, type(traces)({name: e}), enter, shaped)[name] for name, e in traces.items()}
        return type(traces)(alone)

    return moved


def without_states(right):
    """Cotangents that reach the current and not the old states."""

    def pull(d, signals):
        found = right(d, signals)
        return found.replace(state=map_leaves(lambda v: 0.0 * v, found.state))

    return pull


def leaks_too_little(right):
    """The factorised trace with another decay."""
    return lambda leak, traces, z: right(leak, map_leaves(lambda e: 1.1 * e, traces), z)


def forgets_everything(right):
    """Earlier steps do not reach the gradient."""
    return lambda *arguments: 0.0 * right(*arguments)


def from_rest(right):
    """Every part of a sequence begins at rest."""
    return lambda self, *arguments, state=None, **options: right(self, *arguments, **options)


BROKEN = {
    "trace forgets": (eligibility, "moved", forgets, check_last_layer, SYNAPTIC),
    "states do not act on each other": (eligibility, "moved", one_state_only, check_last_layer, SYNAPTIC),
    "trace does not reach the gradient": (online, "pull", without_states, check_last_layer, SYNAPTIC),
    "factorised trace leaks too little": (factorised, "_leaked", leaks_too_little, check_factorised),
    "sensitivity is not used": (forward_mode, "_times", forgets_everything, check_forward_mode, cases.DENSE),
    "parts begin at rest": (NumpyExecutor, "step", from_rest, check_truncated),
}


@pytest.mark.parametrize("name", BROKEN)
def test_mutant_is_caught(monkeypatch, name):
    home, attribute, breaks, check, *arguments = BROKEN[name]
    engine = sc.get_engine("numpy", dtype="float64")
    check(engine, *arguments)
    monkeypatch.setattr(home, attribute, breaks(getattr(home, attribute)))
    with pytest.raises(AssertionError):
        check(engine, *arguments)
