"""Surrogates of a user's own functions: as snnTorch takes them, and whether they are linear in the gradient."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.training.checkpoint import describe
from spikecore.conformance.rig import assert_close
from spikecore.surrogate import custom_surrogate
from tests.core.test_surrogates import ON_EACH_ENGINE, TORCH, slope_of

# ---- functions of one's own ----------------------------------------------------------------------------------------


def cosine(xp, u):
    return 1.0 / ((1.0 + u * u) * (1.0 + u * u))


def cosine_integral(xp, u):
    return 0.5 * (u / (1.0 + u * u) + xp.atan(u))


def as_in_snntorch(input_, grad_input, spikes):
    return grad_input / (1.0 + 3.0 * abs(input_)) * (1.0 + spikes)


@ON_EACH_ENGINE
def test_custom_surrogate(engine):
    u = np.linspace(-2, 2, 31)
    one = custom_surrogate(cosine, cosine_integral)
    assert one == custom_surrogate(cosine, cosine_integral) == pickle.loads(pickle.dumps(one))
    assert_close(slope_of(engine, lambda xp, x: engine.spike(x, one), u), 1 / (1 + u * u) ** 2, 1e-14)
    assert_close(slope_of(engine, one.antiderivative, u), 1 / (1 + u * u) ** 2, 1e-14)
    assert one.has_antiderivative
    assert not custom_surrogate(cosine).has_antiderivative
    with pytest.raises(NotImplementedError, match="custom_surrogate defines no antiderivative"):
        custom_surrogate(cosine).antiderivative(engine.xp, engine.asarray(u))


@ON_EACH_ENGINE
def test_custom_surrogate_as_snntorch_takes_it(engine):
    u = np.linspace(-2, 2, 31)
    grad = slope_of(engine, lambda xp, x: engine.spike(x, custom_surrogate(as_in_snntorch)) * engine.asarray(u), u)
    assert_close(grad, u / (1 + 3 * abs(u)) * (1 + (u > 0)), 1e-14)


def ignores(u, grad, spikes):
    """As a public actor-critic agent has it: the gradient from above is left out."""
    return 1.0 / (1.0 + 3.0 * abs(u))


def clips(u, grad, spikes):
    xp = sc.base.engine_of(u).xp
    return xp.clip(grad, -0.01, 0.01) / (1.0 + 3.0 * abs(u))


def normalises(u, grad, spikes):
    xp = sc.base.engine_of(u).xp
    return grad / (1e-3 + xp.sqrt(xp.sum(grad * grad))) / (1.0 + 3.0 * abs(u))


def averages(u, grad, spikes):
    """Linear, but no multiple of the gradient of the neuron alone."""
    xp = sc.base.engine_of(u).xp
    return xp.mean(grad) / (1.0 + 3.0 * abs(u))


def times_slope(u, grad, spikes):
    return grad / (1.0 + 3.0 * abs(u))


UNLINEAR = pytest.mark.parametrize("function", [ignores, clips, normalises, averages])


def own_net(function):
    own = {"surrogate": custom_surrogate(function), "threshold": 0.4}
    return sc.Sequential(
        sc.Linear(6, 9), sc.RLeaky(beta=0.8, linear_features=9, **own), sc.Linear(9, 3), sc.Leaky(**own)
    )


def gradients(engine, function, **options):
    model = sc.Model(own_net(function), engine, seed=2, dtype="float64", **options)
    x, y = np.random.default_rng(0).random((5, 6)), np.arange(5) % 3
    loss = sc.functional.mse_count_loss()  # the gradient of a cross-entropy has a mean of zero
    return {name: model.engine.to_numpy(g) for name, g in model.value_and_grad(x, y, loss=loss, num_steps=4)[1].items()}


@pytest.mark.parametrize("how", [("numpy", {}), *((n, options) for n in TORCH for options in ({}, {"fused": False}))])
@UNLINEAR
def test_a_function_that_is_not_linear_in_the_gradient_gets_the_gradient(function, how):
    """It was called with ones, and what it made of them was multiplied by the gradient."""
    engine, more = how
    expected = gradients("numpy", function, fused=False)
    for name, grad in gradients(engine, function, **more).items():
        assert_close(grad, expected[name], 1e-12, name)
    through_ones = gradients(
        "numpy", lambda u, g, s: g * function(u, sc.base.engine_of(u).xp.ones_like(u), s), fused=False
    )
    assert max(abs(expected[name] - g).max() for name, g in through_ones.items()) > 1e-3


@UNLINEAR
def test_where_a_derivative_is_needed_it_is_refused(function):
    one, u = custom_surrogate(function), np.linspace(-2, 2, 31)
    said = f"custom_surrogate: function=<function {function.__name__} .* is not linear in grad_input, and {{}} needs a"
    engine = sc.get_engine("numpy")
    with pytest.raises(TypeError, match=said.format("this")):
        one.derivative(engine.xp, engine.asarray(u))
    model = sc.Model(own_net(function), "numpy")
    with pytest.raises(TypeError, match=said.format(r"learning forward in time, layer 1 \(RLeaky\),")):
        model.fit([(np.ones((4, 6), np.float32), np.zeros(4, int))], num_steps=3, learning="eprop", progress=False)
    sparse = sc.Model(own_net(function), "numpy", sparse_backward=0.01)
    with pytest.raises(TypeError, match=said.format("this")):
        sparse.fit([(np.ones((4, 6), np.float32), np.zeros(4, int))], num_steps=3, progress=False)
    if TORCH:
        with pytest.raises(TypeError, match=f"layer 1: {said.format('engine .ipu.')}"):
            sc.Model(own_net(function), "ipu", simulate=True)


def test_a_function_that_is_linear_in_the_gradient_is_a_derivative_everywhere():
    x, y = np.random.default_rng(0).random((5, 6), dtype=np.float32), np.arange(5) % 3
    engine = sc.get_engine("numpy")
    u = np.linspace(-2, 2, 31)
    slope = custom_surrogate(times_slope).derivative(engine.xp, engine.asarray(u))
    assert_close(slope, 1 / (1 + 3 * abs(u)), 1e-6)
    for name, options in [("numpy", {}), *(("ipu", {"simulate": True}) for _ in TORCH)]:
        trained = []
        for function in (times_slope, lambda xp, u: 1.0 / (1.0 + 3.0 * abs(u))):
            model = sc.Model(own_net(function), name, seed=2, **options)
            way = {"learning": "eprop"} if name == "numpy" else {}
            model.fit([(x, y)], optimizer=sc.SGD(lr=0.1), num_steps=4, progress=False, **way)
            trained.append(model.params())
        for key, value in trained[0].items():
            assert_close(value, trained[1][key], 1e-6, key)


def test_a_linear_function_in_operators_is_fused():
    """Its program has the gradient as one more input, so that one that is not linear is fused as well."""
    for function in (times_slope, ignores):
        model = sc.Model(own_net(function), sc.get_engine("numpy", fused=True))
        assert "kernel" in str(model.engine.explain(model.network.layers[3])), function
    model = sc.Model(own_net(normalises), sc.get_engine("numpy", fused=True))
    assert "loop" in str(model.engine.explain(model.network.layers[3]))


def test_a_function_cannot_be_written_to_a_file():
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        describe(sc.Leaky(surrogate=custom_surrogate(cosine)))
