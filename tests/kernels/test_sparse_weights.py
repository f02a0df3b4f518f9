"""Products with pruned weights by their entries: equal to dense products, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc

pytest.importorskip("numba", reason="Numba is not installed")

from spikecore.kernels.sparse import (
    dots,  # noqa: E402
    pruned,  # noqa: E402
)
from spikecore.kernels.sparse import product as sparse  # noqa: E402  (it needs Numba to do anything)
from spikecore.kernels.sparse import weights as choice  # noqa: E402

CLOSE = {"float32": 1e-5, "float64": 1e-13}
DTYPES = ["float32", "float64"]
ENGINES = ["torch", "numpy"]


@pytest.fixture
def entries(monkeypatch):
    """Products of any size by the entries of what is mostly zeros; never by lists of spikes. The list of those made."""
    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr(sparse, "FEWEST", 0)
    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 2.0)
    monkeypatch.setattr(choice, "relative_time_of_entries", lambda *sizes: 2.0 if sizes[3] > 0.25 else 0.5)
    made, whole = [], pruned.entries
    monkeypatch.setattr(pruned, "entries", lambda matrix: made.append(matrix.shape) or whole(matrix))
    return made


def weights(draw, outs, inner, rate, dtype):
    return (draw.normal(size=(outs, inner)) * (draw.random((outs, inner)) < rate)).astype(dtype)


def near(a, b, dtype):
    return a.shape == b.shape and np.abs(a - b).max(initial=0.0) <= CLOSE[dtype] * max(1.0, np.abs(b).max(initial=0.0))


SHAPES = st.tuples(st.integers(0, 140), st.integers(1, 300), st.integers(1, 150), st.sampled_from([0.0, 0.1, 0.5, 1.0]))


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.booleans(), st.booleans(), st.integers(0, 99))
def test_products_by_entries_equal_dense_ones(shape, dtype, across, begun, seed):
    rows, inner, outs, rate = shape
    draw = np.random.default_rng(seed)
    matrix = weights(draw, outs, inner, rate, dtype)
    matrix = matrix.T if across else np.ascontiguousarray(matrix.T)
    left = draw.normal(size=(rows, inner + 3)).astype(dtype)[:, 1:-2]  # rows lie apart
    start = draw.normal(size=outs).astype(dtype) if begun else None
    out = np.full((rows, outs + 5), np.nan, dtype)[:, 2:-3]
    expected = left.astype("float64") @ matrix.astype("float64") + (0.0 if start is None else start)
    assert near(pruned.entries(matrix).multiplied(left, start), expected, dtype)
    assert near(pruned.entries(matrix).multiplied(left, start, out), expected, dtype)


def test_sums_over_more_rows_than_a_panel_has():
    draw = np.random.default_rng(0)
    left, matrix = draw.normal(size=(70, 2500)), weights(draw, 33, 2500, 0.1, "float64").T
    assert near(pruned.entries(matrix).multiplied(left, left[0, :33]), left @ matrix + left[0, :33], "float64")


def test_threads_do_not_change_a_bit():
    from spikecore.kernels.runtime.openmp import most_threads, use_threads

    draw, before, found = np.random.default_rng(0), most_threads(), []
    left, matrix = draw.normal(size=(100, 1100)), weights(draw, 130, 1100, 0.1, "float64").T
    try:
        for threads in (1, 2, 3):
            use_threads(threads)
            found.append(pruned.entries(matrix).multiplied(left))
    finally:
        use_threads(before)
    assert all(np.array_equal(one, found[0]) for one in found)


@pytest.mark.parametrize("word", ["linear", "matmul"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ENGINES)
def test_an_engines_products_and_gradients(entries, name, dtype, word):
    """A weight of zero has its gradient, too: it may be zero by accident, and learn."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    draw = np.random.default_rng(0)
    params = sc.base.Params(
        {"x": draw.normal(size=(50, 70)).astype(dtype), "w": weights(draw, 30, 70, 0.1, dtype),
         "b": draw.normal(size=30).astype(dtype)}
    )  # fmt: skip
    g, found = draw.normal(size=(50, 30)).astype(dtype), []
    for fused in ("auto", False):
        engine = sc.get_engine(name, dtype=dtype, fused=fused)

        def function(p, engine=engine):
            xp, (x, w, b) = engine.xp, (p[k] for k in params)
            y = xp.linear(x, w, b) if word == "linear" else xp.matmul(x, xp.permute_dims(w, (1, 0))) + b
            return xp.sum(y * engine.asarray(g)), y

        held = sc.base.Params({k: engine.asarray(v) for k, v in params.items()})
        _, y, grads = engine.value_and_grad(function, held)
        found.append([engine.to_numpy(v) for v in (y, *(grads[k] for k in params))])
        assert entries == [(70, 30), (30, 70)]  # forwards and by the input; none of the engine that is dense
    assert np.count_nonzero(found[0][2]) == found[0][2].size
    for ours, theirs in zip(*found):
        assert near(ours, theirs, dtype)


@pytest.mark.parametrize("lists", [False, True], ids=["dense", "lists"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_neuron_and_the_pruned_linear_behind_it(entries, monkeypatch, name, lists):
    pytest.importorskip(name, reason=f"{name} is not installed")
    from spikecore.api.core.layer import EMPTY, Key, Pass
    from spikecore.api.core.tree import flatten, map_leaves

    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 0.0 if lists else 2.0)
    monkeypatch.setattr(dots, "relative_time", lambda *_, **__: 2.0)
    net = sc.Sequential(sc.Leaky(beta=0.9), sc.Linear(70, 40))
    draw = np.random.default_rng(0)
    x, g = draw.normal(0.3, 0.6, (37, 6, 70)), draw.normal(size=(37, 6, 40))
    init, found = net.init(Key((0,)), (70,)), []
    init.params["1"]["weight"][draw.random((40, 70)) < 0.9] = 0.0
    for fused in (True, False):
        engine = sc.get_engine(name, dtype="float64", fused=fused)

        def function(p, engine=engine):
            out = net.run(Pass(engine), p["p"], EMPTY, None, p["x"]).outputs
            return engine.xp.sum(out * engine.asarray(g)), out

        held = sc.base.Params({"p": map_leaves(engine.asarray, init.params), "x": engine.asarray(x)})
        _, y, grads = engine.value_and_grad(function, held)
        found.append([engine.to_numpy(v) for v in (y, *flatten(grads).values())])
        assert entries == [(40, 70)] if lists else [(70, 40), (40, 70)]
    assert found[0][0].any()
    for ours, theirs in zip(*found):
        assert near(ours, theirs, "float64")


@pytest.mark.parametrize("kind", [sc.RLeaky, sc.RSynaptic])
@pytest.mark.parametrize("name", ENGINES)
def test_a_pruned_recurrence_equals_the_loop(entries, name, kind):
    pytest.importorskip(name, reason=f"{name} is not installed")
    from spikecore.api.core.layer import EMPTY, Key, Pass
    from spikecore.api.core.tree import flatten, map_leaves

    options = {"alpha": 0.8} if kind is sc.RSynaptic else {}
    net = sc.Sequential(kind(beta=0.9, linear_features=70, **options))
    draw = np.random.default_rng(0)
    x, g = draw.normal(0.2 if kind is sc.RLeaky else -0.1, 0.5, (30, 6, 70)), draw.normal(size=(30, 6, 70))
    init, found = net.init(Key((0,)), (70,)), []
    init.params["0"]["connection"]["weight"][draw.random((70, 70)) < 0.9] = 0.0
    for fused in (True, False):
        engine = sc.get_engine(name, dtype="float64", fused=fused)

        def function(p, engine=engine):
            out = net.run(Pass(engine), p["p"], EMPTY, None, p["x"]).outputs
            return engine.xp.sum(out * engine.asarray(g)), out

        held = sc.base.Params({"p": map_leaves(engine.asarray, init.params), "x": engine.asarray(x)})
        _, y, grads = engine.value_and_grad(function, held)
        found.append([engine.to_numpy(v) for v in (y, *flatten(grads).values())])
        assert entries == [(70, 70), (70, 70)]  # once for all steps forwards, once for all backwards
    assert 0.01 < found[0][0].mean() < 0.5
    assert np.array_equal(found[0][0], found[1][0])
    for ours, theirs in zip(*found):
        assert near(ours, theirs, "float64")


def test_second_derivatives(entries):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.product import linear

    draw = np.random.default_rng(0)
    weight = torch.from_numpy(weights(draw, 9, 12, 0.1, "float64")).requires_grad_()
    x = torch.from_numpy(draw.normal(size=(5, 12))).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, w: linear(x, w) ** 2, (x, weight))
    assert entries


def test_only_a_pruned_matrix_of_a_large_product_goes_by_its_entries():
    draw = np.random.default_rng(0)
    left, whole = draw.random((256, 1024), "float32"), draw.random((1024, 1024), "float32") + 1.0
    some = np.where(draw.random(whole.shape) < 0.1, whole, 0.0).astype("float32")
    assert choice.times_pruned(left, whole) is None
    with sparse.watched() as lines:
        assert near(choice.times_pruned(left, some), left @ some, "float32")
    assert lines == ["10 % of the weights are not zero: as lists"]
    assert choice.times_pruned(left[:, ::2], some[::2]) is None  # rows with gaps
    assert choice.times_pruned(left[:2], some) is None  # small
    assert choice.times_pruned(left, some.astype("float64")) is None
    trap = whole.copy()
    trap[::3, :] = trap[1::3, :] = 0.0  # a third is there, wherever samples look
    assert choice.times_pruned(left, trap) is None


@pytest.mark.parametrize("name", ENGINES)
def test_gradients_of_a_pruned_network_are_verified(name):
    """A check runs fewer steps and samples and goes the way that the whole goes."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    net = sc.Sequential(sc.Linear(300, 512), sc.Leaky(beta=0.9), sc.Linear(512, 512), sc.Leaky(beta=0.9))
    model = sc.Model(net, name, seed=0, input_shape=(300,))
    sc.compression.prune(model, 0.9, scope="layer")
    x = np.random.default_rng(0).random((64, 300), dtype="float32")
    assert sc.verify(model, x, np.arange(64) % 10, num_steps=10).ok
