"""Online rules: what each of them leaves out, and nothing else; recurrent layers; ways of the learning signal."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, functional
from spikecore.api.core.layer import Key
from spikecore.api.learning import forward_mode, online, signals
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, normal
from spikecore.conformance.test_backprop import (
    COUPLED,
    ELEMENTWISE,
    LABELS,
    RECURRENT,
    SOME,
    assert_equal_to_bptt,
    batch,
    model,
)

from . import eprop_equations
from .own_engines import make

MEMBRANE = functional.ce_membrane_loss()
names = {"ids": repr}
two_engines = pytest.mark.parametrize("name_of_engine", ["numpy", "torch"])


def numpy64():
    return make("numpy")


# ---- e-prop: where it is exact -------------------------------------------------------------------------------------

SILENT = {  # recurrent layers whose feedback is not there yet
    "RLeaky": sc.RLeaky(beta=sc.learn(0.7), linear_features=4, threshold=0.4, recurrent_init=sc.init.constant(0.0)),
    "RSynaptic": sc.RSynaptic(
        alpha=sc.learn(0.6), beta=0.8, linear_features=4, threshold=0.3, recurrent_init=sc.init.constant(0.0)),
    "ALIF": sc.Recurrent(
        sc.ALIF(beta=sc.learn(0.8), adaptation=sc.learn(0.5), threshold=0.4),
        sc.Linear(4, 4, weight_init=sc.init.constant(0.0))),
    "refractory": sc.Recurrent(
        sc.Refractory(sc.Leaky(threshold=0.4)), sc.Linear(4, 4, bias=False, weight_init=sc.init.constant(0.0))),
}  # fmt: skip


def check_silent(engine, layer, learning="eprop"):
    """The last layer of neurons; dL/dV is not zero although V is."""
    ours, x = model(engine, sc.Sequential(sc.Linear(5, 4), layer)), batch()
    found, expected = (backprop.learned(ours, x, LABELS, learning=way) for way in (learning, "bptt"))
    assert_equal_to_bptt(found, expected)
    assert abs(expected.grads["1.connection.weight"]).max() > 0


@two_engines
@pytest.mark.parametrize("name", SILENT)
def test_recurrent_weights_that_are_zero_learn_as_by_bptt(name_of_engine, name):
    check_silent(make(name_of_engine), SILENT[name])


@two_engines
def test_so_do_recurrent_convolutions(name_of_engine):
    engine = make(name_of_engine)
    maps = sc.RLeaky(beta=sc.learn(0.7), conv2d_channels=2, kernel_size=3, threshold=0.3,
                     recurrent_init=sc.init.constant(0.0))  # fmt: skip
    ours, x = model(engine, sc.Sequential(maps, sc.Flatten()), (2, 3, 3)), batch((2, 3, 3), time=4)
    for learning in ("eprop", "ottt"):
        assert_equal_to_bptt(backprop.learned(ours, x, LABELS, learning=learning), backprop.bptt(ours, x, LABELS))


def check_filtered(engine, case):
    """With the readout's filter, the last hidden layer has the exact gradient, whatever its neuron."""
    network = sc.Sequential(sc.Linear(5, 5), case.layer, sc.Linear(5, 3), sc.LI(beta=0.8))
    ours, x = model(engine, network), batch()
    found = backprop.learned(ours, x, LABELS, MEMBRANE, learning=sc.EProp(kappa="readout"))
    assert_equal_to_bptt(found, backprop.bptt(ours, x, LABELS, MEMBRANE))


@two_engines
@pytest.mark.parametrize("case", [case for case in ELEMENTWISE if case.name in SOME], **names)
def test_a_hidden_layer_before_a_leaky_readout_learns_as_by_bptt(name_of_engine, case):
    check_filtered(make(name_of_engine), case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ELEMENTWISE if case.shape == (5,)], **names)
def test_so_does_every_elementwise_hidden_neuron(case):
    check_filtered(numpy64(), case)


# ---- e-prop: the published equations -------------------------------------------------------------------------------

LIF = sc.Leaky(beta=0.9, threshold=0.4)
ALIF = sc.ALIF(beta=0.9, rho=0.95, adaptation=0.7, threshold=0.4)


def check_equations(engine, neuron, feedback="symmetric", kappa="readout"):
    rule = sc.EProp(feedback=feedback, kappa=kappa, seed=3)
    network = sc.Sequential(
        sc.Linear(5, 6), sc.Recurrent(neuron, sc.Linear(6, 6)), sc.Linear(6, 3), sc.LI(beta=0.8))  # fmt: skip
    ours, x = model(engine, network), batch(time=12)
    p, aims = ours.params(), normal(12, 2, 3, seed=1)
    loss = functional.mse_membrane_loss(time_var_targets=True)
    found = backprop.learned(ours, x, aims, loss, learning=rule)
    drawn = None
    if feedback != "symmetric":
        inner = sc.Linear(6, 3) if feedback == "random" else sc.Linear(6, 3, bias=False)
        drawn = inner.init(Key((3, "feedback", "2" if feedback == "random" else "1")), (6,)).params.weight
    w_in, b_in, w_rec, spikes = eprop_equations.eprop(
        x,
        {name: (p[f"{at}.weight"], p[f"{at}.bias"])
         for name, at in (("in", "0"), ("rec", "1.connection"), ("out", "2"))},
        lambda t, y: 2.0 * (y - aims[t]) / aims.size,
        feedback=drawn, alpha=0.9, theta=0.4, psi=lambda u: 1.0 / (1.0 + (np.pi * u) ** 2), kappa=0.8,
        filtered=bool(kappa), rho=getattr(neuron, "rho", 0.0), adaptation=getattr(neuron, "adaptation", 0.0),
    )  # fmt: skip
    assert 0.1 < spikes.mean() < 0.9
    for name, expected in (("0.weight", w_in), ("0.bias", b_in), ("1.connection.weight", w_rec),
                           ("1.connection.bias", b_in)):  # fmt: skip
        assert_close(found.grads[name], expected, 1e-10, name)


@two_engines
@pytest.mark.parametrize("feedback", ["symmetric", "random", "direct"])
@pytest.mark.parametrize("neuron", [LIF, ALIF], ids=["LIF", "ALIF"])
def test_eprop_of_a_recurrent_layer_has_the_published_equations(name_of_engine, neuron, feedback):
    check_equations(make(name_of_engine), neuron, feedback)


def test_so_it_has_without_a_filter():
    check_equations(numpy64(), ALIF, kappa=0.0)


# ---- SLTT ----------------------------------------------------------------------------------------------------------


def check_spatial(engine, network, shape=(5,)):
    ours, x = model(engine, network, shape), batch(shape, time=5)
    found = backprop.learned(ours, x, LABELS, learning="sltt")
    assert_equal_to_bptt(found, backprop.learned(ours, x, LABELS, learning=sc.BPTT(window=1)))


@two_engines
@pytest.mark.parametrize("name", ["dense", "recurrent", "wrapped", "branches"])
def test_sltt_is_bptt_with_a_window_of_one_step(name_of_engine, name):
    check_spatial(make(name_of_engine), RECURRENT[name])


# those that BPTT cuts at every step; a state at rest that is learned is a constant for SLTT, which refuses noise
LEFT_OUT = ("IF-initial", "Izhikevich", "QIF", "Noisy", "Noisy-inside")
ONE_WINDOW = [
    case
    for case in (*cases.LEAKY[:6], *cases.FAMILY)
    if case.layer.by_steps and not case.layer.parallel and case.name not in LEFT_OUT
]


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_WINDOW, **names)
def test_so_it_is_for_every_neuron(case):
    first = sc.Identity() if case.shape != (5,) else sc.Linear(5, 5)
    check_spatial(numpy64(), sc.Sequential(first, sc.GradedSpikes(case.shape[0]), case.layer, sc.Flatten()), case.shape)


# ---- ways of the learning signal -----------------------------------------------------------------------------------

DEEP = sc.Sequential(
    sc.Linear(5, 4), sc.Leaky(beta=sc.learn(0.8), threshold=0.4),
    sc.Linear(4, 6), sc.RLeaky(beta=0.7, linear_features=6, threshold=0.4),
    sc.Linear(6, 3), sc.LI(beta=0.8),
)  # fmt: skip
WAYS = {
    "random": sc.EProp(feedback="random"),
    "adaptive": sc.EProp(feedback="adaptive"),
    "direct": sc.EProp(feedback="direct"),
    "ottt, random": sc.OTTT(feedback="random"),
    "local": sc.DECOLLE(),
    "local, exact": sc.DECOLLE(trace="exact"),
}


def linear(out, targets):
    """A loss whose derivative is the same whatever the network does."""
    return sc.base.engine_of(out.membrane).xp.sum(out.membrane * targets)


@pytest.mark.parametrize("name", WAYS)
def test_the_way_of_the_signal_changes_hidden_layers_alone(name):
    ours, x = model(numpy64(), DEEP), batch()
    plain, found = (backprop.learned(ours, x, LABELS, MEMBRANE, learning=way) for way in ("eprop", WAYS[name]))
    assert found.loss == plain.loss
    np.testing.assert_array_equal(found.out.spikes, plain.out.spikes)
    for parameter, g in plain.grads.items():
        same = parameter.startswith("4")
        assert (abs(found.grads[parameter] - g).max() < 1e-12) == same, parameter


@pytest.mark.parametrize(("name", "blind"), [("random", True), ("direct", True), ("adaptive", False), (None, False)])
def test_random_feedback_does_not_see_the_weights_behind(name, blind):
    """With a linear loss, hidden layers learn the same whatever the readout's weights are."""
    ours, x, rule = model(numpy64(), DEEP), batch(), WAYS[name] if name else "eprop"
    loss, aims = backprop.per_step(linear, "sum"), normal(2, 3)
    first = backprop.learned(ours, x, aims, loss, learning=rule)
    state = ours.state()
    state["params"]["4.weight"] = -2.0 * state["params"]["4.weight"]
    ours.load_state(state)
    second = backprop.learned(ours, x, aims, loss, learning=rule)
    for parameter in ("0.weight", "2.weight", "3.connection.weight"):
        assert (abs(second.grads[parameter] - first.grads[parameter]).max() < 1e-12) == blind
    assert abs(first.grads["2.weight"]).max() > 0


def test_adaptive_feedback_follows_the_weights():
    """B - W decays by 1 - decay at each update; with decay 1 the first update makes it symmetric."""
    ours, x = model(numpy64(), DEEP), batch()
    loss = backprop.per_step(linear, "sum")
    rules = [sc.EProp(feedback="adaptive", decay=decay) for decay in (1.0, 0.25)]
    apart = []
    for updates in range(3):
        plain, follows, slowly = (
            backprop.learned(ours, x, normal(2, 3), loss, learning=rule).grads["2.weight"] for rule in ("eprop", *rules)
        )
        assert (abs(follows - plain).max() < 1e-12) == (updates > 0)
        apart.append(slowly - plain)
        ours.fit([(x, LABELS)], loss=MEMBRANE, optimizer=sc.SGD(lr=0.0), learning=rules[1], progress=False)
    for updates in (1, 2):
        assert_close(apart[updates], 0.75**updates * apart[0], 1e-10)


def check_local(engine, rule, plain):
    """A hidden layer learns as if its readout were the end of the network."""
    ours, x = model(engine, DEEP), batch()
    found = backprop.learned(ours, x, LABELS, functional.ce_rate_loss(), learning=rule)
    for path, upto in (("1", 2), ("3", 4)):
        width = 4 if path == "1" else 6
        part = sc.Sequential(*DEEP.layers[:upto], sc.Linear(width, 3, bias=False))
        drawn = part.layers[-1].init(Key((0, "feedback", path)), (width,)).params.weight
        short = model(engine, part)
        state = short.state()
        state["params"] = {**state["params"], **{n: a for n, a in ours.params().items() if n in state["params"]}}
        state["params"][f"{upto}.weight"] = drawn
        short.load_state(state)
        expected = backprop.learned(short, x, LABELS, functional.ce_rate_loss(), learning=plain)
        for name in (f"{upto - 2}.weight", f"{upto - 2}.bias"):
            assert_close(found.grads[name], expected.grads[name], 1e-10, name)


@pytest.mark.parametrize(("rule", "plain"), [(sc.DECOLLE(), "ottt"), (sc.DECOLLE(trace="exact"), "eprop")])
def test_local_losses_are_those_of_networks_that_end_there(rule, plain):
    check_local(numpy64(), rule, plain)


# ---- every rule, every neuron --------------------------------------------------------------------------------------

RULES = {
    "eprop": "eprop",
    "ostl": sc.OSTL(kappa=0.6),
    "filtered": sc.EProp(kappa=0.6),
    "ottt": "ottt",
    **WAYS,
}
LAYERS = [case for case in ELEMENTWISE if case.shape == (5,)] + [
    cases.Case("RLeaky", sc.RLeaky(beta=sc.learn(0.7), linear_features=5, threshold=0.4)),
    cases.Case("RSynaptic", sc.RSynaptic(alpha=sc.learn(0.5), beta=0.7, linear_features=5, threshold=0.4)),
    cases.Case("ALIF-dense", sc.Recurrent(sc.ALIF(threshold=0.4), sc.Linear(5, 5))),
]


def learned_or_refused(engine, rule, case):
    """The gradients; or the message, if the neurons of the layer cannot share traces."""
    network = sc.Sequential(sc.Linear(5, 5), case.layer, sc.Linear(5, 3), sc.LI(beta=0.8))
    ours, x = model(engine, network), batch(time=5)
    if any(word in str(rule) for word in ("eprop", "ostl", "exact")):
        return backprop.learned(ours, x, LABELS, MEMBRANE, learning=rule).grads
    try:
        return backprop.learned(ours, x, LABELS, MEMBRANE, learning=rule).grads
    except ValueError as error:
        return str(error)


def check_agreement(engine, rule, case):
    """A rule gives the same on every engine, or is refused by each with a remedy."""
    found, expected = (learned_or_refused(one, rule, case) for one in (engine, numpy64()))
    if isinstance(expected, str):
        assert "do not share one linear leak" in found
        return
    assert any(abs(g).max() > 0 for g in expected.values())
    for name, g in expected.items():
        assert_close(found[name], g, 1e-10, name)


@pytest.mark.parametrize("rule", ["filtered", "ottt", "direct", "local"])
def test_rules_agree_on_every_engine(engine, rule):
    check_agreement(engine, RULES[rule], LAYERS[-1])


@pytest.mark.slow
@pytest.mark.parametrize("case", LAYERS, **names)
@pytest.mark.parametrize("rule", RULES)
def test_so_they_do_for_every_neuron(rule, case):
    check_agreement(make("torch"), RULES[rule], case)


GATED = [case for case in cases.FAMILY if case.name in COUPLED and case.shape == (5,)]


@pytest.mark.parametrize("case", GATED, **names)
@pytest.mark.parametrize("rule", ["ottt", "decolle"])
def test_what_has_no_eligibility_per_neuron_is_refused(rule, case):
    network = sc.Sequential(case.layer, sc.Flatten(), sc.LI())
    with pytest.raises(ValueError, match=r"layer 0 \(\w+\) is not elementwise.*use learning='rtrl'"):
        backprop.learned(model(numpy64(), network), batch(), LABELS, learning=rule)


# ---- it bites ------------------------------------------------------------------------------------------------------


def feeds_back_too_early(right):
    """Recurrent weights meet the spikes of this step, not of the one before."""

    def forward(engine, found, way, drawn, ready, net, x, taps):
        y, after, seen, outputs = right(engine, found, way, drawn, ready, net, x, taps)
        for block in found.blocks:
            if block.back:
                seen[block.back[0]] = outputs[block.path]
        return y, after, seen, outputs

    return forward


def forgets(right):
    """A filter that keeps nothing."""
    return lambda self, *arguments: 0.0 * right(self, *arguments)


def sees_the_weights(right):
    """Feedback through the true weights."""
    return lambda self, engine, named, params, drawn, x: right(self, engine, named, params, {}, x)


def lets_signals_pass(right):
    """Hidden layers hear of the layers behind."""
    return False


def other_readout(right):
    """A readout with twice the weights."""
    return lambda engine, weight, spikes, y: 2.0 * right(engine, weight, spikes, y)


CONSTANT = SILENT["RLeaky"]
BROKEN = {
    "recurrent weights meet spikes too early": (online, "forward", feeds_back_too_early, check_silent, CONSTANT),
    "so with factorised traces": (online, "forward", feeds_back_too_early, check_silent, CONSTANT, "ottt"),
    "the filter forgets": (online.Online, "_decay", forgets, check_filtered, cases.Case("LIF", LIF)),
    "feedback sees the weights": (signals.Aligned, "through", sees_the_weights, check_equations, ALIF, "random"),
    "direct feedback reads twice": (signals, "_read", other_readout, check_equations, ALIF, "direct"),
    "local losses are not local": (signals.Local, "cuts", lets_signals_pass, check_local, sc.DECOLLE(), "ottt"),
    "local readouts read twice": (signals, "_read", other_readout, check_local, sc.DECOLLE(), "ottt"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_mutant_is_caught(monkeypatch, name):
    home, attribute, breaks, check, *arguments = BROKEN[name]
    check(numpy64(), *arguments)
    monkeypatch.setattr(home, attribute, breaks(getattr(home, attribute)))
    with pytest.raises(AssertionError):
        check(numpy64(), *arguments)


def test_an_sltt_that_remembers_is_caught(monkeypatch):
    for name in ("rest", "step"):
        monkeypatch.setattr(forward_mode.SpatialGradient, name, getattr(forward_mode.ForwardMode, name))
    with pytest.raises(AssertionError):
        check_spatial(numpy64(), RECURRENT["recurrent"])
