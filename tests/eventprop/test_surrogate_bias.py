"""`model_bias`: what a surrogate makes of the gradient, against the exact gradient of the same network."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, eventprop, functional, surrogate
from spikecore.eventprop import bias
from spikecore.eventprop import stepped as stepped_form
from spikecore.eventprop.from_model import spikes_of_counts, translate
from tests.eventprop.eventprop_rig import QUOTIENT, ROUNDING

RNG = np.random.default_rng(0)
STEPS = 20
X, Y = (RNG.random((STEPS, 4, 5)) < 0.06) * 1.0, np.array([0, 2, 1, 2])
HIDDEN = {"alpha": 0.8, "beta": 0.95, "threshold": 0.5, "reset_mechanism": "zero", "reset_delay": False}
FINE_STEPS = 16
FINE = 1 / FINE_STEPS
READOUT = {"alpha": 0.7, "beta": 0.95, "reset_mechanism": "none"}


def net(hidden=HIDDEN, readout=READOUT, first=None, **options):
    own = {**hidden, **options}
    first = first or sc.Linear(5, 6, bias=False)
    return sc.Sequential(first, sc.Synaptic(**own), sc.Linear(6, 3, bias=False), sc.Synaptic(**readout))


def model(network=None, scale=1.0, **options):
    made = sc.Model(network or net(**options), "numpy", seed=1, dtype="float64", input_shape=(5,))
    state = made.state()
    state["params"].update({name: scale * abs(value) for name, value in state["params"].items() if "weight" in name})
    made.load_state(state)
    return made


def translated(made=None):
    return translate((made or model()).to_engine(sc.get_engine("numpy", dtype="float64")), STEPS)


# ---- the same network ------------------------------------------------------------------------------------------------


def test_a_model_and_the_model_of_its_network_are_the_same():
    """There and back: weights, constants, outputs and the surrogate gradient at the model's own step."""
    made = model(alpha=np.linspace(0.7, 0.9, 6), beta=sc.learn(0.95))
    found = translated(made)
    again = eventprop.to_model(found.network, found.params, 1.0, surrogate=surrogate.atan())
    for name in ("0.weight", "2.weight"):
        np.testing.assert_allclose(again.params()[name], made.params()[name], rtol=ROUNDING)
    np.testing.assert_allclose(again.network.layers[1].alpha.data, np.linspace(0.7, 0.9, 6), rtol=ROUNDING)
    ours, theirs = (backprop.bptt(each, X, Y, functional.ce_max_membrane_loss()) for each in (made, again))
    assert abs(ours.loss - theirs.loss) < ROUNDING
    np.testing.assert_allclose(ours.grads["0.weight"], theirs.grads["0.weight"], rtol=ROUNDING)


LEARNED = {
    "alpha": sc.learn(np.linspace(0.75, 0.85, 6)),
    "beta": sc.learn(0.95),
    "threshold": sc.learn(np.linspace(0.4, 0.6, 6)),
}
NAMES = ["0.weight", "2.weight", "1.threshold", "1.alpha", "1.beta"]


def test_gradients_go_to_the_networks_parameters_and_back():
    """At the model's own step: by the network's time constants and back it is the model's own gradient."""
    made = model(**LEARNED)
    found = translated(made)
    stepped = eventprop.to_model(found.network, found.params, 1.0, surrogate=surrogate.atan(), learn_constants=True)
    grads = backprop.bptt(stepped, X, Y, functional.ce_max_membrane_loss()).grads
    ours = found.pull(stepped_form.gradients_by_network(found.network, found.params, 1.0, grads))
    theirs = backprop.bptt(made, X, Y, functional.ce_max_membrane_loss()).grads
    assert list(ours)[:2] == NAMES[:2]
    assert set(ours) == set(NAMES) == set(theirs)
    for name in NAMES:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=ROUNDING, err_msg=name)


def test_the_exact_gradient_is_that_of_the_models_parameters_by_finite_differences():
    """The exact loss as a function of the model's parameters, each changed by a little along a random direction."""
    made, x, y = model(**LEARNED), X[:, :2], Y[:2]
    spikes = spikes_of_counts(x)

    def exact(changes):
        other, state = model(**LEARNED), made.state()
        state["params"].update({name: state["params"][name] + change for name, change in changes.items()})
        other.load_state(state)
        found = translated(other)
        return found, eventprop.gradient(found.network, found.params, spikes, y, eventprop.max_membrane_loss())

    found, here = exact({})
    grads, h = found.pull(here.grads), 1e-6
    for name in NAMES:
        direction = np.random.default_rng(2).normal(size=grads[name].shape)
        up, down = (exact({name: sign * h * direction})[1].loss for sign in (1.0, -1.0))
        analytic = (grads[name] * direction).sum()
        assert abs((up - down) / (2 * h) - analytic) < QUOTIENT * abs(analytic), name
    ours = backprop.bptt(made, x, y, functional.ce_max_membrane_loss()).grads
    reported = sc.eventprop.model_bias(made, x, y, substeps=1).cases[0]
    for name in NAMES:
        a, b = ours[name].ravel(), grads[name].ravel()
        assert abs(reported.cosine[name] - a @ b / np.sqrt(a @ a * (b @ b))) < ROUNDING
        assert abs(reported.ratio[name] - np.sqrt(a @ a / (b @ b))) < ROUNDING * reported.ratio[name]


def test_spikes_of_counts_repeat_what_fires_twice():
    counts = np.zeros((4, 2, 3))
    counts[1, 0, 2], counts[3, 0, 0] = 2.0, 1.0
    found = spikes_of_counts(counts)
    np.testing.assert_array_equal(found.times, [[1.0, 1.0, 3.0], [np.inf] * 3])
    np.testing.assert_array_equal(found.sources[0], [2, 2, 0])


# ---- as the step goes to 0 -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    slopes = [surrogate.fast_sigmoid(slope=slope) for slope in (1.0, 25.0)]
    return sc.eventprop.model_bias(model(), X, Y, slopes, substeps=(1, FINE_STEPS))


def test_losses_spikes_and_the_last_layer_converge(report):
    by_step = [report.best[dt] for dt in (1.0, FINE)]
    assert report.exact_spikes > 10
    losses, counts = ([abs(getattr(case, name) - exact) for case in by_step]
                      for name, exact in (("loss", report.exact_loss), ("spikes", report.exact_spikes)))  # fmt: skip
    assert losses[0] > 4 * losses[1]
    assert counts[0] >= counts[1]
    finest = by_step[1]
    assert finest.cosine["2.weight"] > 0.999
    assert abs(finest.ratio["2.weight"] - 1.0) < 0.05  # of the order of dt / tau_syn
    assert len(finest.differing) < len(by_step[0].differing)
    assert finest.timing[0] < 0.3


def test_what_stays_is_the_surrogates(report):
    finest = [case for case in report.cases if case.dt == FINE]
    assert [case.surrogate.slope for case in finest] == [1.0, 25.0]
    assert all(case.cosine["0.weight"] < 0.95 for case in finest)
    assert finest[0].cosine["0.weight"] != finest[1].cosine["0.weight"]
    assert finest[0].cosine["2.weight"] == finest[1].cosine["2.weight"]  # no surrogate on its way
    assert report.best[FINE] is max(finest, key=lambda case: case.cosine["0.weight"])


def test_constants_that_the_model_learns_are_compared_too():
    found = sc.eventprop.model_bias(model(**LEARNED), X, Y, substeps=FINE_STEPS).cases[0]
    assert [row.name for row in found.rows] == [
        *NAMES[:2],
        *(n for n in found.cosine if n not in NAMES[:2] + ["all"]),
        "all",
    ]
    assert set(found.cosine) == {*NAMES, "all"}
    assert abs(found.cosine["1.beta"]) == pytest.approx(1.0)  # a single number: the sign
    assert found.hidden == ("0.weight",)


def test_a_surrogate_without_a_gradient_is_not_the_closest():
    """Its cosine is NaN, which no other one is larger than."""
    slopes = [surrogate.fast_sigmoid(slope=10.0), surrogate.triangular(threshold=1e-6)]
    for surrogates in (slopes, slopes[::-1]):
        found = sc.eventprop.model_bias(model(), X, Y, surrogates, substeps=range(1, 2))
        assert found.best[1.0].surrogate == slopes[0]


def test_the_report_names_what_differs(report):
    text = str(report)
    assert text.count("fast_sigmoid(slope=25.0)") >= 2
    assert f"exactly: {report.exact_spikes} spikes" in text
    coarse = report.best[1.0]
    assert f"the same spikes in {4 - len(coarse.differing)} of 4 samples" in text
    assert f"not in samples {', '.join(map(str, coarse.differing))}" in text
    assert "closest before the last layer is" in text


@pytest.mark.parametrize("wrong", ["sign", "scale", "time"])
def test_a_wrong_comparison_would_be_seen(wrong, report, monkeypatch):
    """Errors planted in the exact gradient, the units and the spike times show where they should."""
    right, by_network = report.cases[-1], bias.gradients_by_network
    if wrong == "sign":
        exact = bias.gradient
        monkeypatch.setattr(
            bias, "gradient", lambda *a: (g := exact(*a))._replace(grads={n: -v for n, v in g.grads.items()})
        )
    elif wrong == "scale":
        monkeypatch.setattr(bias, "gradients_by_network", lambda *a: {n: 2.0 * g for n, g in by_network(*a).items()})
    else:
        frames = bias.frames
        monkeypatch.setattr(
            bias, "frames", lambda network, inputs, dt: np.roll(frames(network, inputs, dt), 48, axis=0)
        )
    slope = surrogate.fast_sigmoid(slope=25.0)
    found = sc.eventprop.model_bias(model(), X, Y, slope, substeps=FINE_STEPS).cases[0]
    assert abs(right.cosine["2.weight"] - 1.0) < 1e-3
    assert abs(right.ratio["2.weight"] - 1.0) < 0.05
    assert {
        "sign": found.cosine["2.weight"] < -0.99,
        "scale": abs(found.ratio["2.weight"] - 1.0) > 0.5,
        "time": len(found.differing) > len(right.differing) or found.timing[0] > 5 * right.timing[0],
    }[wrong]


# ---- what is refused -------------------------------------------------------------------------------------------------

REFUSED = {
    "bias": (net(first=sc.Linear(5, 6)), "layer 0 .Linear. has a bias"),
    "delay": (sc.Sequential(sc.Delay(2), *net().layers), "layer 0 .Delay. is no dense connection"),
    "two": (sc.Sequential(sc.Linear(5, 5, bias=False), *net().layers), "follows 2 connections"),
    "neuron": (
        sc.Sequential(net().layers[0], sc.Leaky(), *net().layers[2:]), "layer 1 .Leaky. is not EventProp's neuron"),
    "recurrent": (
        sc.Sequential(net().layers[0], sc.RSynaptic(linear_features=6, **HIDDEN), *net().layers[2:]), "feeds itself"),
    "reset": (net(reset_mechanism="subtract"), "use reset_mechanism='zero'"),
    "readout": (net(readout=HIDDEN), "layer 3 .Synaptic. has reset_mechanism='zero': use reset_mechanism='none'"),
    "inhibition": (net(inhibition=True), "use inhibition=False"),
    "graded": (net(graded_spikes_factor=2.0), "use graded_spikes_factor=1.0"),
    "no decay": (net(alpha=1.0), "alpha=1.0, which has no time constant"),
    "threshold": (net(threshold=-1.0), "use a threshold > 0"),
    "tail": (sc.Sequential(*net().layers, sc.Linear(3, 3)), "layer 4 .Linear. comes after the last neurons"),
    "one layer": (sc.Sequential(sc.Linear(5, 3, bias=False), sc.Synaptic(**READOUT)), "needs two or more"),
    "recurrent one to one": (
        sc.Sequential(net().layers[0], sc.Recurrent(sc.Synaptic(**HIDDEN), sc.OneToOne()), *net().layers[2:]),
        "layer 1 .Recurrent. is not EventProp's neuron"),
    "branches": (sc.Sequential(sc.Residual(sc.Linear(5, 5)), *net().layers), "layers one after the other"),
    "stochastic": (net(surrogate=surrogate.SSO()), "draws noise"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_have_no_exact_counterpart_are_refused_by_name(name):
    network, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        sc.eventprop.model_bias(sc.Model(network, "numpy", input_shape=(5,)), X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": X + 0.5}, "numbers of spikes"),
        ({"x": -X}, "numbers of spikes"),
        ({"substeps": 0}, "substeps=0"),
        ({"substeps": ()}, "substeps="),
        ({"surrogates": []}, "surrogates="),
        ({"targets": [0, 1, 2, 3]}, "targets"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sc.eventprop.model_bias(**{"model": model(), "x": X, "targets": Y, **options})


def test_encoders_flattened_inputs_and_delayed_resets_are_compared_too():
    network = sc.Sequential(sc.Flatten(), *net(reset_delay=True).layers)
    made = sc.Model(network, "numpy", seed=1, input_shape=(1, 5))
    report = sc.eventprop.model_bias(
        made, np.full((4, 1, 5), 0.3), Y, num_steps=8, encoder=sc.spikegen.rate, substeps=2
    )
    assert list(report.cases[0].cosine) == ["1.weight", "3.weight", "all"]
    assert report.cases[0].cosine["3.weight"] > 0.9
