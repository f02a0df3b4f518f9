"""OSTL and NDOT: where they are exact, the published equations, and what becomes of them without what they add."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, functional
from spikecore.api.core.layer import State, shapes_of
from spikecore.api.core.tree import leaves, unflatten
from spikecore.api.learning import influence, neuronal_dynamics
from spikecore.api.learning.derivatives import Quiet
from spikecore.api.learning.learning import learning_of
from spikecore.api.learning.steps import stepwise, targets_of
from spikecore.conformance.rig import assert_close, normal
from spikecore.conformance.test_backprop import LABELS, RATE, assert_equal_to_bptt, batch, model

from .own_engines import make

MEMBRANE = functional.ce_membrane_loss()
two_engines = pytest.mark.parametrize("name_of_engine", ["numpy", "torch"])


def numpy64():
    return make("numpy")


# ---- OSTL: exact within a layer ------------------------------------------------------------------------------------

ONE = np.array([0.5, 0.7, 0.9, 0.8])
WITHIN = {  # network, rule, loss, shape of a sample
    "last layer": (sc.Sequential(
        sc.Linear(5, 4), sc.RLeaky(beta=sc.learn(ONE), threshold=sc.learn(0.4), linear_features=4)),
        "ostl", RATE, (5,)),
    "before a connection": (sc.Sequential(
        sc.Linear(5, 4, bias=False),
        sc.RSynaptic(alpha=sc.learn(0.5), beta=0.8, threshold=0.4, linear_features=4, reset_delay=False),
        sc.Linear(4, 3)), "ostl", RATE, (5,)),
    "before a leaky readout": (sc.Sequential(
        sc.Linear(5, 4), sc.Recurrent(sc.ALIF(adaptation=sc.learn(0.6), threshold=0.4), sc.Linear(4, 4, bias=False)),
        sc.Linear(4, 3), sc.LI(beta=0.8)), sc.OSTL(kappa="readout"), MEMBRANE, (5,)),
    "alone, with a learned state at rest": (sc.Recurrent(
        sc.IF(initial_mem=sc.learn(0.3), threshold=0.4), sc.Linear(5, 5)), "ostl", RATE, (5,)),
    "convolutions": (sc.Sequential(
        sc.Conv2d(2, 4, 3, padding=1, groups=2),
        sc.Recurrent(sc.Leaky(beta=sc.learn(0.8, per="channel"), threshold=0.3), sc.Conv2d(4, 4, 3, padding=1)),
        sc.Flatten(), sc.Linear(36, 3)), "ostl", RATE, (2, 3, 3)),
    "dense behind a convolution": (sc.Sequential(
        sc.Conv2d(2, 2, 2), sc.Flatten(), sc.RLeaky(beta=0.8, threshold=0.3, linear_features=8)), "ostl", RATE,
        (2, 3, 3)),
}  # fmt: skip


def check_within(engine, network, rule, loss, shape):
    ours, x = model(engine, network, shape), batch(shape, time=5)
    expected = backprop.bptt(ours, x, LABELS, loss)
    assert_equal_to_bptt(backprop.learned(ours, x, LABELS, loss, learning=rule), expected)
    assert all(abs(g).max() > 0 for g in expected.grads.values())


@two_engines
@pytest.mark.parametrize("name", WITHIN)
def test_a_recurrent_layer_learns_as_by_bptt(name_of_engine, name):
    check_within(make(name_of_engine), *WITHIN[name])


class Forgetful(sc.Leaky):
    """Takes its last state for a constant: by BPTT, no gradient goes back through its memory."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, State(mem=engine.stop_gradient(state.mem)), x)


def check_cut(engine, learning="ostl"):
    """Below a layer that remembers: what BPTT gives if that layer's earlier states are constants."""

    def network(last):
        return sc.Sequential(sc.Linear(5, 4), sc.RLeaky(beta=sc.learn(0.9), threshold=0.4, linear_features=4),
                             sc.Linear(4, 3), last(beta=0.8, threshold=0.4))  # fmt: skip

    x = batch(time=6)
    found = backprop.learned(model(engine, network(sc.Leaky)), x, LABELS, learning=learning)
    expected = backprop.bptt(model(engine, network(Forgetful)), x, LABELS)
    assert_equal_to_bptt(found, expected, ("0", "1"))


@two_engines
def test_below_a_memory_earlier_states_of_it_are_constants(name_of_engine):
    check_cut(make(name_of_engine))


def test_eprop_is_no_ostl():
    with pytest.raises(AssertionError):
        check_cut(numpy64(), "eprop")


def test_without_dense_recurrence_it_is_eprop_bit_for_bit():
    network = sc.Sequential(
        sc.Linear(5, 4), sc.RLeaky(beta=0.8, threshold=0.4, all_to_all=False), sc.Linear(4, 3), sc.Synaptic()
    )
    ours, x = model(numpy64(), network), batch()
    found, expected = (backprop.learned(ours, x, LABELS, learning=rule) for rule in ("ostl", "eprop"))
    for name, g in expected.grads.items():
        np.testing.assert_array_equal(found.grads[name], g)


# ---- NDOT ----------------------------------------------------------------------------------------------------------

PAPER = {"beta": 0.8, "threshold": 0.4}
SIZES = (5, 6, 4, 3)


def leaky_stack(**options):
    drawn = {"weight_init": sc.init.normal(0.1, 0.6)}
    layers = [(sc.Linear(a, b, **drawn), sc.Leaky(**PAPER, **options)) for a, b in zip(SIZES, SIZES[1:])]
    return sc.Sequential(*(layer for pair in layers for layer in pair))


def squares(out, targets):
    xp = sc.base.engine_of(out.spikes).xp
    return xp.sum((out.spikes - targets) * (out.spikes - targets))


def check_equations(engine, **options):
    from .ndot_equations import ndot

    ours, x, aims = model(engine, leaky_stack(**options)), batch(time=12), normal(12, 2, 3, seed=1)
    found = backprop.learned(ours, x, aims, backprop.per_step(squares, "sum"), learning="ndot")
    p = ours.params()
    expected, rates, inside = ndot(
        x, [(p[f"{at}.weight"], p[f"{at}.bias"]) for at in (0, 2, 4)], lambda t, s: 2.0 * (s - aims[t]),
        leak=0.8, theta=0.4, psi=lambda u: 1.0 / (1.0 + (np.pi * u) ** 2),
    )  # fmt: skip
    assert all(0.1 < rate < 0.9 for rate in rates), rates
    assert min(inside[:-1]) > 10  # the last layer sends to none
    for at, g in zip((0, 2, 4), expected):
        assert_close(found.grads[f"{at}.weight"], g, 1e-10, str(at))


@two_engines
@pytest.mark.parametrize(
    "options",
    [{"reset_mechanism": "subtract_decayed"}, {"reset_delay": False}],  # the same membranes, before and after the reset
    ids=["delayed", "immediate"],
)
def test_ndot_has_the_published_equations(name_of_engine, options):
    check_equations(make(name_of_engine), **options)


@pytest.mark.parametrize("leak", [0.0, 0.8, 1.0])
def test_what_is_kept_is_a_ratio_within_the_leak(leak):
    left, before = (np.concatenate([normal(50, seed=seed), zeros]) for seed, zeros in ((1, [1, 0, 0]), (2, [0, 0, 1])))
    kept = neuronal_dynamics.kept(numpy64().xp, left, before, leak)
    assert (abs(kept) <= leak).all()
    np.testing.assert_allclose(kept[:50], np.clip(left[:50] / before[:50], -leak, leak), rtol=1e-15)
    np.testing.assert_array_equal(kept[50:], [leak, leak, 0.0])


CHAINS = {  # all layers have the same leak
    "recurrent": ((5,), sc.Sequential(
        sc.Linear(5, 6), sc.RLeaky(**PAPER, linear_features=6), sc.Linear(6, 4), sc.Leaky(**PAPER),
        sc.Linear(4, 3), sc.LI(beta=0.8))),
    "maps": ((2, 6, 6), sc.Sequential(
        sc.Conv2d(2, 3, 3), sc.AvgPool2d(2), sc.GradedSpikes(3), sc.Leaky(beta=0.8, threshold=0.1), sc.AvgPool2d(2),
        sc.Flatten(), sc.Linear(3, 3), sc.Leaky(beta=0.8, threshold=0.1))),
}  # fmt: skip


def check_is_ottt(engine, name):
    shape, network = CHAINS[name]
    ours, x = model(engine, network, shape), batch(shape)
    found, expected = (backprop.learned(ours, x, LABELS, learning=rule) for rule in ("ndot", "ottt"))
    for parameter, g in expected.grads.items():
        assert_close(found.grads[parameter], g, 1e-10, parameter)


@pytest.mark.parametrize("name", CHAINS)
def test_with_the_leak_for_the_dynamics_it_is_ottt(monkeypatch, name):
    with pytest.raises(AssertionError):
        check_is_ottt(numpy64(), name)
    monkeypatch.setattr(neuronal_dynamics, "kept", lambda xp, left, before, leak: leak)
    check_is_ottt(numpy64(), name)


# ---- both, on every engine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning", ["ostl", "ndot"])
def test_every_engine_gives_the_same(engine, learning):
    network, x = CHAINS["recurrent"][1], batch()
    found, expected = (
        backprop.learned(model(one, network), x, LABELS, MEMBRANE, learning=learning).grads
        for one in (engine, numpy64())
    )
    for name, g in expected.items():
        assert_close(found[name], g, 1e-10, name)


@pytest.mark.parametrize("learning", ["ostl", "ndot"])
def test_a_step_keeps_the_structure_of_the_state(learning):
    """Names and their order: an engine that compiles the loop over steps refuses another one."""
    engine, x = numpy64(), batch()
    ours = model(engine, CHAINS["recurrent"][1])
    ours.build((5,))
    targets = targets_of(engine, MEMBRANE, LABELS, None, None)
    rule = learning_of(learning).stepper(ours.network, stepwise(MEMBRANE), targets, 7)
    params = unflatten(ours.params(), shapes_of(ours.network, (5,)).params)
    ready = rule.prepare(engine, params, x[0])
    before = rule.rest(engine, ready, x[0])
    _, after = rule.step(engine, ready, before, x[0])
    assert [(name, a.shape) for name, a in leaves(after)] == [(name, a.shape) for name, a in leaves(before)]


# ---- it bites ------------------------------------------------------------------------------------------------------


def nothing(right):
    return lambda self, *arguments: 0.0 * right(self, *arguments)


def with_a_bias(right):
    return lambda self, *arguments: right(self, *arguments) + 0.1


def every_entry(right):
    """Each neuron has all entries of a parameter."""
    return lambda self, *arguments: 0.0 * right(self, *arguments) + 1.0


def at_zero(right):
    """The state at rest depends on nothing."""

    def rest(engine, neuron, fields, x):
        rows = right(engine, neuron, fields, x)
        return {state: type(row)({name: 0.0 * g for name, g in row.items()}) for state, row in rows.items()}

    return rest


def one_step_late(right):
    """The ratio of the step before."""
    held = []

    def kept(xp, left, before, leak):
        held.append(right(xp, left, before, leak))
        return held[-4] if len(held) > 3 else held[-1]

    return kept


def unbounded(right):
    return lambda xp, left, before, leak: right(xp, left, before, 1e3)


DELAYED, IMMEDIATE = {"reset_mechanism": "subtract_decayed"}, {"reset_delay": False}
BROKEN = {
    "no recurrence": (influence.Influence, "_fed_back", nothing, check_within, WITHIN["last layer"]),
    "the bias is fed back": (influence.Influence, "_fed_back", with_a_bias, check_within, WITHIN["last layer"]),
    "below a memory, too": (influence.Influence, "_fed_back", nothing, check_cut, ()),
    "no recurrence of maps": (influence.Influence, "_fed_back", nothing, check_within, WITHIN["convolutions"]),
    "the filter is fed back": (
        influence, "FILTERED", lambda right: "no filter", check_within, WITHIN["before a leaky readout"]),
    "all decays for one": (influence.Influence, "_uses", every_entry, check_within, WITHIN["last layer"]),
    "rest is constant": (influence, "at_rest", at_zero, check_within, WITHIN["alone, with a learned state at rest"]),
    "the leak alone": (neuronal_dynamics, "kept", lambda right: lambda xp, left, before, leak: leak,
                       check_equations, DELAYED),
    "the ratio comes late": (neuronal_dynamics, "kept", one_step_late, check_equations, DELAYED),
    "the ratio is not bounded": (neuronal_dynamics, "kept", unbounded, check_equations, DELAYED),
    "what is left fires": (neuronal_dynamics.Silent, "spike", lambda right: Quiet.spike, check_equations, IMMEDIATE),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_mutant_is_caught(monkeypatch, name):
    home, attribute, breaks, check, arguments = BROKEN[name]
    plain, named = ((), arguments) if isinstance(arguments, dict) else (arguments, {})
    check(numpy64(), *plain, **named)
    monkeypatch.setattr(home, attribute, breaks(getattr(home, attribute)))
    with pytest.raises(AssertionError):
        check(numpy64(), *plain, **named)
