"""Steps that write into arrays: refused where others have the array as well, the same on each engine, else computed."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.tree import State

X, Y = np.random.default_rng(0).random((3, 2, 5)).astype("f"), np.array([0, 1])
HAS_NUMBA = importlib.util.find_spec("numba") is not None


class InPlace(sc.base.Neuron):
    """A step that edits its state in place, as a loop of one's own may."""

    state = ("mem",)

    def step(self, engine, params, state, x):
        mem = state.mem
        mem *= 0.5
        mem += x
        return engine.spike(mem - params.threshold, self.surrogate), State(mem=mem)


class InputInPlace(InPlace):
    def step(self, engine, params, state, x):
        x += 0.5 * state.mem
        return engine.spike(x - params.threshold, self.surrogate), State(mem=x)


class ParameterInPlace(InPlace):
    def step(self, engine, params, state, x):
        threshold = params.threshold
        threshold *= 0.9
        mem = 0.5 * state.mem + x
        return engine.spike(mem - threshold, self.surrogate), State(mem=mem)


class OwnInPlace(InPlace):
    """The array that changes is the step's own, under two names."""

    def step(self, engine, params, state, x):
        mem = 0.5 * state.mem
        old = mem
        mem += x
        mem -= 0.25 * old
        return engine.spike(mem - params.threshold, self.surrogate), State(mem=mem)


class OutOfPlace(InPlace):
    """The same as ``OwnInPlace``."""

    def step(self, engine, params, state, x):
        mem = 0.5 * state.mem + x
        mem = mem - 0.25 * mem
        return engine.spike(mem - params.threshold, self.surrogate), State(mem=mem)


class OwnFlagsInPlace(InPlace):
    """Of flags, too."""

    def step(self, engine, params, state, x):
        mem = 0.5 * state.mem + x
        far = mem > 0.4
        old = far
        far |= mem < 0.1
        far &= mem > -0.3
        mem = engine.xp.where(old, 0.25 * mem, mem)
        return engine.spike(mem - params.threshold, self.surrogate), State(mem=mem)


class FlagsOutOfPlace(InPlace):
    """The same as ``OwnFlagsInPlace``."""

    def step(self, engine, params, state, x):
        mem = 0.5 * state.mem + x
        mem = engine.xp.where(((mem > 0.4) | (mem < 0.1)) & (mem > -0.3), 0.25 * mem, mem)
        return engine.spike(mem - params.threshold, self.surrogate), State(mem=mem)


WRONG = {InPlace: "the state 'mem'", InputInPlace: "its input", ParameterInPlace: "the parameter 'threshold'"}


def model_of(neuron, name, fused):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    if fused and not HAS_NUMBA:
        pytest.skip("Numba is not installed (extra 'kernels')")
    layers = sc.Sequential(sc.Linear(5, 4), neuron(threshold=sc.learn(0.5)))
    return sc.Model(layers, sc.get_engine(name, fused=fused, dtype="float64"), seed=0)


@pytest.mark.parametrize("fused", [False, "auto"])
@pytest.mark.parametrize("neuron", WRONG, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_step_that_writes_into_what_it_gets_is_refused(name, neuron, fused):
    """Records of a loop would all be the last one, without a word, and a parameter would shrink at each step."""
    what = "its input, a state or a parameter" if name == "numpy" else WRONG[neuron]
    with pytest.raises(TypeError, match=rf"{neuron.__name__}\.step writes into {what}, .*: make a new array"):
        model_of(neuron, name, fused)(X)


@pytest.mark.parametrize("neuron", WRONG, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_kernel_refuses_it_too(name, neuron):
    with pytest.raises(RuntimeError, match=r"fused=True, but .*: it writes into an array that others have as well"):
        model_of(neuron, name, True)(X)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_numbers_do_not_go_into_an_array_of_flags(name):
    """As on plain arrays, which raise."""

    class FlagInPlace(InPlace):
        def step(self, engine, params, state, x):
            above = x > 0.0
            above *= 0.5
            return engine.spike(state.mem - params.threshold, self.surrogate), State(mem=state.mem + above)

    with pytest.raises(RuntimeError, match="fused=True, but .*: it writes float values into an array of bool values"):
        model_of(FlagInPlace, name, True)(X)


def test_a_module_refuses_it_too():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    nn = importlib.import_module("spikecore.nn")
    with pytest.raises(TypeError, match="InPlace.step writes into the state 'mem'"):
        nn.module(InPlace())(torch.rand(2, 4))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("pair", [(OwnInPlace, OutOfPlace), (OwnFlagsInPlace, FlagsOutOfPlace)])
def test_a_step_may_change_an_array_of_its_own(pair, name, fused):
    """All names of the array see the change, in kernels and on the way back as on plain arrays."""
    results = []
    for neuron in pair:
        model = model_of(neuron, name, fused)
        loss, gradients = model.value_and_grad(X, Y, loss=sc.functional.ce_rate_loss())
        results.append([float(loss), *(np.asarray(model.engine.to_numpy(g)) for g in dict(gradients).values())])
    assert any(np.abs(g).max() > 0.0 for g in results[0][1:])
    for mine, theirs in zip(*results):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


def test_a_view_on_a_tape_is_not_changed_in_place():
    """Its owner would have to change as well."""

    class ViewInPlace(InPlace):
        def step(self, engine, params, state, x):
            mem = 0.5 * state.mem + x
            half = mem[..., :2]
            half += 1.0
            return engine.spike(mem - params.threshold, self.surrogate), State(mem=mem)

    with pytest.raises(TypeError, match="cannot change in place here"):
        model_of(ViewInPlace, "numpy", False).value_and_grad(X, Y, loss=sc.functional.ce_rate_loss())
