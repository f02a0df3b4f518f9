"""Every word on every engine: its value, its dtype, its purity, and its gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spikecore.api.core import words
from spikecore.conformance import reference, word_cases
from spikecore.conformance.rig import assert_close, differences, normal

EVERY = [*word_cases.DIFFERENTIABLE, *word_cases.CONSTANT, *word_cases.CREATION]


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def flat(arguments):
    """The arguments of a word, those of a list one by one."""
    return [*arguments[0], *arguments[1:]] if isinstance(arguments[0], list) else list(arguments)


def apply(function, case, arguments):
    """Call with ``arguments`` (flat) in the shape in which the case has them."""
    listed = isinstance(case.arguments[0], list)
    shaped = [arguments[: len(case.arguments[0])], *arguments[len(case.arguments[0]) :]] if listed else arguments
    return function(*shaped, **case.options)


def on_engine(engine, x):
    return engine.asarray(x, dtype="bool" if x.dtype == bool else None) if isinstance(x, np.ndarray) else x


def check_value(engine, case):
    held = [x.copy() if isinstance(x, np.ndarray) else x for x in flat(case.arguments)]
    given = [on_engine(engine, x) for x in held]
    found = engine.to_numpy(apply(getattr(engine.xp, case.word), case, given))
    expected = np.asarray(apply(case.numpy, case, flat(case.arguments)))
    if found.dtype.kind == "f":
        wanted = case.arguments[1] if case.word == "astype" else engine.dtype
        assert found.dtype == wanted, f"{case.word} returns {found.dtype}, expected {wanted}"
        assert_close(found, expected, 1e-14 if engine.dtype == "float64" else 1e-6, case.word)
    else:
        assert found.dtype.kind == expected.dtype.kind, f"{case.word}: {found.dtype}, expected {expected.dtype}"
        np.testing.assert_array_equal(found, expected)
    for x, given_x in zip(flat(case.arguments), given):
        if isinstance(x, np.ndarray):
            x = x.astype(engine.dtype) if is_float(x) else x
            np.testing.assert_array_equal(engine.to_numpy(given_x), x, "an input was written")


def gradients(engine, case):
    """The engine's gradients of a random weighting of the word's result by all its float arguments, and the weights."""
    arguments = flat(case.arguments)
    moving = [i for i, x in enumerate(arguments) if is_float(x)]
    shape = np.asarray(apply(case.numpy, case, arguments)).shape
    weights = normal(*shape, seed=9)
    found = []
    for wanted in moving:  # by one argument at a time, the others constant

        def loss(x, *others, wanted=wanted):
            given = iter(others)
            mixed = [x if i == wanted else next(given) if i in moving else on_engine(engine, a)
                     for i, a in enumerate(arguments)]  # fmt: skip
            result = apply(getattr(engine.xp, case.word), case, mixed)
            return engine.xp.sum(result * engine.asarray(weights)), ()

        others = [engine.asarray(arguments[i]) for i in moving if i != wanted]
        _, _, grad = engine.value_and_grad(loss, engine.asarray(arguments[wanted]), *others)
        found.append(engine.to_numpy(grad))
    return moving, weights, found


def check_gradient(engine, case):
    arguments = flat(case.arguments)
    moving, weights, found = gradients(engine, case)
    assert moving, "a case of a differentiable word has a float argument"
    for wanted, grad in zip(moving, found):
        x = arguments[wanted]

        def loss(moved, wanted=wanted):
            return float(
                (apply(smooth(case), case, [*arguments[:wanted], moved, *arguments[wanted + 1 :]]) * weights).sum()
            )

        expected = np.zeros_like(x) if case.word == "stop_gradient" else differences(loss, x)
        assert grad.dtype == engine.dtype
        assert_close(grad, expected, 2e-8, f"{case.word}, argument {wanted}")


def smooth(case):
    """The function for finite differences: for a spike, the oracle's antiderivative of its surrogate."""
    if case.word != "spike":
        return case.numpy
    return lambda u, surrogate: reference.SURROGATES[type(surrogate).__name__][1](u, **vars(surrogate))


@pytest.mark.parametrize("case", EVERY, ids=repr)
def test_value(engine, case):
    check_value(engine, case)


@pytest.mark.parametrize("case", EVERY, ids=repr)
def test_value_in_float32(engine32, case):
    check_value(engine32, case)


@pytest.mark.parametrize("case", word_cases.DIFFERENTIABLE, ids=repr)
def test_gradient(engine, case):
    check_gradient(engine, case)


def test_every_word_has_a_case(engine):
    """A word without a case, or an engine with other words than these, fails here."""
    assert {case.word for case in word_cases.DIFFERENTIABLE} == set(words.DIFFERENTIABLE)
    assert {case.word for case in word_cases.CONSTANT} == set(words.PIECEWISE_CONSTANT)
    assert {case.word for case in word_cases.CREATION} == set(words.CREATION)
    assert {name for name in dir(engine.xp) if not name.startswith("_")} == set(words.WORDS)


@pytest.mark.parametrize(
    "case", word_cases.CONSTANT[:1] + [c for c in word_cases.CONSTANT if c.word in ("round", "sign")], ids=repr
)
def test_piecewise_constant_words_pass_no_gradient(engine, case):
    """The word next to x itself: what remains is the derivative of x alone."""

    def loss(x):
        others = [engine.asarray(a) if is_float(a) else a for a in case.arguments[1:]]
        flagged = engine.xp.astype(getattr(engine.xp, case.word)(x, *others), engine.dtype)
        return engine.xp.sum(x * engine.stop_gradient(flagged) + 0.0 * flagged + x), ()

    x = engine.asarray(case.arguments[0])
    _, _, grad = engine.value_and_grad(loss, x)
    others = [engine.asarray(a) if is_float(a) else a for a in case.arguments[1:]]
    expected = engine.to_numpy(getattr(engine.xp, case.word)(x, *others)) + 1.0
    assert_close(engine.to_numpy(grad), expected)


KINKS = {  # word, arguments, gradient of the sum by the first
    "abs at 0": ("abs", ([0.0, -2.0],), [0.0, -1.0]),
    "clip inclusive": ("clip", ([-1.0, 0.0, 0.5, 1.0, 2.0], 0.0, 1.0), [0.0, 1.0, 1.0, 1.0, 0.0]),
    "maximum shares": ("maximum", ([1.0, 2.0, 0.0], [1.0, 1.0, 1.0]), [0.5, 1.0, 0.0]),
    "minimum shares": ("minimum", ([1.0, 2.0, 0.0], [1.0, 1.0, 1.0]), [0.5, 0.0, 1.0]),
    "max shares evenly": ("max", ([3.0, 1.0, 3.0, 3.0],), [1 / 3, 0.0, 1 / 3, 1 / 3]),
    "min shares evenly": ("min", ([1.0, 3.0, 1.0],), [0.5, 0.0, 0.5]),
    "max_pool takes the first": ("max_pool", ([[[2.0, 2.0, 0.0, 0.0]]], (2,), (2,), (0,)), [[[1.0, 0.0, 1.0, 0.0]]]),
}


def check_kink(engine, name):
    word, arguments, expected = KINKS[name]
    given = [engine.asarray(np.array(a)) if isinstance(a, list) else a for a in arguments]
    _, _, grad = engine.value_and_grad(lambda x: (engine.xp.sum(getattr(engine.xp, word)(x, *given[1:])), ()), given[0])
    assert_close(engine.to_numpy(grad), np.array(expected), 1e-15, name)


@pytest.mark.parametrize("name", KINKS)
def test_kinks_follow_the_convention(engine, name):
    check_kink(engine, name)


def test_log_softmax_does_not_overflow(engine32):
    x = engine32.asarray(np.array([[1e4, -1e4, 0.0]]))
    assert np.isfinite(engine32.to_numpy(engine32.xp.log_softmax(x, axis=1))).all()


def test_operators_are_the_words(engine):
    """x op y is the word, on plain arrays and recorded ones, from both sides."""
    a, b = (engine.asarray(np.array(v)) for v in ([1.5, -2.0, 3.0], [0.5, -2.0, -1.0]))

    def every(x, y):
        xp = engine.xp
        pairs = [(x + y, xp.add(x, y)), (2.0 + x, xp.add(x, 2.0)),
                 (x - y, xp.subtract(x, y)), (2.0 - x, xp.negative(x - 2.0)),
                 (x * y, xp.multiply(x, y)), (2.0 * x, xp.multiply(x, 2.0)), (x / y, xp.divide(x, y)),
                 (1.0 / x, xp.divide(1.0, x)), (x**2, xp.pow(x, 2)), (-x, xp.negative(x)), (abs(x), xp.abs(x)),
                 (x > y, xp.greater(x, y)), (x >= y, xp.greater_equal(x, y)), (x < y, xp.less(x, y)),
                 (x <= y, xp.less_equal(x, y)), (x == y, xp.equal(x, y)), (x != y, xp.not_equal(x, y)),
                 ((x > 0) & (y > 0), xp.logical_and(x > 0, y > 0)), ((x > 0) | (y > 0), xp.logical_or(x > 0, y > 0)),
                 (~(x > 0), xp.logical_not(x > 0)), (x[1:], xp.take_slice(x, slice(1, None)))]  # fmt: skip
        return xp.sum(x), pairs

    for pairs in (every(a, b)[1], engine.value_and_grad(every, a, b)[1]):
        for got, expected in pairs:
            np.testing.assert_array_equal(engine.to_numpy(got), engine.to_numpy(expected))


def test_gradients_add_up_over_uses(engine):
    """x used three ways, and once not at all."""

    def loss(held):
        return engine.xp.sum(held["x"] * held["x"] + math.pi * held["x"]), ()

    from spikecore.api.core.tree import Tree

    x = normal(4)
    _, _, grads = engine.value_and_grad(loss, Tree(x=engine.asarray(x), unused=engine.asarray(x)))
    assert_close(engine.to_numpy(grads.x), 2 * x + math.pi)
    assert_close(engine.to_numpy(grads.unused), 0 * x)
