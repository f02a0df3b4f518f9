"""Every surrogate: formula, derivative and antiderivative, extremes, parameters per neuron, bad input, files."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import pickle

import numpy as np
import pytest

import spikecore as sc
from spikecore import surrogate
from spikecore.api.training.checkpoint import build, describe, known_classes
from spikecore.conformance.rig import assert_close, differentiate, normal
from spikecore.surrogate import LSO, SFS, SSO, Surrogate, custom_surrogate
from tests import ROOT
from tests.conformance.own_engines import absent, make

TORCH = ["torch"] if importlib.util.find_spec("torch") else []
ENGINES = [name for name in ("numpy", "numpy-strict", *TORCH) if not absent(name)]
SQRT_PI = math.sqrt(math.pi)


def bell(u, sigma, mu=0.0):
    return np.exp(-(((u - mu) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))


def hat(u, a):
    return np.maximum(0.0, a - a * a * abs(u))


# Name of the class: arguments, the derivative as its paper writes it, and where that one has a kink.
FORMULAS = {
    "atan": (dict(alpha=2.0), lambda u, alpha: alpha / 2 / (1 + (np.pi / 2 * alpha * u) ** 2), ()),
    "fast_sigmoid": (dict(slope=25.0), lambda u, slope: 1 / (1 + slope * abs(u)) ** 2, (0.0,)),
    "superspike": (dict(scale=1.7, slope=3.0), lambda u, scale, slope: scale / (1 + slope * abs(u)) ** 2, (0.0,)),
    "sigmoid": (dict(slope=25.0), lambda u, slope: slope / (4 * np.cosh(np.clip(slope * u / 2, -300, 300)) ** 2), ()),
    "gaussian": (dict(sigma=0.4), bell, ()),
    "multi_gaussian": (
        dict(sigma=0.5, height=0.15, spread=6.0),
        lambda u, sigma, height, spread: (
            (1 + height) * bell(u, sigma) - height * (bell(u, spread * sigma, sigma) + bell(u, spread * sigma, -sigma))
        ),
        (),
    ),
    "erf": (dict(alpha=2.0), lambda u, alpha: alpha / SQRT_PI * np.exp(-((alpha * u) ** 2)), ()),
    "piecewise_exponential": (dict(alpha=1.5), lambda u, alpha: alpha / 2 * np.exp(-alpha * abs(u)), (0.0,)),
    "straight_through_estimator": (dict(), lambda u: np.ones_like(u), ()),
    "heaviside": (dict(), lambda u: (u > 0) * 1.0, (0.0,)),
    "LSO": (dict(slope=0.1), lambda u, slope: np.where(u > 0, 1.0, slope), (0.0,)),
    "piecewise_quadratic": (dict(alpha=1.5), lambda u, alpha: hat(u, alpha), (-1 / 1.5, 0.0, 1 / 1.5)),
    "rectangular": (dict(alpha=1.5), lambda u, alpha: alpha * (abs(u) < 0.5 / alpha), (-1 / 3, 1 / 3)),
    "triangular": (dict(threshold=0.8), lambda u, threshold: hat(u, 1 / threshold), (-0.8, 0.0, 0.8)),
    "spike_rate_escape": (
        dict(beta=1.0, slope=25.0),
        lambda u, beta, slope: slope * np.exp(-beta * abs(u - 1)),
        (1.0,),
    ),
    "SFS": (dict(slope=5.0, B=-0.3), lambda u, slope, B: (u > B) / (1 + slope * abs(u)) ** 2, (-0.3, 0.0)),
}
EACH = pytest.mark.parametrize("name", FORMULAS)
ON_EACH_ENGINE = pytest.mark.parametrize("engine", [make(name) for name in ENGINES], ids=ENGINES)


def built(name):
    arguments, formula, kinks = FORMULAS[name]
    return getattr(surrogate, name)(**arguments), lambda u: formula(u, **arguments), kinks


def points(kinks, n=10_000, low=-4.0, high=4.0, distance=1e-6):
    """n points further than ``distance`` from a kink: half of them anywhere, half close to kinks and threshold."""
    rng = np.random.default_rng(0)
    near = [k + sign * 10 ** rng.uniform(-5.9, 0, n // 8) for k in (0.0, *kinks) for sign in (1, -1)]
    u = np.concatenate([np.concatenate(near)[: n // 2], rng.uniform(low, high, n)])
    u = u[np.all([abs(u - k) > distance for k in (math.inf, *kinks)], axis=0)]
    return np.sort(rng.permutation(u)[:n])


def evaluate(engine, function, u):
    return engine.to_numpy(function(engine.xp, engine.asarray(u)))


def slope_of(engine, function, u):
    """The derivative of a function by the engine's own rules, point by point."""
    x = engine.asarray(u)
    _, _, grad = engine.value_and_grad(lambda x: (engine.xp.sum(function(engine.xp, x)), ()), x)
    return engine.to_numpy(grad)


def test_all_of_them_are_here():
    public = {n for n, thing in vars(surrogate).items() if inspect.isclass(thing) and issubclass(thing, Surrogate)}
    assert public == {*FORMULAS, "Surrogate", "SSO", "custom_surrogate"}
    assert public - {"Surrogate"} == {n for n, one in known_classes().items() if issubclass(one, Surrogate)} - {
        "Surrogate"
    }


@ON_EACH_ENGINE
@EACH
def test_derivative_is_the_formula(engine, name):
    one, formula, kinks = built(name)
    u = points(kinks)
    found = evaluate(engine, one.derivative, u)
    assert len(u) == 10_000
    assert found.dtype == np.float64
    assert abs(found - formula(u)).max() <= 1e-13 * max(1.0, abs(formula(u)).max())


@ON_EACH_ENGINE
@EACH
def test_antiderivative_differentiates_to_the_derivative(engine, name):
    one, _, kinks = built(name)
    u = points(kinks, n=10_000 if engine.name == "torch" or "erf" not in name else 1_000)
    assert abs(slope_of(engine, one.antiderivative, u) - evaluate(engine, one.derivative, u)).max() <= 1e-8


@EACH
def test_derivative_integrates_to_the_antiderivative(name):
    """Without any derivative rule: Gauss-Legendre quadrature of the formula between kinks."""
    engine = make("numpy")
    one, formula, kinks = built(name)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.unique([*np.linspace(-4, 4, 201), *kinks])
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    integral = (formula(middle[:, None] + half[:, None] * nodes) @ weights) * half
    assert abs(np.diff(evaluate(engine, one.antiderivative, edges)) - integral).max() <= 1e-12


@ON_EACH_ENGINE
@EACH
def test_spike_backward(engine, name):
    one, formula, _ = built(name)
    u = np.linspace(-2.03, 2.01, 41)
    grad = slope_of(engine, lambda xp, x: engine.spike(x, one) * engine.asarray(u), u)
    assert_close(grad, formula(u) * u, 1e-13)


@EACH
@pytest.mark.parametrize("default", [True, False])
def test_finite_in_single_and_half_precision(name, default):
    one = getattr(surrogate, name)() if default else built(name)[0]
    for dtype, most in (("float32", 1e4), ("float16", 1e3)):
        u = np.array([-most, -1.0, -1e-6, 0.0, 1e-6, 1.0, most, *np.linspace(-20, 20, 999)], dtype=dtype)
        for engine in [make(name, "float32") for name in ("numpy", *TORCH)]:
            x = u if engine.name == "numpy" else pytest.importorskip("torch").tensor(u)
            for function in (one.derivative, one.antiderivative):
                with np.errstate(over="ignore"):  # half precision: a square may overflow on its way to 1/inf = 0
                    found = function(engine.xp, x)
                assert str(found.dtype).endswith(dtype)
                assert np.isfinite(np.asarray(found)).all(), (engine, dtype)


SNNTORCH = {  # gradients at u = -5, -1, -.1, 0, .1, 1, 2, as snnTorch computes them; its sigmoid is NaN at -5
    "atan": [0.00404, 0.092, 0.91017, 1.0, 0.91017, 0.092, 0.0247],
    "fast_sigmoid": [6e-5, 0.00148, 0.08163, 1.0, 0.08163, 0.00148, 3.8e-4],
    "sigmoid": [0.0, 0.0, 1.75259, 6.25, 1.75259, 0.0, 0.0],
    "spike_rate_escape": [0.06197, 3.383, 8.322, 9.197, 10.164, 25.0, 9.197],
    "straight_through_estimator": [1.0] * 7,
    "heaviside": [0.0] * 4 + [1.0] * 3,
    "SFS": [0.0] * 6 + [1 / 51**2],
    "LSO": [0.1] * 4 + [1.0] * 3,  # what it is meant to be: there it raises
    "triangular": [0.0, 0.0, 0.9, 1.0, 0.9, 0.0, 0.0],  # there +1 and -1, no triangle
}


@pytest.mark.parametrize("name", SNNTORCH)
def test_values_of_the_defaults(name):
    found = evaluate(make("numpy"), getattr(surrogate, name)().derivative, np.array([-5, -1, -0.1, 0, 0.1, 1, 2]))
    assert (abs(found - SNNTORCH[name]) <= 1e-5 + 2e-4 * abs(np.array(SNNTORCH[name]))).all()


def test_family_relations():
    engine, u = make("numpy"), np.linspace(-3, 3, 61)
    pairs = [
        (surrogate.superspike(slope=25.0), surrogate.fast_sigmoid(25.0)),
        (surrogate.erf(2.0), surrogate.gaussian(1 / (2.0 * math.sqrt(2)))),
        (surrogate.multi_gaussian(height=0.0), surrogate.gaussian(0.5)),
        (surrogate.triangular(0.5), surrogate.piecewise_quadratic(2.0)),
        (surrogate.LSO(0.0), surrogate.heaviside()),
        (surrogate.LSO(1.0), surrogate.straight_through_estimator()),
        (surrogate.SFS(25.0, B=-9.0), surrogate.fast_sigmoid(25.0)),
    ]
    for one, other in pairs:
        assert_close(evaluate(engine, one.derivative, u), evaluate(engine, other.derivative, u), 1e-14)


# ---- parameters per neuron -----------------------------------------------------------------------------------------

WITH_PARAMETERS = [name for name, (arguments, _, _) in FORMULAS.items() if arguments]
FACTORS = np.array([0.5, 1.0, 2.0])


@ON_EACH_ENGINE
@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_one_parameter_per_neuron(engine, name):
    """The same as three neurons, each with a surrogate of its own: derivative, antiderivative, gradient of a spike."""
    arguments = FORMULAS[name][0]
    kind = getattr(surrogate, name)
    together = kind(**{key: value * FACTORS for key, value in arguments.items()})
    apart = [kind(**{key: value * factor for key, value in arguments.items()}) for factor in FACTORS]
    u = normal(7, 3)
    for method in ("derivative", "antiderivative"):
        columns = [evaluate(engine, getattr(one, method), u[:, i]) for i, one in enumerate(apart)]
        assert_close(evaluate(engine, getattr(together, method), u), np.stack(columns, axis=1), 1e-14)
    grad = slope_of(engine, lambda xp, x: engine.spike(x, together), u)
    assert_close(grad, evaluate(engine, together.derivative, u), 1e-14)
    single = make(ENGINES[0], "float32")
    assert evaluate(single, together.derivative, u).dtype == np.float32


@ON_EACH_ENGINE
def test_a_neuron_with_one_slope_per_neuron(engine):
    """Gradients over time are those of five neurons, each with its own slope."""
    slopes, x = np.array([1.0, 3.0, 5.0, 10.0, 25.0]), normal(6, 2, 5) + 0.5
    _, found = differentiate(engine, sc.Leaky(surrogate=surrogate.fast_sigmoid(slopes)), x, weigh=("outputs",))
    for i, slope in enumerate(slopes):
        _, one = differentiate(engine, sc.Leaky(surrogate=surrogate.fast_sigmoid(slope)), x, weigh=("outputs",))
        assert_close(found.inputs[..., i], one.inputs[..., i], 1e-13)


def test_verify_checks_arrays_by_finite_differences():
    pytest.importorskip("torch")
    net = sc.Sequential(sc.Linear(4, 3), sc.Leaky(surrogate=surrogate.multi_gaussian(sigma=0.5 * FACTORS)))
    report = sc.verify(sc.Model(net, "torch", seed=0), abs(normal(5, 2, 4)).astype("float32"), np.array([0, 2]))
    assert report.ok, str(report)


def test_equal_by_content():
    for name in WITH_PARAMETERS:
        arguments = {key: value * FACTORS for key, value in FORMULAS[name][0].items()}
        one, two = getattr(surrogate, name)(**arguments), getattr(surrogate, name)(**arguments)
        assert one == two
        assert hash(one) == hash(two) == hash(pickle.loads(pickle.dumps(one)))
        assert one != built(name)[0]
    assert surrogate.atan(2) == surrogate.atan(2.0) == surrogate.atan()


@pytest.mark.parametrize("name", [*FORMULAS, "SSO"])
def test_as_json_and_back(name):
    kind = getattr(surrogate, name)
    arguments = {key: value * FACTORS for key, value in FORMULAS.get(name, ({},))[0].items()}
    for one in (kind(), kind(**arguments)):
        again = build(json.loads(json.dumps(describe(one))), known_classes())
        assert again == one
        assert type(again) is kind


def test_arrays_must_broadcast_to_the_neurons():
    one = surrogate.fast_sigmoid(slope=np.ones(3))
    one.check_shape((3,))
    one.check_shape((4, 3))
    with pytest.raises(ValueError, match=r"fast_sigmoid: slope of shape \(3,\) does not broadcast to neurons \(4,\)"):
        one.check_shape((4,))


BAD = [  # what makes it, the error, what it says
    (lambda: surrogate.atan(0), ValueError, r"atan: alpha=0.0 must be finite and > 0"),
    (lambda: surrogate.atan(-1.0), ValueError, r"atan: alpha=-1.0 must be finite and > 0"),
    (lambda: surrogate.fast_sigmoid(math.nan), ValueError, r"fast_sigmoid: slope=nan must be finite and > 0"),
    (lambda: surrogate.sigmoid(math.inf), ValueError, r"sigmoid: slope=inf must be"),
    (lambda: surrogate.gaussian(np.array([1.0, -2.0])), ValueError, r"gaussian: sigma=-2.0 must be"),
    (lambda: surrogate.multi_gaussian(height=-0.1), ValueError, r"height=-0.1 must be finite and >= 0"),
    (lambda: surrogate.multi_gaussian(spread=0.0), ValueError, r"spread=0.0"),
    (lambda: surrogate.triangular(threshold=-1), ValueError, r"triangular: threshold=-1.0"),
    (lambda: surrogate.spike_rate_escape(beta=0), ValueError, r"spike_rate_escape: beta=0.0"),
    (lambda: LSO(-0.1), ValueError, r"LSO: slope=-0.1 must be finite and >= 0"),
    (lambda: SFS(B=math.inf), ValueError, r"SFS: B=inf must be finite"),
    (lambda: SSO(variance=-1), ValueError, r"SSO: variance=-1.0"),
    (lambda: surrogate.atan("wide"), TypeError, r"atan: alpha='wide' must be a number or an array"),
    (lambda: surrogate.atan(None), TypeError, r"atan: alpha=None"),
    (lambda: surrogate.atan(sc.learn(2.0)), TypeError, r"atan: alpha cannot be learned"),
    (lambda: custom_surrogate(3.0), TypeError, r"custom_surrogate: function=3.0 must be a function of \(xp, u\)"),
    (lambda: custom_surrogate(lambda u: u), TypeError, r"must be a function of \(xp, u\) or of \(input_"),
    (lambda: custom_surrogate(lambda xp, u: u, 1.0), TypeError, r"integral=1.0"),
]


@pytest.mark.parametrize(("call", "error", "says"), BAD)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says):
        call()


# ---- the stochastic one --------------------------------------------------------------------------------------------


@ON_EACH_ENGINE
def test_sso_is_exact_forward_and_its_noise_backward(engine):
    u = np.array([[-2.0, -1e-9, 0.0, 1e-9], [0.3, -0.3, 5.0, -1e4]])
    one = SSO(mean=0.1, variance=0.4)
    draw = engine.uniform((3, "sso"), (2, 4), sample_axis=0)
    noise = engine.to_numpy(draw)
    x = engine.asarray(u)
    np.testing.assert_array_equal(engine.to_numpy(one.fire(engine, x, draw)), u > 0)
    grad = slope_of(engine, lambda xp, x: one.fire(engine, x, draw), u)
    assert_close(grad, np.where(u > 0, 1.0, (noise - 0.5 + 0.1) * 0.4), 1e-14)
    np.testing.assert_array_equal(
        noise, make(ENGINES[0]).to_numpy(make(ENGINES[0]).uniform((3, "sso"), (2, 4), sample_axis=0))
    )


def test_sso_without_noise_says_what_to_do():
    engine = make("numpy")
    x = engine.asarray(np.ones(3))
    assert SSO.stochastic
    assert not SSO().has_antiderivative
    assert not surrogate.atan().stochastic
    for call in (lambda: SSO().fire(engine, x), lambda: SSO().derivative(engine.xp, x)):
        with pytest.raises(ValueError, match=r"SSO: its derivative is random.*Draw the noise beforehand"):
            call()


def test_other_surrogates_fire_without_noise():
    engine, u = make("numpy"), np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(surrogate.atan().fire(engine, engine.asarray(u)), u > 0)


# ---- documentation -------------------------------------------------------------------------------------------------


def test_the_documentation_lists_them_all():
    docs = ROOT / "docs"
    text = (docs / "surrogates.md").read_text()
    for name in [*FORMULAS, "SSO", "custom_surrogate"]:
        assert f"## {name}\n" in text, name
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        for field in inspect.signature(getattr(surrogate, name)).parameters.values():
            default = "" if field.default is field.empty else f"={field.default}"
            assert f"`{field.name}{default}`" in section, (name, field)
    assert "images/surrogates.png" in text
    assert 10_000 < (docs / "images" / "surrogates.png").stat().st_size < 200_000
