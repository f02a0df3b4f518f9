"""A neuron and the few sums over its spikes behind it, in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten, map_leaves
from tests.kernels.kernel_checks import L

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
from spikecore.kernels import readout  # noqa: E402

#: All that is learned has one value per neuron: a single one's gradient is a sum over everything that may come out near
#: zero, and its rounding is no small part of it then.
NEURONS = [
    sc.Leaky(beta=L(0.8, per="neuron"), threshold=L(0.5, per="neuron"), graded_spikes_factor=L(1.5, per="neuron")),
    sc.Synaptic(alpha=0.6, beta=L(0.7, per="neuron"), threshold=0.5, reset_mechanism="zero"),
    sc.ALIF(beta=0.8, rho=0.9, adaptation=L(1.0, per="neuron"), threshold=0.4),
]
CLOSE = {"float32": 3e-6, "float64": 1e-13}  # of the largest: sums in another order


def run(
    engine, layer, steps=9, batch=6, n=100, outs=10, bias=True, constant=False, window=None, start=False, of="both"
):
    """Outputs, final states, and gradients of a random functional of both by everything."""
    net, draw = sc.Sequential(layer, sc.Linear(n, outs, bias)), np.random.default_rng(0)
    init = net.init(Key((0,)), (n,))
    state = {name: draw.random((batch, n)) * 0.1 for name in layer.state}
    held = Tree(
        params=map_leaves(engine.asarray, init.params),
        x=engine.asarray(draw.random((1 if constant else steps, batch, n)) * 0.7),
        state=map_leaves(engine.asarray, sc.base.State({"0": sc.base.State(state)})),
    )
    by_out, by_state = (engine.asarray(draw.random(s)) for s in ((steps, batch, outs), (batch, n)))

    def function(held, by_out, by_state):
        option = Pass(engine, steps if constant else None, window=window)
        out = net.run(option, held.params, Tree(), held.state if start else None, held.x)
        final = [value for _, value in flatten(out.state).items()]
        value = engine.xp.sum(by_out * out.outputs) if of != "state" else 0.0
        for one in final if of != "outputs" else ():
            value = value + engine.xp.sum(by_state * one)
        return value, (out.outputs, final)

    _, (outputs, final), grads = engine.value_and_grad(function, held, by_out, by_state)
    host = engine.to_numpy
    return host(outputs), [host(s) for s in final], {name: host(g) for name, g in flatten(grads).items()}


def check(dtype, layer, name="numpy", **options):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    one_by_one, at_once = (run(sc.get_engine(name, dtype=dtype, fused=f), layer, **options) for f in (False, True))
    assert all(np.array_equal(a, b) for a, b in zip(one_by_one[1], at_once[1]))
    for a, b in ((one_by_one[0], at_once[0]), *((g, at_once[2][field]) for field, g in one_by_one[2].items())):
        assert a.shape == b.shape
        assert abs(a - b).max() <= CLOSE[dtype] * max(abs(a).max(), 1e-3)
    return one_by_one


# Each neuron and dtype is a kernel that takes seconds to compile: one neuron in float64 shows what the dtype changes.
KERNELS = [
    pytest.param(layer, dtype, marks=pytest.mark.slow if dtype == "float64" and layer is not NEURONS[0] else ())
    for layer in NEURONS
    for dtype in ("float32", "float64")
]


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("layer", "dtype"), KERNELS, ids=lambda each: each if type(each) is str else type(each).__name__
)
def test_equals_spikes_times_weight(narrowly, layer, name, dtype):
    _, _, grads = check(dtype, layer, name)
    assert len(narrowly) == 1
    assert all(np.any(g) for field, g in grads.items() if not field.startswith("state"))


#: Odd and even steps, one step, more than a block of them; rows that are one chunk, several, and not a multiple of
#: those done at once; widths that end with whole vectors, that do not, and that are a page.
SIZES = [(1, 1, 64, 1), (2, 5, 65, 10), (17, 3, 100, 1), (33, 9, 1000, 10), (4, 2, 1024, 16), (3, 3, 8192, 10)]
# Each number of outputs is a kernel of its own, and so is an input that does not move: by default that one has ten.
CASES = [
    pytest.param(*size, constant, marks=pytest.mark.slow if constant and size[-1] != 10 else (), id=f"{size}-{how}")
    for size in SIZES
    for constant, how in ((False, "moving"), (True, "constant"))
]


@pytest.mark.parametrize(("steps", "batch", "n", "outs", "constant"), CASES)
def test_any_size(narrowly, steps, batch, n, outs, constant):
    options = {"steps": steps, "batch": batch, "n": n, "outs": outs}
    check("float32", sc.Leaky(beta=0.8, threshold=0.5), constant=constant, **options)
    assert len(narrowly) == 1


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 40), batch=st.integers(1, 70), n=st.integers(64, 300),
    window=st.sampled_from((None, 1, 3, 16)), start=st.booleans(),
)  # fmt: skip
def test_drawn_sizes(steps, batch, n, window, start):
    check("float32", NEURONS[0], steps=steps, batch=batch, n=n, window=window, start=start)


@pytest.mark.parametrize("of", ["outputs", "state"])
def test_what_a_loss_does_not_read_has_no_gradient(of):
    check("float32", sc.Leaky(beta=0.8, threshold=0.5), of=of)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_without_a_bias(narrowly, name):
    _, _, grads = check("float32", sc.Leaky(beta=0.8, threshold=0.5), name, bias=False)
    assert len(narrowly) == 1
    assert "params.1.bias" not in grads


@pytest.mark.parametrize(("n", "outs"), [(63, 10), (8193, 10), (100, 17)])
def test_other_sizes_are_left_to_libraries(narrowly, n, outs):
    check("float32", sc.Leaky(beta=0.8, threshold=0.5), n=n, outs=outs)
    assert not narrowly


def test_neurons_that_have_no_such_kernel(narrowly):
    check("float32", sc.RLeaky(beta=0.7, linear_features=70, threshold=0.5), n=70)
    check("float32", sc.StateLeaky(beta=0.7, threshold=0.5))
    assert not narrowly


class Doubled(sc.Linear):
    """A connection of a user's own."""

    def apply(self, *arguments, **options):
        y, buffers = super().apply(*arguments, **options)
        return 2.0 * y, buffers


class Halting(sc.Leaky):
    """A neuron whose run does something else."""

    def run(self, run, params, buffers, state, x):
        return super().run(run, params, buffers, state, 0.0 * x)


def test_layers_of_a_users_own_are_called(narrowly):
    engine, x = sc.get_engine("numpy", fused=True), np.random.default_rng(0).random((7, 3, 100)).astype("float32")
    leaky, linear = sc.Leaky(beta=0.8, threshold=0.5), sc.Linear(100, 10, bias=False)

    def outputs(*layers):
        net = sc.Sequential(*layers)
        params = map_leaves(engine.asarray, net.init(Key((0,)), (100,)).params)
        return net.run(Pass(engine), params, Tree(), None, x).outputs

    assert np.allclose(outputs(leaky, Doubled(100, 10, bias=False)), 2.0 * outputs(leaky, linear), rtol=1e-4)
    assert not outputs(Halting(beta=0.8, threshold=0.5), linear).any()
    assert len(narrowly) == 1


def test_bits_do_not_depend_on_the_number_of_threads():
    import numba

    from spikecore.kernels.runtime.openmp import use_threads

    engine, found = sc.get_engine("numpy", fused=True), []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        use_threads(count)
        outputs, _, grads = run(engine, NEURONS[0], batch=37, n=300)
        found.append({"outputs": outputs, **grads})
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_recorded_spikes_are_there(narrowly):
    engine = sc.get_engine("numpy", fused=True)
    net = sc.Sequential(sc.Leaky(beta=0.8, threshold=0.5), sc.Linear(100, 10))
    x = np.random.default_rng(0).random((7, 3, 100)).astype("float32")
    params = map_leaves(engine.asarray, net.init(Key((0,)), (100,)).params)
    plain, seen = (net.run(Pass(engine, record=r), params, Tree(), None, x) for r in ((), True))
    assert len(narrowly) == 1
    spikes = seen.recorded["0"].spikes
    assert set(np.unique(spikes)) == {0.0, 1.0}
    assert np.allclose(spikes @ params["1"].weight.T + params["1"].bias, plain.outputs, atol=1e-5)


@dataclass(frozen=True)
class Rows(sc.base.Neuron):
    """A state whose name the kernels' source uses, too."""

    state: ClassVar[tuple] = ("row",)

    def step(self, engine, params, state, x):
        row = 0.9 * state.row + x
        fired = self.fires(engine, params, row)
        return fired, sc.base.State(row=row - fired)


def test_a_state_may_be_called_anything(narrowly):
    check("float32", Rows())
    assert len(narrowly) == 1


def test_no_sample(narrowly):
    outputs, _, grads = run(sc.get_engine("numpy", fused=True), sc.Leaky(beta=0.8), batch=0)
    assert outputs.shape == (9, 0, 10)
    assert not any(np.any(g) for g in grads.values())
    assert not narrowly


def test_many_samples_are_summed_in_some_parts(narrowly):
    """More chunks than parts, parts of unequal size, and the same bits on all threads."""
    import numba

    from spikecore.kernels.runtime.openmp import use_threads

    options = {"steps": 3, "batch": 37, "n": 2100, "outs": 10}
    assert readout.Multiply(10).chunk_of((37, 2100)) == 2100
    found = []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        use_threads(count)
        check("float64", NEURONS[0], **options)
        found.append(run(sc.get_engine("numpy", dtype="float64", fused=True), NEURONS[0], **options)[2])
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_what_memory_held_before_does_not_matter(monkeypatch):
    empty = readout.allocator.empty

    def full(shape, dtype):
        found = empty(shape, dtype)
        found[...] = 3e38
        return found

    monkeypatch.setattr(readout.allocator, "empty", full)
    check("float32", sc.Leaky(beta=0.8, threshold=0.5), steps=1, batch=200, n=65)  # warnings are errors here
