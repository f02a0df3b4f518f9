"""Products with spikes by lists: equal to dense products, whatever the shapes, rates and values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc

pytest.importorskip("numba", reason="Numba is not installed")

from spikecore.kernels.sparse import dots  # noqa: E402
from spikecore.kernels.sparse import product as sparse  # noqa: E402  (it needs Numba to do anything)
from spikecore.kernels.sparse.bits import pack, unpack  # noqa: E402
from spikecore.kernels.sparse.lists import by_columns, by_rows  # noqa: E402

CLOSE = {"float32": 1e-6, "float64": 1e-14}


@pytest.fixture
def always(monkeypatch):
    """Lists for products of any size and rate."""
    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr(sparse, "FEWEST", 0)
    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 0.0)


def drawn(seed, rows, columns, rate, dtype, graded=False):
    draw = np.random.default_rng(seed)
    x = (draw.random((rows, columns)) < rate).astype(dtype)
    return x * draw.choice([0.5, -1.0, 3.0], x.shape).astype(dtype) if graded else x


def near(a, b, dtype):
    return np.abs(a - b).max(initial=0.0) <= CLOSE[dtype] * max(1.0, np.abs(b).max(initial=0.0)) * 10


SHAPES = st.tuples(st.integers(0, 40), st.integers(0, 300), st.integers(1, 150), st.sampled_from([0.0, 0.02, 0.3, 1.0]))


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(["float32", "float64"]), st.booleans(), st.integers(0, 99))
def test_products_and_their_transposes_equal_dense_ones(shape, dtype, graded, seed):
    rows, columns, outs, rate = shape
    x, draw = drawn(seed, rows, columns, rate, dtype, graded), np.random.default_rng(seed)
    weight, g = draw.normal(size=(outs, columns)).astype(dtype), draw.normal(size=(rows, outs)).astype(dtype)
    start = draw.normal(size=outs).astype(dtype)
    bits = pack(x)
    assert bits.count == np.count_nonzero(x)
    assert bits.binary == bool(np.isin(x, (0, 1)).all())
    assert not bits.binary or np.array_equal(unpack(bits, dtype), x)
    spikes = sparse.SparseSpikes(bits, None if bits.binary else x)
    wide = x.astype("float64")
    assert near(spikes.times(weight.T, start), wide @ weight.T.astype("float64") + start, dtype)
    sums = sparse.SparseSpikes(bits, spikes.values)
    found = sums.transposed_times(g)
    assert found is None or near(found, wide.T @ g.astype("float64"), dtype)


def test_lists_in_parts_keep_every_spike():
    x = drawn(3, 2500, 1100, 0.05, "float32")
    for lists, matrix in ((by_rows(pack(x)), x), (by_columns(pack(x)), x.T)):
        found = np.zeros(matrix.shape, "float32")
        for i in range(matrix.shape[0]):
            for part in range(lists.blocks):
                begin, end = lists.begin[i * lists.blocks + part : i * lists.blocks + part + 2]
                own = lists.index[begin:end]
                assert (np.diff(own.astype(int)) > 0).all()
                found[i, part * 1024 + own] += 1
        assert np.array_equal(found, matrix)


def test_threads_do_not_change_a_bit(always):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.product import linear

    x, draw = torch.from_numpy(drawn(0, 3000, 1100, 0.1, "float32")), torch.Generator().manual_seed(0)
    weight = torch.randn(130, 1100, generator=draw).requires_grad_()
    g, before, found = torch.randn(3000, 130, generator=draw), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y = linear(x, weight)
            found.append((y.detach(), *torch.autograd.grad(y, weight, g)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for one in found[1:] for a, b in zip(found[0], one))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_an_engines_products_and_gradients(always, name, dtype, graded):
    pytest.importorskip(name, reason=f"{name} is not installed")
    engine, dense = (sc.get_engine(name, dtype=dtype, fused=fused) for fused in ("auto", False))
    draw = np.random.default_rng(0)
    x, g = drawn(1, 50, 70, 0.1, dtype, graded), draw.normal(size=(50, 30)).astype(dtype)
    params = sc.base.Params(
        {"x": x, "w": draw.normal(size=(30, 70)).astype(dtype), "b": draw.normal(size=30).astype(dtype)}
    )

    def run(of, word):
        def function(p):
            y = of.xp.linear(p["x"], p["w"], p["b"]) if word == "linear" else of.xp.matmul(p["x"], p["w"].T)
            return of.xp.sum(y * of.asarray(g)), y

        given = sc.base.Params({k: of.asarray(v) for k, v in params.items()})
        _, y, grads = of.value_and_grad(function, given)
        return [of.to_numpy(v) for v in (y, *(grads[k] for k in params))]

    for ours, theirs in zip(run(engine, "linear"), run(dense, "linear")):
        assert near(ours, theirs, dtype)


def test_a_weight_that_no_spike_meets_may_be_nan(always):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.product import linear

    x, weight = torch.zeros(5, 70), torch.ones(20, 70)
    x[1, 3] = x[2, 66] = 1.0
    weight[4, 3] = float("nan")
    weight[7, 65] = float("inf")  # at a neuron that is silent
    y = linear(x, weight)
    assert torch.isnan(y).nonzero().tolist() == [[1, 4]]
    x[3, 0] = float("nan")
    assert torch.isnan(linear(x, weight)[3]).all()


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's own word
@pytest.mark.parametrize("lists", [False, True], ids=["dense", "lists"])
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_training_finds_a_weight_that_is_nan_whether_a_spike_meets_it_or_not(monkeypatch, name, lists):
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 0.0 if lists else 2.0)
    draw = np.random.default_rng(0)
    data = [(draw.random((6, 20)).astype("float32"), np.arange(6) % 5)]
    net = sc.Sequential(sc.Linear(20, 90), sc.Leaky(), sc.Linear(90, 40), sc.Leaky(), sc.Linear(40, 5), sc.LI())
    model = sc.Model(net, name, seed=0, fused=True)
    model.build((20,))
    state = model.state()
    params = {path: np.array(x) for path, x in state["params"].items()}
    params["0.weight"][7], params["0.bias"][7] = 0.0, -1.0  # this neuron is silent
    params["2.weight"][3, 7] = np.nan
    model.load_state({**state, "params": params})
    out = model(data[0][0], num_steps=9, record=["1", "3"])
    assert not np.asarray(out.states["1"].spikes)[..., 7].any()
    assert np.isnan(np.asarray(out.states["3"].mem)[..., 3]).any() == (not lists)
    loss = sc.functional.ce_membrane_loss()
    with pytest.raises(
        sc.errors.DivergedError, match="in batch 1 of epoch 1 2.weight holds NaN or infinity: training has diverged"
    ):
        model.fit(data, loss=loss, epochs=2, num_steps=9, progress=False)
    model.fit(data, loss=loss, epochs=1, num_steps=9, progress=False, compute=sc.Compute(check_finite=False))
    assert np.isfinite(model.history[-1]["loss"])  # which is why weights are looked at


def test_spikes_that_are_one_keep_a_bit_each_for_backward(always):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.product import linear

    kept = []
    x = torch.from_numpy(drawn(0, 640, 640, 0.05, "float32")).requires_grad_()
    weight = torch.ones(64, 640, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = linear(x, weight)
    assert all(t.numel() == weight.numel() for t in kept)  # and no other tensor
    assert y.grad_fn.spikes.bits.words.nbytes * 8 == x.numel()
    for differentiate in (torch.Tensor.backward, lambda y: torch.autograd.grad(y, x, allow_unused=True)):
        (by_w,) = torch.autograd.grad(y.sum(), weight, create_graph=True)
        with pytest.raises(RuntimeError, match="second derivative"):
            differentiate(by_w.sum())


def test_gradients_for_several_upstream_gradients_at_once(always):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.product import linear

    x, weight = torch.from_numpy(drawn(0, 50, 70, 0.1, "float64")), torch.ones(20, 70, dtype=torch.float64)
    weight.requires_grad_()
    several = torch.rand(3, 50, 20, dtype=torch.float64)
    (found,) = torch.autograd.grad(linear(x, weight), weight, several, is_grads_batched=True)
    assert torch.allclose(found, several.transpose(1, 2) @ x)
    negated = torch._neg_view(several[0])
    (found,) = torch.autograd.grad(linear(x, weight), weight, negated)
    assert torch.allclose(found, negated.T @ x)


def test_dense_operands_stay_dense():
    x = np.random.default_rng(0).random((1 << 10, 1 << 10), dtype="float32")
    assert sparse.spikes_of(x, 1 << 10) is None
    assert sparse.spikes_of((x < 0.05).astype("float32"), 1 << 10) is not None
    assert sparse.spikes_of((x < 0.6).astype("float32"), 1 << 10) is None


def neuron(kind, surrogate):
    if kind == "learned":
        return sc.Leaky(beta=sc.learn(np.linspace(0.5, 0.95, 70)), surrogate=surrogate, reset_mechanism="zero")
    if kind == "graded":
        return sc.Leaky(beta=0.9, graded_spikes_factor=0.5, surrogate=surrogate)
    if kind == "synaptic":
        return sc.Synaptic(alpha=0.8, beta=0.9, surrogate=surrogate)
    return sc.ALIF(surrogate=surrogate) if kind == "adaptive" else sc.Leaky(beta=0.9, surrogate=surrogate)


@pytest.mark.parametrize("few", [False, True], ids=["all", "read"])
@pytest.mark.parametrize("lists", [False, True], ids=["dense", "lists"])
@pytest.mark.parametrize("kind", ["leaky", "synaptic", "adaptive", "learned", "graded"])
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_a_neuron_and_the_linear_behind_it(monkeypatch, name, kind, lists, few):
    pytest.importorskip(name, reason=f"{name} is not installed")
    from spikecore.api.core.layer import EMPTY, Key, Pass
    from spikecore.api.core.tree import flatten, map_leaves

    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 0.0 if lists else 2.0)
    monkeypatch.setattr(dots, "relative_time", lambda *_, **__: 0.0 if few else 2.0)
    surrogate = sc.surrogate.piecewise_quadratic(4.0) if few else sc.surrogate.atan()
    net = sc.Sequential(neuron(kind, surrogate), sc.Linear(70, 40))
    draw = np.random.default_rng(0)
    x, g = draw.normal(0.3, 0.6, (37, 6, 70)), draw.normal(size=(37, 6, 40))
    init, found = net.init(Key((0,)), (70,)), []
    for fused in (True, False):
        engine = sc.get_engine(name, dtype="float64", fused=fused)

        def function(p, engine=engine):
            out = net.run(Pass(engine, window=9), p["p"], EMPTY, None, p["x"])
            last = engine.xp.sum(out.state["0"]["mem"] * engine.xp.astype(engine.asarray(g[0, :, :1]), "float64"))
            return engine.xp.sum(out.outputs * engine.asarray(g)) + last, out.outputs

        given = sc.base.Params({"p": map_leaves(engine.asarray, init.params), "x": engine.asarray(x)})
        _, y, grads = engine.value_and_grad(function, given)
        found.append([engine.to_numpy(v) for v in (y, *flatten(grads).values())])
    assert found[0][0].any()
    for ours, theirs in zip(*found):
        assert np.abs(ours - theirs).max() <= 1e-13 * max(1.0, np.abs(theirs).max())


def test_the_gradients_that_are_read_are_few_only_for_surrogates_that_end():
    from spikecore.kernels.base import Request
    from spikecore.kernels.select import Terms, choose

    draw, shares = np.random.default_rng(0), {}
    for surrogate in (sc.surrogate.atan(), sc.surrogate.piecewise_quadratic(4.0)):
        terms, shape = Terms("auto", "float32"), (50, 16, 512)
        params = {"beta": 0.9, "threshold": 1.0, "graded_spikes_factor": 1.0}
        rest = {"mem": np.zeros((16, 512), "float32")}
        leaky = sc.Leaky(beta=0.9, surrogate=surrogate)
        kernels = choose(terms, leaky, params, rest, shape, (), (1024, 512))
        x = draw.normal(0.1, 0.3, shape).astype("float32")
        request = Request(x, [rest["mem"]], {}, 50)
        shares[type(surrogate).__name__] = kernels._where_read(request).rate
    assert shares["atan"] == 1.0
    assert 0.0 < shares["piecewise_quadratic"] < 0.3


def test_what_a_run_back_needs_is_listed_for_a_run_back_alone():
    """So kernels can be compiled before, and inference waits for none of those."""
    from spikecore.kernels.base import Wanted
    from spikecore.kernels.readout import BIAS, WEIGHT
    from spikecore.kernels.select import Terms, choose

    shape, params = (50, 16, 512), {"threshold": 1.0, "graded_spikes_factor": 1.0}
    params["beta"], rest = np.full(512, 0.9, "float32"), {"mem": np.zeros(shape[1:], "float32")}
    kernels = choose(Terms("auto", "float32"), sc.Leaky(beta=sc.learn(0.9)), params, rest, shape, (), (1024, 512))
    (beta,) = kernels.step.params
    wanted = (None, Wanted(True, (WEIGHT, BIAS, beta)), Wanted(True, (WEIGHT, BIAS)))
    listed = [kernels.recipes(each, constant=False) for each in wanted]
    assert [[recipe.name for recipe in each] for each in listed] == [
        ["forward", "pack_rows"], *[["forward", "pack_rows", "backward"]] * 2,
    ]  # fmt: skip
    assert ["gp_0" in each[-1].text for each in listed] == [False, True, False]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.6])
def test_a_recurrence_takes_few_spikes_as_lists(monkeypatch, dtype, rate):
    from spikecore.kernels.sparse import feedback

    monkeypatch.setattr(feedback, "LEAST", 0)
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(150, 150)).astype(dtype)
    multiply = feedback.feedback(weight, 9)
    out = np.full((9, 150), np.nan, dtype)
    spikes = drawn(0, 9, 150, rate, dtype)
    assert multiply(spikes, out) == (rate < 0.5)
    if rate < 0.5:
        assert near(out, spikes @ weight.T, dtype)
    spikes[3, 149] = 0.5
    assert not multiply(spikes, out)  # it is not one
    assert not feedback.feedback(weight, 9)(spikes, out)


@pytest.mark.parametrize("name", ["torch", "numpy"])
@pytest.mark.parametrize("kind", [sc.RLeaky, sc.RSynaptic])
def test_a_sparse_recurrence_equals_the_loop(monkeypatch, name, kind):
    pytest.importorskip(name, reason=f"{name} is not installed")
    from spikecore.api.core.layer import EMPTY, Key, Pass
    from spikecore.api.core.tree import flatten, map_leaves
    from spikecore.kernels.sparse import feedback

    monkeypatch.setattr(feedback, "LEAST", 0)
    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr(sparse, "relative_time", lambda *_, **__: 0.0)
    options = {"alpha": 0.8} if kind is sc.RSynaptic else {}
    net = sc.Sequential(kind(beta=0.9, linear_features=70, **options))
    draw = np.random.default_rng(0)
    x, g = draw.normal(0.1 if kind is sc.RLeaky else -0.1, 0.5, (30, 6, 70)), draw.normal(size=(30, 6, 70))
    init, found = net.init(Key((0,)), (70,)), []
    for fused in (True, False):
        engine = sc.get_engine(name, dtype="float64", fused=fused)

        def function(p, engine=engine):
            out = net.run(Pass(engine), p["p"], EMPTY, None, p["x"]).outputs
            return engine.xp.sum(out * engine.asarray(g)), out

        given = sc.base.Params({"p": map_leaves(engine.asarray, init.params), "x": engine.asarray(x)})
        _, y, grads = engine.value_and_grad(function, given)
        found.append([engine.to_numpy(v) for v in (y, *flatten(grads).values())])
    assert 0.01 < found[0][0].mean() < 0.25
    assert np.array_equal(found[0][0], found[1][0])
    for ours, theirs in zip(*found):
        assert np.abs(ours - theirs).max() <= 1e-13 * max(1.0, np.abs(theirs).max())


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_forked_process_multiplies_on_one_thread(always):
    import multiprocessing

    x, weight = drawn(0, 300, 200, 0.1, "float32"), np.ones((200, 70), "float32")
    spikes = sparse.spikes_of(x, 70)
    spikes.times(weight)  # threads have started
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(_row_sums, (x, weight)).get(timeout=60)
    assert near(found, x @ weight, "float32")


def _row_sums(x, weight):
    spikes = sparse.SparseSpikes(pack(x), None)
    return spikes.times(weight)
