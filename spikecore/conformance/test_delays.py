"""Delays against their equation, written as loops; their derivatives against differences; sequence, steps, streams."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass, ShapeError
from spikecore.api.core.tree import Params, State, Tree, flatten
from spikecore.conformance import cases
from spikecore.conformance.rig import (
    assert_close,
    assert_trees_close,
    differences,
    differentiate,
    error,
    host,
    normal,
    on,
    run,
)

CASES = pytest.mark.parametrize("case", cases.DELAYS, ids=repr)
STEADY = [case for case in cases.DELAYS if case.layer.anneal is None]


def width(layer, batches=0):
    if layer.anneal is None:
        return layer.sigma
    return layer.sigma_start * (layer.sigma / layer.sigma_start) ** min(1.0, batches / layer.anneal)


def tap(layer, k, d, batches=0):
    """The weights of the inputs of k steps ago for delays d, as the papers write them."""
    if layer.kernel == "linear":
        return np.maximum(0.0, 1.0 - abs(k - d))
    bell = [np.exp(-((i - d) ** 2) / (2.0 * width(layer, batches) ** 2)) for i in range(layer.longest + 1)]
    return bell[k] / sum(bell)


def delay_oracle(layer, params, x, batches=0):
    each = params["delay"] if "delay" in params else layer.delays(params)
    y = np.zeros_like(x)
    for k in range(min(len(x) - 1, layer.longest) + 1):
        for t in range(k, len(x)):
            y[t] += tap(layer, k, each, batches) * x[t - k]
    return y


def linear_oracle(layer, params, x, batches=0):
    y = np.zeros((*x.shape[:2], layer.out_features)) + params.get("bias", 0.0)
    for k in range(min(len(x) - 1, layer.longest) + 1):
        for t in range(k, len(x)):
            y[t] += x[t - k] @ (params["weight"] * tap(layer, k, params["delay"], batches)).T
    return y


def conv_oracle(layer, params, x, batches=0):
    """Each weight of the kernel multiplies the inputs at its own place and time; padded zeros are written out."""
    space, stride, dilation = x.ndim - 3, layer.stride, layer.dilation
    x = np.pad(x, ((0, 0),) * 3 + tuple((p, p) for p in layer.padding))
    sizes = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[3:], layer.kernel_size, stride, dilation)]
    y = np.zeros((*x.shape[:2], layer.out_channels, *sizes))
    y += params.get("bias", np.zeros(layer.out_channels)).reshape(-1, *(1,) * space)
    ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for out, i, *place in np.ndindex(*params["weight"].shape):
        corner = [p * d for p, d in zip(place, dilation)]
        window = tuple(slice(c, c + s * (n - 1) + 1, s) for c, s, n in zip(corner, stride, sizes))
        seen = x[(slice(None), slice(None), out // outs * ins + i, *window)]
        for k in range(min(len(x) - 1, layer.longest) + 1):
            weight = params["weight"][(out, i, *place)] * tap(layer, k, params["delay"][(out, i, *place)], batches)
            y[k:, :, out] += weight * seen[: len(x) - k]
    return y


def oracle(layer, *arguments):
    if isinstance(layer, sc.Delay):
        return delay_oracle(layer, *arguments)
    return (linear_oracle if isinstance(layer, sc.DelayedLinear) else conv_oracle)(layer, *arguments)


def first(case):
    return case.layer.init(Key((0, "weights")), case.shape).params


def check_equation(engine, case):
    x, params = normal(9, 3, *case.shape), first(case)
    assert_close(run(engine, case.layer, x).outputs, oracle(case.layer, params, x), 1e-12, "outputs")


@CASES
def test_outputs_follow_the_equation(engine, case):
    check_equation(engine, case)


def check_gradients(engine, case):
    """By weights, delays and inputs: central differences of the oracle, not of the code."""
    x, params = normal(6, 1, *case.shape), first(case)
    _, found = differentiate(engine, case.layer, x, weigh=("outputs",))
    cotangent = normal(*run(engine, case.layer, x).outputs.shape, seed=1)

    def value(**changed):
        held = {**params, **changed}
        return float((oracle(case.layer, held, changed.get("inputs", x)) * cotangent).sum())

    for name, leaf in {**params, "inputs": x}.items():
        expected = differences(lambda a, name=name: value(**{name: a}), leaf)
        assert error(found.inputs if name == "inputs" else found.params[name], expected) <= 1e-6, name


@CASES
def test_gradients_are_those_of_the_equation(engine, case):
    check_gradients(engine, case)


@pytest.mark.parametrize("case", STEADY, ids=repr)
def test_steps_are_the_sequence(engine, case):
    x, params = normal(9, 3, *case.shape), on(engine, first(case))
    whole = run(engine, case.layer, x)
    ready = case.layer.prepare(engine, params)
    state, found = case.layer.rest(engine, ready, engine.asarray(x[0])), []
    for step in x:
        y, state = case.layer.step(engine, ready, state, engine.asarray(step))
        found.append(engine.to_numpy(y))
    assert_close(np.stack(found), whole.outputs, 1e-13)
    assert_trees_close(host(engine, state), whole.state, 0.0)


def check_window(engine, case):
    """No gradient crosses the borders of windows: as if each were a run from a constant state."""
    x, params = normal(7, 1, *case.shape), first(case)
    cotangent = normal(*run(engine, case.layer, x).outputs.shape, seed=1)
    _, found = differentiate(engine, case.layer, x, window=3, weigh=("outputs",))
    assert_close(run(engine, case.layer, x, window=3).outputs, run(engine, case.layer, x).outputs, 1e-13)
    for begin in (0, 3, 6):
        part = slice(begin, begin + 3)

        def value(inputs, part=part):
            held = x.copy()
            held[part] = inputs
            return float((oracle(case.layer, params, held) * cotangent)[part].sum())

        assert error(found.inputs[part], differences(value, x[part])) <= 1e-6


@pytest.mark.parametrize("case", [cases.DELAYS[2], cases.DELAYS[5]], ids=repr)
def test_windows_cut_gradients(engine, case):
    check_window(engine, case)


def check_annealing(engine):
    """The width shrinks with each training batch, and not otherwise; it is a buffer, so files have it."""
    case = next(case for case in cases.DELAYS if case.layer.anneal)
    x, params, buffers = normal(9, 3, *case.shape), first(case), case.layer.init(Key((0,)), case.shape).buffers
    for batches in range(6):
        assert run(engine, case.layer, x, buffers=buffers).buffers.batches == batches
        found = run(engine, case.layer, x, buffers=buffers, train=True)
        assert_close(found.outputs, oracle(case.layer, params, x, batches), 1e-12)
        buffers = found.buffers


def test_the_width_is_annealed(engine):
    check_annealing(engine)


def test_an_annealed_width_refuses_single_steps(engine):
    layer = sc.DelayedLinear(5, 3, 4, kernel="gaussian", sigma_start=3.0, anneal=4)
    with pytest.raises(
        ValueError, match=r"DelayedLinear has an annealed width: .*sc.compression.round_delays\(model\) ends"
    ):
        layer.prepare(engine, on(engine, layer.init(Key((0,)), (5,)).params))


@pytest.mark.parametrize("layer", [sc.Delay(sc.learn(1.0), max_delay=3), sc.DelayedLinear(1, 1, 3)])
@pytest.mark.parametrize(
    ("delay", "slope"),
    [(0.0, (-1, 1)), (1.0, (0, -1, 1)), (3.0, (0, 0, -1, 1)), (3.5, (0, 0, 1, -1)), (-1.5, (0, 1, -1)), (-9, ())],
)
def test_the_derivative_at_whole_steps(engine, layer, delay, slope):
    """It is one-sided, also at both ends, and the other way round beyond them, where delays are mirrored."""
    params = layer.init(Key((0,)), (1,)).params
    params = Params({name: np.full(leaf.shape, delay if name == "delay" else 1.0) for name, leaf in params.items()})
    x = np.zeros((5, 1, 1))
    x[0] = 1.0
    for step in range(4):

        def value(held, step=step):
            y = layer.run(Pass(engine), held, Tree(), None, engine.asarray(x)).outputs
            return engine.xp.sum(y[step, ...]), ()

        grads = engine.value_and_grad(value, on(engine, params))[2]
        assert float(engine.to_numpy(grads.delay).sum()) == (slope[step] if step < len(slope) else 0.0)


def test_a_wrong_state_is_refused(engine):
    with pytest.raises(ShapeError, match=r"Delay: state 'past' has shape \(3, 1, 5\), expected \(3, 2, 5\)"):
        run(engine, sc.Delay(2), normal(4, 3, 5), state=State(past=normal(3, 1, 5)))


def test_no_delay_is_the_identity(engine):
    x = normal(4, 3, 5)
    found = run(engine, sc.Delay(0), x)
    np.testing.assert_array_equal(found.outputs, x)
    assert not flatten(found.state)
