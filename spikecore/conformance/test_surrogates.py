"""Surrogates: formula, derivative, antiderivative, extremes, and what makes two of them equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.surrogate.truncated import truncated
from spikecore.conformance import cases, reference
from spikecore.conformance.rig import assert_close, differences, need
from spikecore.surrogate import Surrogate

U = np.linspace(-3.0, 3.0, 41)
SURROGATES = pytest.mark.parametrize("one", [one for _, one in cases.SURROGATES], **cases.ids(cases.SURROGATES))
SNNTORCH = {  # gradients at u = -5, -1, -.1, 0, .1, 1, 2, as snnTorch computes them (its sigmoid: NaN at -5)
    "atan": [0.00404, 0.092, 0.91017, 1.0, 0.91017, 0.092, 0.0247],
    "fast_sigmoid": [6e-5, 0.00148, 0.08163, 1.0, 0.08163, 0.00148, 3.8e-4],
    "sigmoid": [0.0, 0.0, 1.75259, 6.25, 1.75259, 0.0, 0.0],
}


def check_derivative(engine, one):
    found = engine.to_numpy(one.derivative(engine.xp, engine.asarray(U)))
    assert found.dtype == engine.dtype
    assert_close(found, reference.derivative(one)(U), 1e-13)


def check_spike(engine, one):
    """Theta forward, strictly; the derivative backward, times what comes from above."""
    u = np.array([-1.0, -1e-30, 0.0, 1e-30, 0.5, 2.0])
    weights = np.arange(1.0, 7.0)

    def loss(x):
        spikes = engine.spike(x, one)
        return engine.xp.sum(spikes * engine.asarray(weights)), spikes

    _, spikes, grad = engine.value_and_grad(loss, engine.asarray(u))
    np.testing.assert_array_equal(engine.to_numpy(spikes), u > 0)
    assert engine.to_numpy(spikes).dtype == engine.dtype
    assert_close(engine.to_numpy(grad), weights * reference.derivative(one)(u), 1e-13)


#: Functions of potential, gradient and spikes that are no derivative times the gradient, in operators of every library.
UNLINEAR = {
    "ignores": lambda u, grad, spikes: 1.0 / (1.0 + abs(u)),
    "squares": lambda u, grad, spikes: grad * abs(grad) / (1.0 + abs(u)) + 0.5 * spikes,
}


def check_backward(engine, function):
    """A function of the user's own gets the gradient by the spikes itself, not ones."""
    u, weights = np.array([-1.0, -0.3, 0.2, 0.5, 2.0]), np.array([1.0, -3.0, 0.25, 40.0, -1e-3])
    one = sc.surrogate.custom_surrogate(function)
    loss = lambda x: (engine.xp.sum(engine.spike(x, one) * engine.asarray(weights)), ())  # noqa: E731
    _, _, grad = engine.value_and_grad(loss, engine.asarray(u))
    assert_close(engine.to_numpy(grad), function(u, weights, (u > 0) * 1.0), 1e-13)


@pytest.mark.parametrize("function", UNLINEAR.values(), ids=UNLINEAR)
def test_a_function_of_three_arguments_gets_the_gradient(engine, function):
    need(engine, "backward")
    check_backward(engine, function)


@SURROGATES
def test_derivative(engine, one):
    check_derivative(engine, one)


@SURROGATES
def test_spike(engine, one):
    check_spike(engine, one)


@SURROGATES
def test_a_truncated_derivative_is_the_derivative_or_zero(engine, one):
    u = engine.asarray(U)
    whole = engine.to_numpy(one.derivative(engine.xp, u))
    for least in (0.02, 0.3):
        found = engine.to_numpy(truncated(one, least).derivative(engine.xp, u))
        assert found.dtype == engine.dtype
        np.testing.assert_array_equal(found, np.where(abs(whole) > least, whole, 0.0))


@SURROGATES
def test_antiderivative(engine, one):
    def value(u):
        return engine.to_numpy(one.antiderivative(engine.xp, engine.asarray(u)))

    assert_close(value(U), reference.SURROGATES[type(one).__name__][1](U, **vars(one)), 1e-13)
    away = U[(abs(U) > 0.1) & (abs(abs(U) - 1.0) > 0.1)]  # from the kinks
    slopes = reference.derivative(one)(away)
    assert abs(differences(lambda u: value(u).sum(), away) - slopes).max() <= 1e-6 * max(1.0, abs(slopes).max())


@SURROGATES
def test_extremes_are_finite_in_float32(engine32, one):
    for u in (1e4, -1e4, 1e-40, 0.0):
        x = engine32.asarray(np.array([u]))
        assert np.isfinite(engine32.to_numpy(one.derivative(engine32.xp, x))).all()
        assert np.isfinite(engine32.to_numpy(one.antiderivative(engine32.xp, x))).all()


@pytest.mark.parametrize("name", SNNTORCH)
def test_snntorch_values(engine, name):
    u = engine.asarray(np.array([-5.0, -1.0, -0.1, 0.0, 0.1, 1.0, 2.0]))
    found = engine.to_numpy(getattr(sc.surrogate, name)().derivative(engine.xp, u))
    assert abs(found - SNNTORCH[name]).max() <= 1e-5


@dataclass(frozen=True)
class boxcar(Surrogate):  # noqa: N801
    width: float = 1.0

    def derivative(self, xp, u):
        return xp.astype(abs(u) < self.width / 2, "float64") / self.width


def test_a_users_own_surrogate(engine):
    """In vocabulary words, and good on every engine; without an antiderivative it cannot be checked by differences."""
    one = boxcar(width=2.0)
    _, _, grad = engine.value_and_grad(lambda x: (engine.xp.sum(engine.spike(x, one)), ()), engine.asarray(U))
    assert_close(engine.to_numpy(grad), (abs(U) < 1.0) / 2.0)
    assert not one.has_antiderivative
    with pytest.raises(NotImplementedError, match="boxcar defines no antiderivative"):
        one.antiderivative(engine.xp, None)
    with pytest.raises(NotImplementedError, match="Surrogate defines no derivative"):
        Surrogate().derivative(engine.xp, None)
