"""Gradients by weights whose zeros are kept: those of the entries that are there, and zero elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.tree import flatten
from spikecore.api.training.executor import executor_from

pytest.importorskip("numba", reason="Numba is not installed")

from spikecore.kernels.sparse import behind, kept  # noqa: E402
from spikecore.kernels.sparse import product as sparse  # noqa: E402
from spikecore.kernels.sparse import weights as weighing  # noqa: E402
from spikecore.kernels.sparse.bits import pack  # noqa: E402

CLOSE = {"float32": 1e-5, "float64": 1e-13}
DTYPES = ["float32", "float64"]
ENGINES = ["torch", "numpy"]
WAYS = ["lists", "dots"]


def near(a, b, dtype):
    return a.shape == b.shape and np.abs(a - b).max(initial=0.0) <= CLOSE[dtype] * max(1.0, np.abs(b).max(initial=0.0))


def weights(draw, outs, inner, rate, dtype):
    return (draw.normal(size=(outs, inner)) * (draw.random((outs, inner)) < rate)).astype(dtype)


@pytest.fixture
def small(monkeypatch):
    """Products of any size; the list of those gradients that were made by entries, and a way to choose how."""
    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr(sparse, "FEWEST", 0)
    monkeypatch.setattr(weighing, "relative_time_of_entries", lambda *sizes: 0.0)
    made, whole = [], kept.by_kept_weight

    def noted(weight, *rest):
        found = whole(weight, *rest)
        made.extend([weight.shape] if found is not None else [])
        return found

    monkeypatch.setattr(kept, "by_kept_weight", noted)
    monkeypatch.setattr(behind, "by_kept_weight", noted)
    return made


def by(monkeypatch, way):
    monkeypatch.setattr(kept, "_fastest", lambda *sizes: (way if sizes[-1] is not None else "dots", 0.0))


SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 150), st.integers(1, 70), st.sampled_from([0.0, 0.1, 1.0]))


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.sampled_from(WAYS), st.booleans(), st.integers(0, 99))
def test_gradients_are_the_dense_ones_where_a_weight_is(shape, dtype, way, graded, seed):
    rows, inner, outs, rate = shape
    draw = np.random.default_rng(seed)
    weight, g = weights(draw, outs, inner, rate, dtype), draw.normal(size=(rows, outs + 3)).astype(dtype)[:, 1:-2]
    x = ((draw.random((rows, inner)) < 0.2) * (draw.normal(size=(rows, inner)) if graded else 1.0)).astype(dtype)
    bits = pack(x)
    spikes = sparse.SparseSpikes(bits, None if bits.binary else x) if way == "lists" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "LEAST", 0)
        by(patch, way)
        with sparse.keeping([weight.ctypes.data]):
            found = kept.by_kept_weight(weight, g, x, spikes)
        assert kept.by_kept_weight(weight, g, x, spikes) is None  # nobody said that its zeros are kept
    assert near(found, np.where(weight != 0, g.astype("float64").T @ x, 0.0), dtype)


def test_sums_over_more_rows_than_a_list_has():
    draw = np.random.default_rng(0)
    x, weight = (draw.random((5000, 30)) < 0.1).astype("float64"), weights(draw, 20, 30, 0.2, "float64")
    g = draw.normal(size=(5000, 20))
    with sparse.keeping([weight.ctypes.data]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "LEAST", 0)
        by(patch, "lists")
        found = kept.by_kept_weight(weight, g, None, sparse.SparseSpikes(pack(x), None))
    assert near(found, np.where(weight != 0, g.T @ x, 0.0), "float64")


def test_threads_do_not_change_a_bit(monkeypatch):
    from spikecore.kernels.runtime.openmp import most_threads, use_threads

    draw, before = np.random.default_rng(0), most_threads()
    x, weight = (draw.random((300, 90)) < 0.1).astype("float64"), weights(draw, 70, 90, 0.2, "float64")
    g = draw.normal(size=(300, 70))
    monkeypatch.setattr(sparse, "LEAST", 0)
    for way in WAYS:
        by(monkeypatch, way)
        found = []
        try:
            for threads in (1, 2, 3):
                use_threads(threads)
                with sparse.keeping([weight.ctypes.data]):
                    found.append(kept.by_kept_weight(weight, g, x, sparse.SparseSpikes(pack(x), None)))
        finally:
            use_threads(before)
        assert all(np.array_equal(one, found[0]) for one in found)


NETS = {
    "linear": lambda: sc.Sequential(sc.Linear(60, 40), sc.Leaky(beta=0.9)),
    "behind a neuron": lambda: sc.Sequential(sc.Leaky(beta=0.9, threshold=0.5), sc.Linear(60, 40), sc.Leaky(beta=0.9)),
    "recurrence": lambda: sc.Sequential(sc.Linear(60, 40), sc.RLeaky(beta=0.9, linear_features=40)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", ENGINES)
def test_a_training_that_keeps_zeros_makes_the_gradients_that_it_reads(small, monkeypatch, name, net, way):
    """The gradients of entries are those of dense products, and the weights after an update the same."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    by(monkeypatch, way)
    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 0.0 if way == "lists" else 2.0)
    draw = np.random.default_rng(0)
    x, y = (draw.random((20, 8, 60)) < 0.3).astype("float64"), draw.normal(size=(20, 8, 40))
    found = []
    for fused, keep in ((True, True), (True, False), (False, True)):
        network, engine = NETS[net](), sc.get_engine(name, dtype="float64", fused=fused)
        model = sc.Model(network, engine, seed=0, input_shape=(60,))
        sc.compression.prune(model, 0.9, scope="layer")
        loss = lambda out, y, xp=engine.xp: xp.sum(out.spikes * y)  # noqa: E731
        state = {**model.state(), "optimizer": {}, "step": 0}
        executor, _ = executor_from(network, engine, (60,), state, loss, sc.SGD(lr=0.1, keep_zeros=keep))
        small.clear()
        executor.add(x, y)
        found.append({k: engine.to_numpy(v) for k, v in flatten(executor.gradient()).items()})
        names = [k for k, v in found[-1].items() if v.ndim == 2]
        assert sorted(small) == (sorted(found[-1][k].shape for k in names) if keep and fused else [])
        before = executor.weights()
        executor.add(x, y)
        executor.update()
        if keep:
            after = executor.weights()
            assert all(np.array_equal(after[k] != 0, before[k] != 0) for k in names)
    ours, whole, loop = found
    for k, weight in before.items():
        exists = (weight != 0) if k in names else True
        assert near(ours[k], np.where(exists, whole[k], 0.0), "float64"), k
        assert near(np.where(exists, ours[k], 0.0), np.where(exists, loop[k], 0.0), "float64"), k
        assert k not in names or np.count_nonzero(whole[k]) > np.count_nonzero(weight)


def test_only_a_pruned_weight_of_a_large_product_is_worth_it():
    draw = np.random.default_rng(0)
    g, x = draw.normal(size=(512, 1024)).astype("float32"), draw.normal(size=(512, 1024)).astype("float32")
    few, many = weights(draw, 1024, 1024, 0.1, "float32"), weights(draw, 1024, 1024, 0.6, "float32")
    with sparse.keeping([few.ctypes.data, many.ctypes.data]):
        assert near(kept.by_kept_weight(few, g, x), np.where(few != 0, g.T @ x, 0), "float32")
        assert kept.by_kept_weight(many, g, x) is None
        assert kept.by_kept_weight(few, g[:4], x[:4]) is None  # small
        many[::65] = few[::65]  # the rows that are looked at first
        assert sparse.sampled_rate(many) < 0.2
        assert kept.by_kept_weight(many, g, x) is None
        assert kept.by_kept_weight(few, g.astype("float64"), x) is None
    assert kept.by_kept_weight(few, g, x) is None
