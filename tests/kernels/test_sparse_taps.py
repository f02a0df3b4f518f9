"""Convolutions with pruned weights by their entries: equal to dense ones, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.tree import flatten
from spikecore.api.training.executor import executor_from

pytest.importorskip("numba", reason="Numba is not installed")

from spikecore.kernels.sparse import kept_taps, maps, taps  # noqa: E402
from spikecore.kernels.sparse import product as sparse  # noqa: E402

CLOSE = {"float32": 1e-5, "float64": 1e-13}
DTYPES = ["float32", "float64"]
ENGINES = ["torch", "numpy"]


def near(a, b, dtype):
    return a.shape == b.shape and np.abs(a - b).max(initial=0.0) <= CLOSE[dtype] * max(1.0, np.abs(b).max(initial=0.0))


def weights(draw, shape, rate, dtype):
    return (draw.normal(size=shape) * (draw.random(shape) < rate)).astype(dtype)


def ordered(x, last):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x


def dense(x, weight, bias, padding, dilation, g):
    """The convolution, and its gradient by x, of the NumPy engine's loop in float64."""
    engine = sc.get_engine("numpy", dtype="float64", fused=False)
    axes = x.ndim - 2

    def function(p):
        y = engine.xp.conv(p["x"], weight.astype("float64"), bias.astype("float64"), (1,) * axes, padding, dilation, 1)
        return engine.xp.sum(y * g), y

    _, y, grads = engine.value_and_grad(function, sc.base.Params({"x": x.astype("float64")}))
    return y, grads["x"]


GEOMETRIES = st.tuples(
    st.integers(1, 4), st.integers(1, 130), st.integers(1, 20), st.integers(1, 3), st.integers(1, 2), st.integers(0, 9)
)


@settings(max_examples=25, deadline=None)
@given(GEOMETRIES, st.sampled_from(DTYPES), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]))
def test_convolutions_by_entries_equal_dense_ones(geometry, dtype, last, flat, rate):
    samples, channels, filters, kernel, dilation, seed = geometry
    draw = np.random.default_rng(seed)
    axes = 1 if flat else 2
    space = tuple(int(n) for n in draw.integers(5, 14, axes))
    padding = tuple(int(n) for n in draw.integers(0, dilation * (kernel - 1) + 1, axes))
    x = draw.normal(size=(samples * 3, channels, *space)).astype(dtype)
    weight, bias = weights(draw, (filters, channels, *(kernel,) * axes), rate, dtype), draw.normal(size=filters)
    bias, spread = bias.astype(dtype), (padding, (dilation,) * axes)
    out = taps.convolved(ordered(x, last), weight, bias, *spread, last)
    g = draw.normal(size=out.shape).astype(dtype)
    y, by_x = dense(x, weight, bias, *spread, g)
    assert near(out, y, dtype)
    assert near(taps.by_input(ordered(g, last), weight, *spread, not last), by_x, dtype)


def test_threads_do_not_change_a_bit():
    from spikecore.kernels.runtime.openmp import most_threads, use_threads

    draw, before, found = np.random.default_rng(0), most_threads(), []
    x, weight = draw.normal(size=(3, 9, 12, 12)), weights(draw, (40, 9, 3, 3), 0.1, "float64")
    try:
        for threads in (1, 2, 3):
            use_threads(threads)
            found.append(taps.convolved(x, weight, None, (1, 1), (1, 1)))
    finally:
        use_threads(before)
    assert all(np.array_equal(one, found[0]) for one in found)


@pytest.mark.parametrize("input_", ["spikes by lists", "spikes by entries", "dense", "counts"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ENGINES)
def test_an_engines_convolutions_and_gradients(monkeypatch, name, dtype, input_):
    """A weight of zero has its gradient, too: it may be zero by accident, and learn."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    made = []
    monkeypatch.setattr(taps, "LEAST", 0)
    monkeypatch.setattr(maps, "LEAST", 0)
    monkeypatch.setattr(maps, "WORTH", 0)
    monkeypatch.setattr(maps, "_forward", lambda *_: 1e9 if input_ in ("dense", "counts") else 0.0)
    monkeypatch.setattr(taps, "relative_time", lambda *_: -1.0 if input_ == "spikes by entries" else 0.5)
    for function in ("convolved", "by_input"):
        whole = getattr(taps, function)
        monkeypatch.setattr(taps, function, lambda *a, f=function, whole=whole: made.append(f) or whole(*a))
    draw = np.random.default_rng(0)
    if name == "torch":  # it keeps bytes of large maps of small numbers
        monkeypatch.setattr("spikecore.engines.torch.convolution.LARGE", 0)
    x = draw.normal(size=(6, 5, 9, 8)) if input_ == "dense" else draw.random((6, 5, 9, 8)) < 0.2
    x = draw.integers(0, 4, x.shape) if input_ == "counts" else x
    arrays = {
        "x": x.astype(dtype),
        "w": weights(draw, (7, 5, 3, 3), 0.1, dtype),
        "b": draw.normal(size=7).astype(dtype),
    }
    g, found = draw.normal(size=(6, 7, 9, 8)), []
    for fused in ("auto", False):
        engine = sc.get_engine(name, dtype=dtype, fused=fused)

        def function(p, engine=engine):
            y = engine.xp.conv(p["x"], p["w"], p["b"], (1, 1), (1, 1), (1, 1), 1)
            return engine.xp.sum(y * engine.asarray(g)), y

        held = sc.base.Params({k: engine.asarray(v) for k, v in arrays.items()})
        _, y, grads = engine.value_and_grad(function, held)
        found.append([engine.to_numpy(v) for v in (y, *(grads[k] for k in arrays))])
    forwards = [] if input_ == "spikes by lists" else ["convolved"]
    assert made == [*forwards, "by_input", "convolved"]  # the gradient by the input is a convolution, too
    assert np.count_nonzero(found[0][2]) == found[0][2].size
    for ours, theirs in zip(*found):
        assert near(ours, theirs, dtype)


@settings(max_examples=25, deadline=None)
@given(GEOMETRIES, st.sampled_from(DTYPES), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]))
def test_gradients_by_filters_are_the_dense_ones_where_a_tap_is(geometry, dtype, last, flat, rate):
    samples, channels, filters, kernel, dilation, seed = geometry
    draw, axes = np.random.default_rng(seed), 1 if flat else 2
    space, spread = tuple(int(n) for n in draw.integers(5, 14, axes)), (dilation,) * axes
    padding = tuple(int(n) for n in draw.integers(0, dilation * (kernel - 1) + 3, axes))
    x = (draw.random((samples * 20, channels, *space)) < 0.2).astype(dtype)
    weight = weights(draw, (filters, channels, *(kernel,) * axes), rate, dtype)
    usual = weight.shape, (1,) * axes, padding, spread, 1
    engine = sc.get_engine("numpy", dtype="float64", fused=False)
    g = draw.normal(size=engine.xp.conv(x, weight, None, *usual[1:]).shape).astype(dtype)

    def function(p):
        y = engine.xp.conv(x.astype("float64"), p["w"], None, *usual[1:])
        return engine.xp.sum(y * g), y

    *_, grads = engine.value_and_grad(function, sc.base.Params({"w": weight.astype("float64")}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("LEAST", 0), ("WORTH", -1e9), ("_forward", lambda *_: 0.0)):
            patch.setattr(maps, name, value)
        patch.setattr(kept_taps, "_time", lambda *_: -1.0)
        found = maps.spike_maps_of(ordered(x, last), *usual)
        with sparse.keeping([weight.ctypes.data]):
            made = kept_taps.by_kept_taps(found, weight, ordered(g, not last))
        assert (
            kept_taps.by_kept_taps(found, weight, ordered(g, not last)) is None
        )  # nobody said that its zeros are kept
    assert near(made, np.where(weight != 0, grads["w"], 0.0), dtype)


@pytest.mark.parametrize("name", ENGINES)
def test_a_training_that_keeps_zeros_makes_the_gradients_that_it_reads(monkeypatch, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    for module, part, value in (
        (maps, "LEAST", 0), (maps, "WORTH", -1e9), (maps, "_forward", lambda *_: 0.0), (taps, "LEAST", 0),
        (taps, "relative_time", lambda *_: 0.5), (kept_taps, "_time", lambda *_: -1.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, part, value)
    draw, found = np.random.default_rng(0), []
    x, y = (draw.random((10, 4, 3, 9, 8)) < 0.2).astype("float64"), draw.normal(size=(10, 4, 5, 9, 8))
    for fused, keep in ((True, True), (True, False), (False, True)):
        network, engine = sc.Sequential(sc.Conv2d(3, 5, 3, padding=1), sc.Leaky(beta=0.9)), name
        model = sc.Model(network, sc.get_engine(engine, dtype="float64", fused=fused), seed=0, input_shape=(3, 9, 8))
        sc.compression.prune(model, 0.8, scope="layer")
        loss = lambda out, y, xp=model.engine.xp: xp.sum(out.spikes * y)  # noqa: E731
        state = {**model.state(), "optimizer": {}, "step": 0}
        rule = sc.SGD(lr=0.1, keep_zeros=keep)
        executor, _ = executor_from(network, model.engine, (3, 9, 8), state, loss, rule)
        executor.add(x, y)
        found.append({k: model.engine.to_numpy(v) for k, v in flatten(executor.gradient()).items()})
    weight = model.params()["0.weight"]
    ours, whole, loop = (one["0.weight"] for one in found)
    assert np.array_equal(ours != 0, weight != 0)
    assert np.count_nonzero(whole) == whole.size
    for other in (whole, loop):
        assert near(ours, np.where(weight != 0, other, 0.0), "float64")


def test_only_pruned_filters_that_move_by_one_go_by_their_entries():
    draw = np.random.default_rng(0)
    weight, whole = weights(draw, (64, 64, 3, 3), 0.1, "float32"), np.ones((64, 64, 3, 3), "float32")
    shape, usual = (32, 64, 16, 16), ((1, 1), (1, 1), (1, 1), 1)
    assert taps.are_fewer(shape, weight, usual)
    assert not taps.are_fewer(shape, whole, usual)
    assert not taps.are_fewer(shape, weights(draw, weight.shape, 0.4, "float32"), usual)
    assert not taps.are_fewer((1, *shape[1:]), weight, usual)  # small
    assert not taps.are_fewer(shape, weight, ((2, 2), (1, 1), (1, 1), 1))
    assert not taps.are_fewer(shape, weight, ((1, 1), (3, 3), (1, 1), 1))  # more padding than the way back can have
    assert not taps.are_fewer((32, 128, 16, 16), weight, ((1, 1), (1, 1), (1, 1), 2))


def test_second_derivatives(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.convolution import conv

    monkeypatch.setattr(taps, "LEAST", 0)
    monkeypatch.setattr(taps, "relative_time", lambda *_: 0.0)
    draw = np.random.default_rng(0)
    weight = torch.from_numpy(weights(draw, (3, 2, 2, 2), 0.2, "float64")).requires_grad_()
    x = torch.from_numpy(draw.normal(size=(2, 2, 4, 3))).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, w: conv(x, w) ** 2, (x, weight))


@pytest.mark.parametrize("name", ENGINES)
def test_gradients_of_a_pruned_network_are_verified(monkeypatch, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.setattr(taps, "relative_time", lambda *_: 0.5)
    made, whole = [], taps.convolved
    monkeypatch.setattr(taps, "convolved", lambda *a: made.append(a[0].shape) or whole(*a))
    net = sc.Sequential(
        sc.Conv2d(1, 16, 3, padding=1), sc.Leaky(beta=0.9), sc.Conv2d(16, 16, 3, padding=1), sc.Leaky(beta=0.9),
        sc.Flatten(), sc.Linear(16 * 64, 10), sc.Leaky(beta=0.9),
    )  # fmt: skip
    model = sc.Model(net, name, seed=0, input_shape=(1, 8, 8))
    sc.compression.prune(model, 0.9, scope="layer")
    x = np.random.default_rng(0).random((16, 1, 8, 8), dtype="float32")
    assert sc.verify(model, x, np.arange(16) % 10, num_steps=5).ok
    assert made
