"""`verify(..., learning=rule)`: how close a rule's gradient is to the exact one, and what it claims to be exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, functional, surrogate
from spikecore.api.learning import eligibility, omissions, signals
from spikecore.api.verification import learning as learning_check
from spikecore.api.verification.agreement import agreement, agreements
from spikecore.api.verification.learning_report import APPROXIMATE, EXACT, ZERO
from spikecore.api.verification.report import FAIL
from spikecore.conformance import cases
from spikecore.engines.numpy.engine import NumpyEngine

RNG = np.random.default_rng(0)
X, Y = (RNG.random((9, 4, 6)) < 0.4) * 1.0, np.array([0, 2, 1, 2])


def net(**options):
    options = {"threshold": 0.4, **options}
    return sc.Sequential(
        sc.Linear(6, 5),
        sc.Leaky(beta=sc.learn(0.9), **options),
        sc.Linear(5, 3),
        sc.Leaky(beta=sc.learn(0.8), **options),
    )


def measured(network, learning, x=X, **options):
    return sc.verify(sc.Model(network, "numpy", seed=1), x, Y, learning=learning, against="numpy", **options)


def verdicts(report):
    return {row.agreement.name: row.verdict for row in report.rows}


# ---- the arithmetic ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_cosine_ratio_and_difference_are_those_of_the_vectors(size):
    exact, found = size * np.array([[3.0, 0.0], [0.0, 4.0]]), size * np.array([[3.0, 4.0], [0.0, 0.0]])
    row = agreement("w", found, exact)
    assert (row.name, row.shape) == ("w", (2, 2))
    np.testing.assert_allclose((row.cosine, row.ratio, row.difference), (9 / 25, 1.0, np.sqrt(32) / 5), rtol=1e-14)


def test_all_parameters_together_are_one_long_vector():
    draw = np.random.default_rng(3).normal
    exact = {"a": draw(size=(2, 3)), "b": 1e-3 * draw(size=4), "c": np.zeros(2), "none": np.zeros(0)}
    found = {"a": 2.0 * exact["a"], "b": -exact["b"], "c": np.zeros(2), "none": np.zeros(0)}
    rows = {row.name: row for row in agreements(found, exact)}
    assert list(rows) == ["a", "b", "c", "none", "all"]
    a, b = (np.concatenate([g.ravel() for g in grads.values()]) for grads in (found, exact))
    want = a @ b / np.sqrt(a @ a * (b @ b)), np.sqrt(a @ a / (b @ b)), np.sqrt((a - b) @ (a - b) / (b @ b))
    np.testing.assert_allclose(rows["all"][2:], want, rtol=1e-14)
    np.testing.assert_allclose(rows["a"][2:], (1.0, 2.0, 1.0), rtol=1e-14)
    np.testing.assert_allclose(rows["b"][2:], (-1.0, 1.0, 2.0), rtol=1e-14)
    assert rows["c"].difference == 0.0
    assert np.isnan(rows["c"].cosine)


def test_a_gradient_where_none_should_be_and_nan_are_seen():
    assert agreement("w", np.ones(2), np.zeros(2)).difference == np.inf
    assert np.isnan(agreement("w", np.array([np.nan, 1.0]), np.ones(2)).difference)
    assert agreement("w", np.zeros(2), np.ones(2))[3:] == (0.0, 1.0)


# ---- what rules claim ----------------------------------------------------------------------------------------------

EVERY = {"0.weight", "0.bias", "1.beta", "2.weight", "2.bias", "3.beta"}
LAST = {"2.weight", "2.bias", "3.beta"}
CLAIMS = {
    "bptt": ("bptt", {}, EVERY),
    "rtrl": ("rtrl", {}, EVERY),
    "eprop": ("eprop", {}, LAST),
    "eprop, immediate": ("eprop", {"reset_delay": False}, LAST),
    "ottt": ("ottt", {}, LAST),
    "ottt, no reset": ("ottt", {"reset_mechanism": "none"}, LAST),
    "ottt, zero": ("ottt", {"reset_mechanism": "zero"}, {"3.beta"}),
    "ottt, immediate": ("ottt", {"reset_delay": False}, {"3.beta"}),
    "ostl": ("ostl", {}, LAST),
    "ndot": ("ndot", {}, {"2.bias", "3.beta"}),
    "ndot, zero": ("ndot", {"reset_mechanism": "zero"}, {"3.beta"}),
    "a filter": (sc.EProp(kappa=0.5), {}, LAST),
    "the readout's filter": (sc.EProp(kappa="readout"), {}, EVERY),
    "the readout's filter, zero": (sc.EProp(kappa="readout"), {"reset_mechanism": "zero"}, LAST),
    "random feedback": (sc.EProp(feedback="random"), {}, LAST),
    "adaptive feedback": (sc.EProp(feedback="adaptive"), {}, LAST),
    "direct feedback": (sc.OTTT(feedback="direct"), {}, LAST),
    "local losses": ("decolle", {}, LAST),
    "one step": ("sltt", {}, set()),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_a_rule_claims_is_exact_and_nothing_else_is(name):
    learning, options, exact = CLAIMS[name]
    report = measured(net(**options), learning)
    assert report.ok, str(report)
    assert {name for name, verdict in verdicts(report).items() if verdict == EXACT} - {"all"} == exact
    for parameter in EVERY - exact:
        assert verdicts(report)[parameter] == APPROXIMATE
        assert report.difference[parameter] > 1e-4
        assert any(parameter in names for names, _ in report.omissions)
    assert verdicts(report)["all"] == (EXACT if exact == EVERY else APPROXIMATE)


TAILED = sc.Sequential(sc.Linear(6, 5), sc.Leaky(beta=0.8, threshold=0.4), sc.Linear(5, 4), sc.Linear(4, 3))
RECURRENT = sc.Sequential(
    sc.Linear(6, 3), sc.RLeaky(beta=0.8, linear_features=3, threshold=0.4), sc.Linear(3, 3), sc.LI()
)
RECURRENT_LAST = sc.Sequential(*RECURRENT.layers[:2])
NETWORKS = {
    "eprop": (TAILED, sc.EProp(), {"0.weight", "2.weight", "3.weight"}),
    "random feedback": (TAILED, sc.EProp(feedback="random"), {"3.weight"}),
    "direct feedback": (TAILED, sc.EProp(feedback="direct"), {"2.weight", "3.weight"}),
    "filter": (TAILED, sc.EProp(kappa=0.5), {"2.weight", "3.weight"}),
    "sltt": (TAILED, sc.SLTT(), {"2.weight", "3.weight"}),
    "recurrent": (RECURRENT, sc.EProp(), {"2.weight"}),
    "recurrent, filter": (RECURRENT, sc.EProp(kappa="readout"), {"2.weight"}),
    "recurrent, ostl": (RECURRENT, "ostl", {"2.weight"}),
    "recurrent, ostl with a filter": (
        RECURRENT,
        sc.OSTL(kappa="readout"),
        {"0.weight", "1.connection.weight", "2.weight"},
    ),
    "recurrent, last": (RECURRENT_LAST, "ostl", {"0.weight", "1.connection.weight"}),
    "recurrent, ndot": (RECURRENT_LAST, "ndot", set()),
    "recurrent, rtrl": (RECURRENT, "rtrl", {"0.weight", "1.connection.weight", "2.weight"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_so_with_readouts_and_recurrent_layers(name):
    network, learning, exact = NETWORKS[name]
    report = measured(network, learning)
    assert report.ok, str(report)
    weights = {name: verdict for name, verdict in verdicts(report).items() if name.endswith("weight")}
    assert {name for name, verdict in weights.items() if verdict == EXACT} == exact
    assert all(report.difference[name] > 1e-4 for name in set(weights) - exact)


def test_every_way_of_the_signals_says_what_it_replaces():
    assert set(omissions.REPLACED) == {signals.Symmetric, *signals.Symmetric.__subclasses__()}


def test_the_figures_are_those_of_the_gradients_that_fit_uses():
    model = sc.Model(net(), "numpy", seed=1, dtype="float64")
    ours, exact = backprop.online(model, X, Y).grads, backprop.bptt(model, X, Y).grads
    report = sc.verify(model, X, Y, learning="eprop", against="numpy")
    a, b = ours["0.weight"], exact["0.weight"]
    assert report.cosine["0.weight"] == pytest.approx((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), rel=1e-12)
    assert 0.3 < report.cosine["0.weight"] < 0.999
    assert report.ratio["0.weight"] == pytest.approx(np.linalg.norm(a) / np.linalg.norm(b), rel=1e-12)
    assert "earlier spikes of layer 1 on the states of layer 3" in str(report)
    assert "0.weight   5x6" in str(report)


def test_a_window_leaves_out_what_lies_before_it():
    cut, whole = (measured(net(), sc.BPTT(window=window)) for window in (4, 9))
    assert set(verdicts(whole).values()) == {EXACT}
    assert set(verdicts(cut).values()) == {APPROXIMATE}
    assert "at steps 4, 8" in str(cut)


@pytest.mark.parametrize("learning", ["eprop", "ottt", sc.EProp(kappa=0.5)], ids=["eprop", "ottt", "kappa"])
@pytest.mark.parametrize("network", [net(reset_delay=False), RECURRENT], ids=["stack", "recurrent"])
def test_nothing_is_left_out_of_a_single_step(network, learning):
    assert set(verdicts(measured(network, learning, X[:1])).values()) <= {EXACT, ZERO}


def test_a_window_leaves_nothing_out_of_a_network_without_states():
    loss = backprop.per_step(lambda out, targets: sc.base.engine_of(out.spikes).xp.sum(out.spikes * out.spikes))
    report = measured(sc.Linear(6, 3), sc.BPTT(window=4), loss=loss)
    assert set(verdicts(report).values()) == {EXACT}
    assert not report.omissions


@pytest.mark.parametrize("learning", ["sltt", "bptt"])
def test_cosine_and_ratio_of_a_leaky_readout_are_those_on_paper(learning):
    """U[t] = beta U[t-1] + w z[t], L = sum_t U[t]: dL/dw = sum_t sum_s<=t beta^(t-s) z[s]; without the past s = t."""
    steps, beta = 12, 0.8
    z = np.zeros((steps, 1, 2))
    z[0, 0, 0], z[:, 0, 1] = 1.0, 1.0  # one spike, and a spike at each step
    loss = backprop.per_step(lambda out, targets: sc.base.engine_of(out.membrane).xp.sum(out.membrane), "sum")
    network = sc.Sequential(sc.Linear(2, 1, bias=False), sc.LI(beta=beta))
    learning = sc.BPTT(window=1) if learning == "bptt" else learning
    report = sc.verify(sc.Model(network, "numpy"), z, [0], loss, against="numpy", learning=learning)
    past = beta ** np.arange(steps)
    exact, without = np.array([past.sum(), past.cumsum().sum()]), np.array([1.0, steps])
    norms = np.linalg.norm(exact), np.linalg.norm(without)
    assert report.cosine["0.weight"] == pytest.approx(exact @ without / (norms[0] * norms[1]), rel=1e-12)
    assert report.ratio["0.weight"] == pytest.approx(norms[1] / norms[0], rel=1e-12)
    assert report.difference["0.weight"] == pytest.approx(np.linalg.norm(exact - without) / norms[0], rel=1e-12)


def test_max_pooling_behind_weights_is_left_out_by_shared_traces_and_average_pooling_is_not():
    x = (np.random.default_rng(1).random((5, 4, 1, 6, 6)) < 0.4) * 1.0
    for pool, verdict in ((sc.MaxPool2d(2), APPROXIMATE), (sc.AvgPool2d(2), EXACT)):
        network = sc.Sequential(sc.Conv2d(1, 3, 3), pool, sc.Leaky(threshold=0.1), sc.Flatten(), sc.Linear(12, 3))
        report = measured(network, "ottt", x)
        assert report.ok, str(report)
        assert verdicts(report)["0.weight"] == verdict
        assert verdicts(report)["4.weight"] == EXACT


class Single(NumpyEngine):
    """An engine without float64, as an accelerator may be."""

    lacks = {"float64": "it computes in float32"}  # noqa: RUF012


def test_a_rule_is_measured_in_float64_on_the_reference_if_the_engine_has_none():
    report = sc.verify(sc.Model(net(), Single(), seed=1), X, Y, learning="eprop", against="numpy")
    assert report.ok
    assert "engine 'numpy' has no float64: the rule was computed on 'numpy'" in str(report)


def test_a_silent_layer_is_said_to_have_no_gradient():
    report = measured(
        sc.Sequential(sc.Linear(6, 5), sc.Leaky(threshold=1e3), sc.Linear(5, 3, bias=False), sc.Leaky()), "eprop"
    )
    assert verdicts(report)["2.weight"] == ZERO
    assert report.ok
    dead = net(threshold=1e9, surrogate=surrogate.triangular(threshold=0.1))
    assert set(verdicts(measured(dead, "eprop")).values()) == {ZERO}


def test_rounding_has_no_direction():
    """The bias before a batch norm has no effect: its gradient is rounding, by BPTT and by a window."""
    network = sc.Sequential(sc.Linear(6, 5), sc.BatchNorm1d(5), sc.Leaky(threshold=0.4), sc.Linear(5, 3), sc.LI())
    report = measured(network, sc.BPTT(window=3))
    assert verdicts(report)["0.bias"] == ZERO
    assert np.isnan([report.cosine["0.bias"], report.ratio["0.bias"]]).all()
    assert report.difference["0.bias"] == 0.0


@dataclass(frozen=True)
class Broken(surrogate.atan):
    """A derivative that is no number from the threshold on."""

    def derivative(self, xp, u):
        return xp.where(u > 0.0, float("nan") * u, super().derivative(xp, u))


@pytest.mark.parametrize("learning", ["eprop", sc.BPTT(window=3)], ids=str)
def test_a_gradient_that_is_no_number_fails_where_something_is_left_out_too(learning):
    report = measured(net(surrogate=Broken()), learning)
    assert not report.ok
    assert {verdicts(report)[name] for name in ("0.weight", "0.bias", "all")} == {FAIL}
    assert "the gradient of 0.weight, 0.bias, " in report.verdict
    assert report.verdict.endswith(" is not finite")
    assert np.isnan(report.difference["0.weight"])


def test_a_gradient_that_is_no_number_is_not_taken_for_zero():
    zero, broken = {"w": np.zeros(2), "v": np.ones(1)}, {"w": np.array([0.0, np.nan]), "v": np.ones(1)}
    assert learning_check._kinds(broken, zero) == {"w": FAIL, "all": FAIL} == learning_check._kinds(zero, broken)


BEFORE = (sc.Linear(6, 5), sc.Leaky(beta=0.8, threshold=0.4), sc.Linear(5, 5))
BEHIND = (sc.Linear(5, 3), sc.LI(beta=0.7))
FILTERED = (sc.EProp(kappa="readout"), sc.EProp(feedback="random"))


def test_a_neuron_that_reads_an_earlier_state_is_no_filter():
    """``DeltaLeaky`` fires by the change of its membrane: the filter of the readout's decay is not all that counts."""
    report = measured(sc.Sequential(*BEFORE, sc.DeltaLeaky()), sc.EProp(kappa="readout"))
    assert report.ok, str(report)
    assert verdicts(report)["0.weight"] == APPROXIMATE


@pytest.mark.slow
def test_what_rules_claim_of_every_neuron_is_exact():
    """Of every neuron that a rule takes, as the last layer and before it."""
    compared, wrong = 0, []
    for case in (*cases.LEAKY, *cases.FAMILY):
        for network in (sc.Sequential(*BEFORE, case.layer), sc.Sequential(sc.Linear(6, 5), case.layer, *BEHIND)):
            for learning in ("eprop", "ostl", "ottt", "ndot", "decolle", "sltt", *FILTERED):
                try:
                    model = sc.Model(network, "numpy", seed=1)
                    report = sc.verify(model, X[:, :2], Y[:2], learning=learning, against="numpy")
                except (ValueError, NotImplementedError):  # the rule does not take the neuron, or that takes maps
                    continue
                compared += 1
                wrong += [] if report.ok else [f"{case}: {report.verdict}"]
    assert not wrong, "\n".join(wrong)
    assert compared > 600


# ---- planted errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["trace", "sum"])
def test_a_wrong_rule_is_found(wrong, monkeypatch):
    if wrong == "trace":
        right = eligibility.moved
        monkeypatch.setattr(
            eligibility, "moved", lambda d, traces, *rest: right(d, traces, *rest) if len(traces) > 1 else traces
        )
    else:
        products = eligibility.summed_products
        monkeypatch.setattr(eligibility, "summed_products", lambda *a: 1.0001 * products(*a))
    report = measured(net(), "eprop")
    assert not report.ok
    assert verdicts(report)["2.weight"] == FAIL
    assert report.verdict.startswith("NOT VERIFIED: learning='eprop' leaves nothing out of ")


# ---- wrong arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning": "epropp"}, "did you mean 'eprop'"),
        ({"learning": sc.EProp(update_every=3)}, "leave update_every out"),
        ({"learning": "eprop", "lengths": [9, 9, 9, 9]}, "leave lengths out"),
        ({"learning": "eprop", "differences": False}, "differences=False"),
        ({"learning": "eprop", "loss": functional.ce_count_loss()}, "per_step"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sc.verify(sc.Model(net(), "numpy"), X, Y, against="numpy", **options)


def test_the_model_is_not_changed():
    model = sc.Model(net(), "numpy", seed=1)
    before = model.params()
    sc.verify(model, X, Y, learning="eprop", against="numpy")
    assert model.engine.dtype == "float32"
    assert all(np.array_equal(before[name], value) for name, value in model.params().items())
