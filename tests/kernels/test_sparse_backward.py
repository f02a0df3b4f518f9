"""``sparse_backward=eps``: small derivatives of spikes count as zero, on every path alike, with a known error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.layer import EMPTY, Key, Pass
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.api.core.variants import exact, unfused, with_dtype
from spikecore.api.surrogate.truncated import truncated

EPS, BETA, STEPS, BATCH, NEURONS, OUTS = 0.05, 0.9, 37, 6, 70, 40
DRAW = np.random.default_rng(0)
X, G = DRAW.normal(0.1, 0.4, (STEPS, BATCH, NEURONS)), DRAW.normal(size=(STEPS, BATCH, OUTS))
PATHS = {"loop": (False, False), "dense": (True, False), "dots": (True, True)}


def engine_of(name, **options):
    pytest.importorskip(name, reason=f"{name} is not installed")
    return sc.get_engine(name, dtype="float64", **options)


def on_path(monkeypatch, path):
    """Whether kernels run; if so, gradients by spikes are all computed, or only those that are read."""
    fused, few = PATHS[path]
    if fused:
        pytest.importorskip("numba", reason="Numba is not installed")
        from spikecore.kernels.sparse import dots
        from spikecore.kernels.sparse import product as sparse

        monkeypatch.setattr(sparse, "LEAST", 0)
        monkeypatch.setattr(dots, "relative_time", lambda *_, **__: 0.0 if few else 2.0)
    return fused


def gradients(engine, net, record=False):
    """Outputs of a network and the gradients of their sum with weights G."""
    init = net.init(Key((0,)), (NEURONS,))

    def function(p):
        out = net.run(Pass(engine, record=record), p["p"], EMPTY, None, p["x"])
        return engine.xp.sum(out.outputs * engine.asarray(G)), out.outputs

    at = sc.base.Params({"p": map_leaves(engine.asarray, init.params), "x": engine.asarray(X)})
    _, y, grads = engine.value_and_grad(function, at)
    return engine.to_numpy(y), {name: engine.to_numpy(g) for name, g in flatten(grads).items()}


def near(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        np.abs(ours[name] - g).max() <= 1e-13 * max(1.0, np.abs(g).max()) for name, g in theirs.items()
    )


def back(slopes, g):
    """sum over t >= s of beta^(t - s) slopes[t] g[t]: the gradient by the input of Leaky, whose reset is detached."""
    by_x, carry = np.empty_like(g), np.zeros_like(g[0])
    for t in reversed(range(len(g))):
        carry = by_x[t] = BETA * carry + slopes[t] * g[t]
    return by_x


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_it_drops_what_it_says_and_errs_by_no_more_than_the_bound(monkeypatch, name, path):
    surrogate, fused = sc.surrogate.atan(), on_path(monkeypatch, path)
    net = sc.Sequential(sc.Leaky(beta=BETA, surrogate=surrogate), sc.Linear(NEURONS, OUTS))
    y, found = gradients(engine_of(name, fused=fused, sparse_backward=EPS), net)
    plain, exact = gradients(engine_of(name, fused=fused), net)
    assert np.array_equal(y, plain)  # forwards nothing is left out

    host = sc.get_engine("numpy", dtype="float64", fused=False)
    run = net.run(Pass(host, record=True), net.init(Key((0,)), (NEURONS,)).params, EMPTY, None, X)
    slopes, g = (
        surrogate.derivative(host.xp, run.recorded["0"].mem - 1.0),
        G @ net.init(Key((0,)), (NEURONS,)).params["1"].weight,
    )
    small = np.abs(slopes) <= EPS
    assert 0.05 < small.mean() < 0.95
    assert near({"x": exact["x"]}, {"x": back(slopes, g)})
    assert near({"x": found["x"]}, {"x": back(np.where(small, 0.0, slopes), g)})
    off, bound = np.abs(found["x"] - exact["x"]), EPS * back(small, np.abs(g))
    assert off.max() > 1e-3
    assert (off <= bound + 1e-14).all()
    by_weight = {n: x for n, x in found.items() if n != "x"}  # behind the neuron nothing is left out
    assert near(by_weight, {n: exact[n] for n in by_weight})


def neuron(kind):
    atan = sc.surrogate.atan()
    if kind == "synaptic":
        return sc.Synaptic(alpha=0.8, beta=BETA, surrogate=atan)
    if kind == "graded":
        return sc.Leaky(beta=sc.learn(BETA), graded_spikes_factor=sc.learn(0.5), surrogate=atan)
    if kind == "recurrent":
        return sc.RLeaky(beta=BETA, linear_features=NEURONS, surrogate=atan)
    return sc.Leaky(beta=BETA, surrogate=sc.surrogate.straight_through_estimator())


@pytest.mark.parametrize("kind", ["synaptic", "graded", "recurrent", "constant"])
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_every_path_drops_the_same(monkeypatch, name, kind):
    net = sc.Sequential(neuron(kind), sc.Linear(NEURONS, OUTS))
    _, expected = gradients(engine_of("numpy", fused=False, sparse_backward=EPS), net)
    _, exact = gradients(engine_of("numpy", fused=False), net)
    assert near(expected, exact) == (kind == "constant")
    for path in PATHS:
        with monkeypatch.context() as patch:
            engine = engine_of(name, fused=on_path(patch, path), sparse_backward=EPS)
            for record in (False, True):  # a recorded neuron runs by itself
                assert near(gradients(engine, net, record)[1], expected), (path, record)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_a_derivative_that_is_never_small_loses_nothing(monkeypatch, name, path):
    fused = on_path(monkeypatch, path)
    net = sc.Sequential(sc.Leaky(beta=BETA, surrogate=sc.surrogate.heaviside()), sc.Linear(NEURONS, OUTS))
    _, exact = gradients(engine_of(name, fused=fused), net)
    _, found = gradients(engine_of(name, fused=fused, sparse_backward=0.5), net)
    assert all(np.array_equal(found[n], g) for n, g in exact.items())
    _, nothing = gradients(engine_of(name, fused=fused, sparse_backward=1.0), net)
    assert not nothing["x"].any()


def test_the_gradients_that_are_read_are_few():
    pytest.importorskip("numba", reason="Numba is not installed")
    from spikecore.kernels.base import Request
    from spikecore.kernels.select import Terms, choose

    draw, shape, shares = np.random.default_rng(0), (50, 16, 512), []
    params, rest = {"beta": 0.9, "threshold": 1.0, "graded_spikes_factor": 1.0}, np.zeros((16, 512), "float32")
    request = Request(draw.normal(0.1, 0.3, shape).astype("float32"), [rest], {}, 50)
    for eps in (0.0, 0.05, 0.3):
        terms = Terms("auto", "float32", sparse_backward=eps)
        kernels = choose(terms, sc.Leaky(beta=0.9), params, {"mem": rest}, shape, (), (1024, 512))
        shares.append(kernels._where_read(request).rate)
    assert shares[0] == 1.0 > shares[1] > 2.0 * shares[2] > 0.0


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 2.0), st.integers(0, 99))
def test_a_truncated_derivative_is_the_derivative_or_zero(least, seed):
    host = sc.get_engine("numpy", dtype="float64", fused=False)
    u = np.random.default_rng(seed).normal(0.0, 2.0, 50)
    for surrogate in (sc.surrogate.atan(), sc.surrogate.multi_gaussian(), sc.surrogate.triangular()):
        whole = surrogate.derivative(host.xp, u)
        found = truncated(surrogate, least).derivative(host.xp, u)
        assert np.array_equal(found, np.where(np.abs(whole) > least, whole, 0.0))
    assert truncated(surrogate, 0.0) is surrogate


def test_a_derivative_that_is_nan_stays_nan():
    host = sc.get_engine("numpy")
    found = truncated(sc.surrogate.atan(), 0.1).derivative(host.xp, np.array([math.nan, 9.0], "float32"))
    assert np.isnan(found).tolist() == [True, False]


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_verify_judges_without_it_and_reports_what_it_changes(name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    x, y = np.random.default_rng(0).random((8, 12)), np.arange(8) % 5
    net = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.8), sc.Linear(9, 5), sc.Leaky())
    reports = [
        sc.verify(sc.Model(net, name, seed=0, sparse_backward=eps), x, y, num_steps=10) for eps in (0.0, 0.01, 0.2)
    ]
    none, little, much = reports
    assert all(report.ok and report.worst < 1e-13 for report in reports)
    assert math.isnan(none.approximation)
    assert "approximation" not in str(none)
    assert 0.0 < little.approximation < much.approximation
    rows = {row.name: row for row in much.rows if row.check == "approximation"}
    assert {f"gradient {n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias", "inputs")} == set(rows)
    assert all(row.limit is None and row.verdict == "measured" for row in rows.values())
    assert "sparse_backward=0.2) against those of" in much.table()
    assert "not verified: sparse_backward changes gradients by up to" in str(much)
    assert [row for row in none.rows] == [row for row in much.rows if row.check != "approximation"]


def test_a_reference_is_exact_whatever_it_was_made_with():
    x, y = np.random.default_rng(0).random((8, 12)), np.arange(8) % 5
    net = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.8), sc.Linear(9, 5), sc.Leaky())
    blunt = sc.get_engine("numpy", sparse_backward=0.2)
    assert sc.verify(sc.Model(net, "numpy", seed=0), x, y, against=blunt, num_steps=10).ok


def test_a_wrong_gradient_is_found_all_the_same(monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.engines.torch.spike import SpikeFunction

    right = SpikeFunction.backward
    wrong = staticmethod(lambda ctx, g: tuple(None if part is None else 1.001 * part for part in right(ctx, g)))
    monkeypatch.setattr(SpikeFunction, "backward", wrong)
    x, y = np.random.default_rng(0).random((8, 12)), np.arange(8) % 5
    net = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.8), sc.Linear(9, 5), sc.Leaky())
    assert not sc.verify(sc.Model(net, "torch", seed=0, sparse_backward=0.2), x, y, num_steps=10).ok


def test_training_takes_it_and_a_model_starts_from_the_same_weights():
    x, y = np.random.default_rng(0).random((8, 12)).astype("float32"), np.arange(8) % 5
    net = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.8), sc.Linear(9, 5), sc.Leaky())
    weights = []
    for eps in (0.0, 0.0, 0.2):
        model = sc.Model(net, "numpy", seed=0, sparse_backward=eps)
        model.fit([(x, y)], epochs=1, num_steps=10, progress=False)
        weights.append(model.params()["0.weight"])
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_copies_of_an_engine_keep_it_until_it_is_to_be_exact(name):
    engine = engine_of(name, sparse_backward=EPS, checkpoint_every=3)
    assert with_dtype(engine, "float32").sparse_backward == unfused(engine).sparse_backward == EPS
    assert "sparse_backward=0.05" in repr(engine)
    other = exact(engine)
    assert (other.sparse_backward, other.checkpoint_every, other.dtype, exact(other)) == (0.0, 3, "float64", other)
    assert "sparse_backward" not in repr(other)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, "0.1", None, True, [0.1], 1j, 10**400], ids=str)
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_nonsense_is_refused(name, bad):
    pytest.importorskip(name, reason=f"{name} is not installed")
    with pytest.raises(ValueError, match="sparse_backward=.* must be a finite number, at least 0"):
        sc.get_engine(name, sparse_backward=bad)


def test_an_engine_without_it_says_so():
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(ValueError, match="unknown engine option 'sparse_backward'"):
        sc.get_engine("ipu", simulate=True, sparse_backward=EPS)


def test_compiled_code_takes_it():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("numba", reason="Numba is not installed")
    if not hasattr(torch._dynamo, "nonstrict_trace"):
        pytest.skip("needs torch 2.7")
    leaky, x = sc.Leaky(beta=BETA), torch.from_numpy(X)
    found = []
    for eps in (0.0, EPS):
        engine = engine_of("torch", fused=True, sparse_backward=eps)
        params = leaky.prepare(engine, sc.base.Params({}))

        def run(x, engine=engine, params=params):
            return engine.scan(leaky, params, leaky.rest(engine, params, x[0]), x)[0]

        torch.compiler.reset()
        for function in (run, torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)):
            at = x.clone().requires_grad_()
            function(at).sum().backward()
            found.append(at.grad)
    torch.compiler.reset()
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])
    assert not torch.equal(found[0], found[2])
