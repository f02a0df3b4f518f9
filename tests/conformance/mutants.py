"""Mutants of neurons and of the run over time: each is one mistake, with the check that must find it."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core import rules
from spikecore.api.core.tree import State, map_leaves
from spikecore.api.neurons import base
from spikecore.conformance import cases, golden, test_neurons, test_scan
from spikecore.engines.numpy import bptt
from spikecore.engines.numpy.engine import NumpyEngine

NEURON = {case.name: case for case in cases.NEURONS}
DELAYED, ZERO = NEURON["Leaky-subtract-delayed"], NEURON["Leaky-zero-delayed"]
IMMEDIATE = NEURON["Leaky-subtract-immediate"]


def with_words(**broken):
    """A numpy engine some of whose words are wrong."""

    class Mutant(NumpyEngine):
        def raw_words(self):
            return {**super().raw_words(), **broken}

    return Mutant("float64")


def with_method(name, method):
    """A numpy engine one of whose methods is wrong: ``method(right, *arguments)``."""
    right = getattr(NumpyEngine, name)
    return type("Mutant", (NumpyEngine,), {name: lambda self, *a, **k: method(right, self, *a, **k)})("float64")


MUTANTS = []


def mutant(check, *arguments):
    """Enter a mutant: a function that breaks something and returns the engine to check (None: the numpy engine)."""

    def enter(breaks):
        MUTANTS.append(pytest.param(breaks, check, arguments, id=breaks.__name__.strip("_")))
        return breaks

    return enter


@mutant(test_neurons.check_strict_threshold)
def spike_fires_at_the_threshold(patch):
    return with_words(spike=lambda u, s: (u >= 0) * 1.0)


@mutant(test_neurons.check_gradient, DELAYED)
def surrogate_factor_dropped(patch):
    patch.setitem(rules.RULES, "spike", (lambda xp, g, out, u, surrogate: g,))


def stepping(membrane, immediate=None, gamma=True):
    """Leaky with another membrane: ``membrane(engine, params, before, x, surrogate)``, and another reset at once."""

    def step(self, engine, params, state, x):
        mem = membrane(engine, params, state.mem, x, self.surrogate)
        fired = engine.spike(mem - params.threshold, self.surrogate)
        after = mem if immediate is None else immediate(engine, params, mem, fired)
        return (params.graded_spikes_factor * fired if gamma else fired), State(mem=after)

    return lambda patch: patch.setattr(sc.Leaky, "step", step)


def above(engine, params, before):
    return engine.xp.astype(before > params.threshold, engine.dtype)


LEAKS = {  # what is wrong, the check that finds it, the case, and the membrane; right is: beta before + x - reset theta
    "delayed reset is not detached": (test_neurons.check_gradient, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * m + x - e.spike(m - p.threshold, s) * p.threshold)),
    "delayed reset is forgotten": (test_neurons.check_forward, DELAYED, stepping(lambda e, p, m, x, s: p.beta * m + x)),
    "reset fires at the threshold": (test_neurons.check_strict_threshold, None, stepping(
        lambda e, p, m, x, s: p.beta * m + x - e.xp.astype(m >= p.threshold, e.dtype) * p.threshold)),
    "beta applied twice": (test_neurons.check_forward, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * (p.beta * m) + x - above(e, p, m) * p.threshold)),
    "beta acts on the reset": (test_neurons.check_forward, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * (m - above(e, p, m) * p.threshold) + x)),
    "reset by one instead of the threshold": (test_neurons.check_forward, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * m + x - above(e, p, m))),
    "threshold of the reset gets no gradient": (test_neurons.check_gradient, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * m + x - above(e, p, m) * e.stop_gradient(p.threshold))),
    "gamma forgotten": (test_neurons.check_forward, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * m + x - above(e, p, m) * p.threshold, gamma=False)),
    "gamma scales the reset": (test_neurons.check_forward, DELAYED, stepping(
        lambda e, p, m, x, s: p.beta * m + x - above(e, p, m) * p.threshold * p.graded_spikes_factor)),
    "zero reset kills the input too": (test_neurons.check_forward, ZERO, stepping(
        lambda e, p, m, x, s: (1.0 - above(e, p, m)) * (p.beta * m + x))),
    "immediate reset is detached": (test_neurons.check_gradient, IMMEDIATE, stepping(
        lambda e, p, m, x, s: p.beta * m + x, lambda e, p, mem, fired: mem - e.stop_gradient(fired) * p.threshold)),
    "fires above one and a half thresholds": (test_neurons.check_golden, golden.NEURONS[0], stepping(
        lambda e, p, m, x, s: p.beta * m + x - above(e, p, m) * p.threshold - 0.5)),
}  # fmt: skip
MUTANTS += [
    pytest.param(breaks, check, () if case is None else (case,), id=name.replace(" ", "_"))
    for name, (check, case, breaks) in LEAKS.items()
]


@mutant(test_neurons.test_learned_beta_is_clamped_and_its_gradient_stops_outside)
def learned_beta_is_not_clamped(patch):
    patch.setattr(base, "clamp01", lambda engine, value: value)


@mutant(test_neurons.check_exact_spikes, "subtract", True)
def products_are_not_exact(patch):
    return rescanned(lambda engine, s, p, state, x: (s, p, state, x * (1 + 2.0**-20)))


# -- time --


def rescanned(change):
    """Scan with changed arguments."""

    def scan(right, self, stepper, params, state, inputs, **options):
        return right(self, *change(self, stepper, params, state, inputs), **options)

    return with_method("scan", scan)


@mutant(test_scan.check_split, DELAYED, 5)
def state_is_not_carried_over(patch):
    return rescanned(lambda engine, s, p, state, x: (s, p, map_leaves(engine.xp.zeros_like, state), x))


@mutant(test_neurons.check_forward, DELAYED)
def time_loop_starts_one_step_late(patch):
    return rescanned(lambda engine, s, p, state, x: (s, p, state, engine.xp.concat([x[1:, ...], x[:1, ...]], axis=0)))


@mutant(test_scan.check_batch_independence, DELAYED)
def neighbours_in_the_batch_leak(patch):
    return rescanned(lambda engine, s, p, state, x: (s, p, state, x + engine.xp.mean(x, axis=1, keepdims=True)))


@mutant(test_scan.check_window, DELAYED, 3, ("outputs", "recorded"))
def window_is_ignored(patch):
    return with_method("scan", lambda right, self, *a, window=None, **k: right(self, *a, **k))


@mutant(test_scan.check_window, DELAYED, 3, ("outputs", "recorded"))
def window_cuts_one_step_late(patch):
    return with_method(
        "scan", lambda right, self, *a, window=None, **k: right(self, *a, window=window and window + 1, **k)
    )


@mutant(test_scan.check_constant_input, DELAYED)
def constant_input_runs_one_step_short(patch):
    return with_method("scan", lambda right, self, *a, steps=None, **k: right(self, *a, steps=steps and steps - 1, **k))


@mutant(test_neurons.check_forward, DELAYED)
def recorded_states_are_those_before_the_step(patch):
    def scan(right, self, stepper, params, state, inputs, **options):
        outputs, recorded, final = right(self, stepper, params, state, inputs, **options)
        shift = lambda rows: self.xp.concat([rows[:1, ...], rows[:-1, ...]], axis=0)  # noqa: E731
        return outputs, map_leaves(shift, recorded), final

    return with_method("scan", scan)


@mutant(test_neurons.check_gradient, DELAYED)
def backward_carry_is_dropped(patch):
    step = bptt.Scan._step_back
    patch.setattr(bptt.Scan, "_step_back", lambda self, *a: [None for _ in step(self, *a)])


@mutant(test_neurons.check_gradient, DELAYED)
def backward_misses_the_first_step(patch):
    add = bptt._GradientSums.add
    patch.setattr(bptt._GradientSums, "add", lambda self, t, *a: add(self, t, *a) if t else None)


@mutant(test_scan.check_final_state_gradient, DELAYED)
def final_state_gets_no_gradient(patch):
    def scan(right, self, *a, **k):
        outputs, recorded, final = right(self, *a, **k)
        return outputs, recorded, map_leaves(self.stop_gradient, final)

    return with_method("scan", scan)
