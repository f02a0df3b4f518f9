"""Fused kernels against the loop over steps: equal spikes and states, input gradients equal to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten, map_leaves
from spikecore.functional.quant import state_quant
from tests.kernels.kernel_checks import QUICK, SHAPE, L, check, name_of, run

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")

ALL = [
    *(sc.Leaky(beta=L(0.8), threshold=L(0.5), reset_mechanism=r, reset_delay=d)
      for r in ("subtract", "subtract_decayed", "zero", "none") for d in (True, False)),
    *(sc.Leaky(beta=L(0.8), threshold=0.5, surrogate=s)
      for s in (sc.surrogate.fast_sigmoid(), sc.surrogate.sigmoid(5.0), sc.surrogate.straight_through_estimator(),
                sc.surrogate.triangular(), sc.surrogate.gaussian())),
    sc.Leaky(beta=sc.learn_tau(5.0, per="neuron"), threshold=0.5, state_quant=state_quant(4)),
    sc.IF(threshold=L(0.5)),
    sc.LI(beta=L(0.8)),
    sc.Synaptic(alpha=L(0.6), beta=L(0.7), threshold=L(0.5), reset_mechanism="zero"),
    sc.Lapicque(R=L(1.0), C=L(4.0), threshold=L(0.2)),
    *(sc.Alpha(alpha=L(0.9), beta=L(0.7), threshold=L(0.2), reset_mechanism=r) for r in ("zero", "subtract", "none")),
    sc.RLeaky(beta=L(0.7), V=L(0.3, per="neuron"), all_to_all=False, threshold=L(0.5)),
    sc.RSynaptic(alpha=0.5, beta=L(0.7), V=L(0.3), all_to_all=False, threshold=0.5),
    sc.RLeaky(beta=L(0.7), linear_features=5, threshold=L(0.5)),
    sc.RSynaptic(alpha=L(0.5), beta=L(0.7, per="neuron"), linear_features=5, threshold=0.5),
    sc.Recurrent(sc.Leaky(beta=0.7, threshold=0.5), sc.Linear(5, 5, bias=False)),
    sc.DeltaLeaky(beta=L(0.8), delta_threshold=L(0.3)),
    sc.StateLeaky(beta=L(0.8), threshold=0.5, parallel=False),
    sc.Refractory(sc.Leaky(beta=L(0.8), threshold=0.4), 2),
]  # fmt: skip


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("layer", QUICK, ids=name_of)
def test_kernels_equal_the_loop(name, layer):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    check(name, "float32", layer)


def test_chunks_in_parallel():
    check("numpy", "float32", QUICK[0], steps=4, batch=5, shape=(1001,))


@pytest.mark.parametrize("options", [{}, {"constant": True}, {"window": 5}], ids=["moving", "constant", "window"])
@pytest.mark.parametrize("steps", [1, 31, 32, 33, 64, 65, 100])
def test_blocks_of_steps(steps, options):
    check("numpy", "float32", QUICK[2], steps=steps, **options)


@pytest.mark.parametrize("layer", [QUICK[0], QUICK[3]], ids=name_of)
def test_blocks_of_several_chunks_in_torch(layer):
    pytest.importorskip("torch", reason="torch is not installed")
    check("torch", "float32", layer, steps=40, batch=5, shape=(1001,))


@pytest.mark.parametrize("wide", [(10,), (37, 1), (37, 10)], ids=str)
def test_parameters_that_repeat_along_the_first_axes(wide):
    """Chunks begin anywhere in the period, and their sums are those of parts of it."""
    beta = np.linspace(0.3, 0.9, int(np.prod(wide))).reshape(wide)
    check("numpy", "float64", sc.Leaky(beta=L(beta), threshold=0.5), steps=3, batch=12, shape=(37, 10))


def test_states_that_begin_at_zero_are_one_chunk_behind_which_nobody_reads(monkeypatch):
    from spikecore.kernels import sequence
    from spikecore.kernels.base import Request, Upstream, Wanted
    from spikecore.kernels.select import Terms, choose
    from spikecore.kernels.sinks import LONG

    memory = np.full(3 * LONG, np.nan)
    memory[:LONG] = 0.0
    monkeypatch.setattr(sequence, "_chunk_of_zeros", lambda dtype: memory[None, :LONG])
    layer, shape, found = sc.Leaky(beta=0.8, threshold=0.5), (3, LONG), []
    x, g = np.random.default_rng(0).random((2, 3, *shape))
    params = flatten(layer.prepare(sc.get_engine("numpy"), Tree()))
    for rest in (np.zeros(shape), np.broadcast_to(0.0, shape)):
        kernels = choose(Terms(True, "float64"), layer, params, {"mem": rest}, x.shape, ())
        request = Request(x, [rest], {}, len(x))
        made = kernels.forward(request)
        by = kernels.backward(request, Upstream(g, [], [None], made.saved), Wanted(True, ()))
        found.append((made.outputs, *made.final, by.inputs, *by.state))
    for one, other in zip(*found):
        assert np.array_equal(one, other)


def test_scratch_memory_does_not_grow_with_the_sequence():
    from spikecore.kernels.runtime.build import CHUNK, EVERY
    from spikecore.kernels.select import Terms, choose

    layer = sc.Synaptic(alpha=0.6, beta=0.7)
    params, state = flatten(layer.prepare(sc.get_engine("numpy"), Tree())), dict.fromkeys(layer.state, np.zeros((2, 3)))
    kernels = choose(Terms(True, "float32"), layer, params, state, (7, 2, 3), ())
    assert kernels.scratch((2, 3), CHUNK, 1).nbytes == (2 * (EVERY + 1) + 1) * CHUNK * 4
    assert kernels.saved_shapes(32, (2, 3)) == []  # the first states are in the request
    assert kernels.saved_shapes(33, (2, 3)) == [(2, 2, 3)] * 2


@pytest.mark.parametrize("steps", [1, 7, 10, 15, 16])
def test_few_steps_are_taken_in_longer_chunks(steps):
    """Their states take no more of the cache."""
    from spikecore.kernels.runtime.build import CHUNK, EVERY
    from spikecore.kernels.sinks import MANY, Sink

    neurons = 1, 4 * MANY * CHUNK
    assert Sink().chunk_of(neurons, True, EVERY) == Sink().chunk_of((1, CHUNK), True, steps) == CHUNK
    assert (Sink().chunk_of(neurons, True, steps) > CHUNK) == (steps < 16)
    assert Sink().chunk_of(neurons, True, steps) * (steps + 1) <= CHUNK * (EVERY + 1)


def test_explain_knows_parameters_of_any_shape():
    for beta in (np.linspace(0.1, 0.9, 5), L(np.full((2, 1, 1), 0.5)), L(0.5, per="neuron")):
        assert sc.get_engine("numpy").explain(sc.Leaky(beta=beta)).startswith("fused: Numba kernels of Leaky.step")


def test_long_chunks(monkeypatch):
    from spikecore.kernels import sinks
    from spikecore.kernels.runtime.kernel import Kernel

    seen, run = [], Kernel.__call__
    monkeypatch.setattr(Kernel, "__call__", lambda *a: seen.append(a[2][2]) or run(*a))
    monkeypatch.setattr(sinks, "CORES", 1)
    check("numpy", "float32", QUICK[0], steps=3, batch=3, shape=(11_003,))
    assert seen == [sinks.LONG, sinks.CHUNK]


def test_another_sink_is_an_addition():
    """Spikes are counted where they are made: neither the kernel of a run nor its source knows of it."""
    from spikecore.kernels.base import Request, Upstream, Wanted
    from spikecore.kernels.select import Terms, choose
    from spikecore.kernels.sequence import SequenceNumba
    from spikecore.kernels.sinks import Sink

    counts = np.full((9, 2), np.nan, "float32")  # steps, chunks

    class Counting(Sink):
        def behind(self, back):
            return () if back else ("counts",)

        def made(self, k, t):
            place = f"row(counts + (({t}) * step_counts + own) * SIZE)[0]"
            return [f"{place} = F(0.0)", "for j in range(width):", f"    {place} += {self.spikes('out', k, t)}[j]"]

        def arrays(self, params, shape, dtype, back):
            return [] if back else [counts]

    layer, x = sc.Leaky(beta=0.8), np.random.default_rng(0).random((9, 3, 1000), dtype="float32")
    engine = sc.get_engine("numpy")
    params = flatten(layer.prepare(engine, Tree()))
    plain = choose(Terms(True, "float32"), layer, params, {"mem": x[0]}, x.shape, ())
    request, results = Request(x, [x[0]], params, 9), []
    for kernels in (plain, SequenceNumba(plain.step, Counting())):
        run = kernels.forward(request)
        back = kernels.backward(request, Upstream(x, [], [None], run.saved), Wanted(True, ()))
        results.append((run.outputs, *run.final, back.inputs, *back.state))
    assert all(np.array_equal(a, b) for a, b in zip(*results))
    assert np.array_equal(counts.sum(axis=1), results[0][0].sum(axis=(1, 2)))
    assert counts.min() > 0


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_rows_of_any_order_need_no_other_kernel(name):
    from spikecore.kernels.runtime import build

    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    loop, fast = (sc.get_engine(name, fused=fused) for fused in (False, True))
    layer, xp = sc.Leaky(beta=0.8, threshold=0.5), fast.xp
    plain = fast.asarray(np.random.default_rng(0).random((20, 4, 6), dtype="float32"))
    orders = {
        "contiguous": plain,
        "backwards": xp.flip(plain, axis=0),
        "every other": plain[::2],
        "a part of each row": plain[:, 1:3, :],
        "transposed": xp.permute_dims(plain, (0, 2, 1)),
        "with gaps": plain[:, :, ::2],
        "one row": xp.broadcast_to(plain[:1], (20, 4, 6)),
    }
    known = None
    for order, x in orders.items():
        runs = [layer.run(Pass(engine), Tree(), Tree(), None, x).outputs for engine in (loop, fast)]
        assert np.array_equal(*map(fast.to_numpy, runs)), order
        count = len(build.in_memory)
        assert known in (None, count), order
        known = count


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"constant": True}, {"window": 4}], ids=["moving", "constant", "window"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("layer", [*QUICK, *ALL], ids=name_of)
def test_every_elementwise_neuron(name, dtype, layer, options):
    check(name, dtype, layer, **options)


def test_dense_recurrence_says_that_a_product_remains():
    assert "one matrix product and a Numba kernel" in sc.get_engine("numpy").explain(sc.RLeaky(linear_features=5))


@pytest.mark.parametrize(
    ("layer", "reason", "shape"),
    [
        (sc.RLeaky(conv2d_channels=1, kernel_size=3), "not elementwise", (1, 5, 5)),
        (sc.SLSTM(input_size=5, hidden_size=5), "not elementwise", SHAPE),
        (sc.Leaky(inhibition=True), "it uses 'argmax'", SHAPE),
    ],
)
def test_what_cannot_be_fused_says_why(layer, reason, shape):
    engine = sc.get_engine("numpy", fused=True)
    assert reason in engine.explain(layer)
    with pytest.raises(RuntimeError, match="fused=True, but"):
        run(engine, layer, shape=shape)


def test_short_runs_take_the_loop_and_long_ones_the_kernel(monkeypatch):
    from spikecore.kernels import select

    seen = []
    monkeypatch.setattr(
        select,
        "kernels_or_reason",
        lambda terms, stepper, params, state, shape, *_: seen.append(shape) or "no kernel today",
    )
    engine, layer, terms = sc.get_engine("numpy"), sc.Leaky(), select.Terms("auto", "float32", least=1000)
    for shape in ((10, 10, 9), (10, 10, 10)):
        assert select.choose(terms, layer, {}, {}, shape, ()) is None
    assert seen == [(10, 10, 10)]
    run(engine, layer, steps=64, batch=64, shape=(64,))
    assert seen[1:] == [(64, 64, 64)]


def test_a_step_that_takes_long_to_compile_runs_in_the_loop(monkeypatch, capsys):
    from spikecore.kernels.runtime import store

    monkeypatch.setattr(store, "said", set())
    layer = sc.Leaky(beta=0.9, state_quant=state_quant(6, uniform=False))
    for _ in range(2):
        run(sc.get_engine("numpy"), layer, steps=64, batch=64, shape=(64,))
    assert capsys.readouterr().err.count("take long to compile (fused=True compiles them)") == 1
    assert sc.get_engine("numpy").explain(layer).startswith("loop: ")
    assert sc.get_engine("numpy", fused=True).explain(layer).startswith("fused: ")


def test_without_numba_the_loop_runs_and_says_so_once(monkeypatch, capsys):
    from spikecore.kernels import select, sequence
    from spikecore.kernels.runtime import store

    monkeypatch.setattr(sequence, "has_numba", lambda: False)
    monkeypatch.setattr(store, "said", set())
    select.remembered.cache_clear()
    try:
        for _ in range(2):
            run(sc.get_engine("numpy"), sc.Leaky(beta=0.123), steps=64, batch=64, shape=(64,))
    finally:
        select.remembered.cache_clear()
    assert capsys.readouterr().err.count("Numba is not installed") == 1


OPTIMIZERS = [
    sc.SGD(), sc.SGD(momentum=0.9, weight_decay=0.1, nesterov=True), sc.Adam(weight_decay=0.1), sc.AdamW(),
    sc.RMSprop(), sc.RMSprop(momentum=0.5), sc.AdamW(keep_zeros=True), sc.SGD(momentum=0.9, keep_zeros=True),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", OPTIMIZERS, ids=lambda spec: type(spec).__name__)
def test_updates_in_one_pass_have_the_same_bits(spec, dtype):
    from spikecore.kernels.update import update

    xp, random = sc.get_engine("numpy", dtype=dtype).xp, np.random.default_rng(0)
    param = (random.standard_normal((37, 101)) * (random.random((37, 101)) < 0.5)).astype(dtype)
    fused, plain = (param, {}), (param, {})
    for step in range(1, 4):
        grad = random.standard_normal((101, 37)).astype(dtype).T  # as a product's gradient comes: not contiguous
        fused = update(spec, fused[0], grad, fused[1], step, 0.1 / step)
        plain = spec.update(xp, plain[0], grad, plain[1], step, 0.1 / step)
        assert np.array_equal(fused[0], plain[0])
        assert list(fused[1]) == list(spec.slots)
        assert all(np.array_equal(fused[1][slot], plain[1][slot]) for slot in spec.slots)


def test_training_uses_kernels_sooner(monkeypatch):
    import spikecore.engines.numpy.engine as module
    from spikecore.kernels import select

    engine, runs, scan = sc.get_engine("numpy"), [], module.fused_scan
    monkeypatch.setattr(module, "fused_scan", lambda *a: (runs.append(a[1]), scan(*a))[1])
    x = np.ones((16, 4, 512), "float32")
    monkeypatch.setattr(select, "_at_hand", lambda *_: False)
    for repeating in (False, True):
        sc.Leaky(beta=0.9).run(Pass(engine, repeating=repeating), Tree(), Tree(), None, x)
        assert bool(runs) == repeating


@pytest.mark.parametrize("per", [None, "channel", "neuron"])
def test_maps_with_channels_last_stay_as_they_lie(per):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    engine, layer = sc.get_engine("torch", fused=True), sc.Leaky(beta=L(0.8, per=per), threshold=0.5)
    params = map_leaves(engine.asarray, layer.init(Key((0,)), (3, 4, 5)).params)
    params = params.replace(beta=params.beta * torch.linspace(0.5, 1.0, params.beta.numel()).reshape(params.beta.shape))
    x = torch.rand(6, 2, 3, 4, 5)
    found = []
    for inputs in (x, x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (6, 2))):
        held = params.replace(beta=params.beta.detach().requires_grad_())
        lifted = inputs.detach().requires_grad_()
        out = layer.run(Pass(engine, record=True), held, Tree(), None, lifted)
        (out.outputs * x).sum().backward()
        found.append((out.outputs, out.recorded.mem, out.state.mem, lifted.grad, held.beta.grad))
    assert found[1][0].permute(0, 1, 3, 4, 2).is_contiguous()
    for plain, last in zip(*found):
        assert plain.shape == last.shape
        assert torch.allclose(plain, last, rtol=1e-5, atol=0) if plain is found[0][4] else torch.equal(plain, last)


def test_the_exponential_of_float32_kernels():
    from spikecore.kernels.runtime.build import build_run

    source = (
        "def exponentials(worker, workers, table):\n    x, y = row(table[1]), row(table[3])\n"
        "    for j in range(table[0]):\n        y[j] = exp(x[j])\n"
    )
    x = np.concatenate([np.linspace(-110.0, 95.0, 100_001), [np.nan, np.inf, -np.inf, 0.0]]).astype("float32")
    y, exact = np.empty_like(x), np.exp(x.astype("float64"))
    build_run(source, "exponentials", "float32")(1, (len(x),), (x, y))
    normal = (x > -87) & (x < 88.7)
    assert (abs(y[normal] - exact[normal]) / exact[normal]).max() < 1.2e-7
    assert np.isnan(y[-4])
    assert y[-3:].tolist() == [np.inf, 0.0, 1.0]
    assert (y[x > 88.8] == np.inf).all()
    assert (y[x < -87] <= 1.7e-38).all()


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("layer", [*QUICK[:4], sc.RLeaky(beta=0.7, V=L(0.3), all_to_all=False)], ids=name_of)
def test_runs_larger_than_the_cache(name, layer, monkeypatch):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    large_runs(monkeypatch)
    check(name, "float32", layer, steps=5, batch=2, shape=(1000,))


@pytest.mark.parametrize("options", [{}, {"constant": True}, {"window": 5}], ids=["moving", "constant", "window"])
@pytest.mark.parametrize("steps", [1, 2, 33, 67])
def test_blocks_of_runs_larger_than_the_cache(steps, options, monkeypatch):
    large_runs(monkeypatch)
    check("numpy", "float64", QUICK[2], steps=steps, batch=2, shape=(400,), **options)


def large_runs(monkeypatch):
    """From here on runs are large from one number on, if a row ends with a cache line."""
    from spikecore.kernels import large, sinks, sizes
    from spikecore.kernels.base import Request

    monkeypatch.setattr(sizes, "BEYOND", 0)
    for neurons, expected in ((400, large.Large(1)), (401, sinks.Sink())):
        assert sizes.suited(sinks.Sink(), Request(np.zeros((3, 2, neurons)), [], {}, 3), ("mem",)) == expected
