"""A neuron and the few sums over its spikes behind it, in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import L, own_cache  # noqa: F401  (the fixture is for all tests here)

import spikecore as sc
from spikecore.api.layer import Key, Pass
from spikecore.api.tree import Tree, flatten, map_leaves

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
from spikecore.kernels import narrow  # noqa: E402

#: All that is learned has one value per neuron: a single one's gradient is a sum over everything that may come out near
#: zero, and its rounding is no small part of it then.
NEURONS = [
    sc.Leaky(beta=L(0.8, per="neuron"), threshold=L(0.5, per="neuron"), graded_spikes_factor=L(1.5, per="neuron")),
    sc.Synaptic(alpha=0.6, beta=L(0.7, per="neuron"), threshold=0.5, reset_mechanism="zero"),
    sc.ALIF(beta=0.8, rho=0.9, adaptation=L(1.0, per="neuron"), threshold=0.4),
]
CLOSE = {"float32": 3e-6, "float64": 1e-13}  # of the largest: sums in another order


@pytest.fixture
def narrowly(monkeypatch):
    """How many runs went through these kernels."""
    seen, forward = [], narrow.Narrow.forward

    def spy(self, *args, **options):
        seen.append(self)
        return forward(self, *args, **options)

    monkeypatch.setattr(narrow.Narrow, "forward", spy)
    return seen


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
        state=map_leaves(engine.asarray, sc.State({"0": sc.State(state)})),
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("layer", NEURONS, ids=lambda layer: type(layer).__name__)
def test_equals_spikes_times_weight(narrowly, layer, name, dtype):
    _, _, grads = check(dtype, layer, name)
    assert len(narrowly) == 1
    assert all(np.any(g) for field, g in grads.items() if not field.startswith("state"))


#: Odd and even steps, one step, more than a block of them; rows that are one chunk, several, and not a multiple of
#: those done at once; widths that end with whole vectors, that do not, and that are a page.
SIZES = [(1, 1, 64, 1), (2, 5, 65, 10), (17, 3, 100, 1), (33, 9, 1000, 10), (4, 2, 1024, 16), (3, 3, 8192, 10)]


@pytest.mark.parametrize("constant", [False, True], ids=["moving", "constant"])
@pytest.mark.parametrize(("steps", "batch", "n", "outs"), SIZES)
def test_any_size(narrowly, steps, batch, n, outs, constant):
    options = {"steps": steps, "batch": batch, "n": n, "outs": outs}
    check("float32", sc.Leaky(beta=0.8, threshold=0.5), constant=constant, **options)
    assert len(narrowly) == 1


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 40), batch=st.integers(1, 70), n=st.integers(64, 300), outs=st.sampled_from((1, 10)),
    window=st.sampled_from((None, 1, 3, 16)), start=st.booleans(),
)  # fmt: skip
def test_drawn_sizes(steps, batch, n, outs, window, start):
    check("float32", NEURONS[0], steps=steps, batch=batch, n=n, outs=outs, window=window, start=start)


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

    from spikecore.kernels.threads import use_threads

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


# ---- torch: sums of 100 terms forwards and of 36 backwards, in float32 and in another order ----


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")


def on_torch(torch, fused=True, batch=4):
    """A network as a function of its input, the input, and the weight."""
    engine = sc.get_engine("torch", fused=fused)
    net = sc.Sequential(sc.Leaky(beta=0.8, threshold=0.5), sc.Linear(100, 10))
    params = dict(map_leaves(engine.asarray, net.init(Key((0,)), (100,)).params).items())
    weight = params["1"].weight.requires_grad_()
    x = torch.rand(9, batch, 100, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return SimpleNamespace(
        call=lambda x: net.run(Pass(engine), Tree(params), Tree(), None, x).outputs, x=x, weight=weight, params=params
    )


def test_a_weight_that_does_not_learn(torch, narrowly):
    net = on_torch(torch)
    net.weight.requires_grad_(False)
    (by_x,) = torch.autograd.grad(net.call(net.x).sum(), net.x)
    other = on_torch(torch, fused=False)
    (expected,) = torch.autograd.grad(other.call(other.x).sum(), other.x)
    assert len(narrowly) == 1
    assert torch.allclose(by_x, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("learns", [("weight",), ("bias",), ("weight", "bias"), ()])
def test_of_weight_and_bias_each_may_learn_alone(torch, narrowly, learns):
    found = []
    for fused in (True, False):
        net = on_torch(torch, fused)
        for name, part in net.params["1"].items():
            part.requires_grad_(name in learns)
        found.append(torch.autograd.grad(net.call(net.x).sum(), [net.x, *(net.params["1"][name] for name in learns)]))
    assert len(narrowly) == 1
    for got, expected in zip(*found):
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


def test_sums_over_many_steps_and_samples_keep_their_digits(torch, narrowly):
    """Half a million equal terms in float32. One after the other they gave an error of 4e-4. Of a block, 16 steps of 64
    rows, four at once, 256 sums follow one another, then those of 63 blocks: 319 roundings of 6e-8.
    """
    net = sc.Sequential(sc.Leaky(beta=0.5, threshold=0.5), sc.Linear(64, 10))
    found = []
    for dtype in (torch.float32, torch.float64):
        engine = sc.get_engine("torch", dtype=str(dtype)[6:], fused=True)
        params = map_leaves(engine.asarray, net.init(Key((0,)), (64,)).params)
        learned = [part.requires_grad_() for part in params["1"].values()]
        out = net.run(Pass(engine, 1000), params, Tree(), None, torch.ones(1, 512, 64, dtype=dtype)).outputs
        found.append([g.double() for g in torch.autograd.grad((0.1 * out).sum(), learned)])
    assert len(narrowly) == 2
    for single, double in zip(*found):
        assert float((single - double).abs().max() / double.abs().max()) < 319 * 6e-8


def test_a_bias_may_be_edited_before_the_way_back(torch, narrowly):
    net = on_torch(torch)
    bias = net.params["1"].bias.requires_grad_()
    out = net.call(net.x).sum()
    with torch.no_grad():
        bias.mul_(2.0)
    (by_bias,) = torch.autograd.grad(out, bias)
    assert torch.allclose(by_bias, torch.full((10,), 36.0))
    assert len(narrowly) == 1


def test_a_bias_that_does_not_fit_is_torchs_affair(torch, narrowly):
    net = on_torch(torch)
    net.params["1"] = net.params["1"].replace(bias=torch.ones(1))
    assert net.call(net.x).shape == (9, 4, 10)
    net.params["1"] = net.params["1"].replace(bias=torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        net.call(net.x)
    assert not narrowly


def test_an_input_that_needs_no_gradient(torch, narrowly):
    found = []
    for fused in (True, False):
        net = on_torch(torch, fused)
        found += torch.autograd.grad(net.call(net.x.detach()).sum(), net.weight)
    assert len(narrowly) == 1
    assert torch.allclose(found[0], found[1], rtol=1e-5, atol=1e-4)


def test_no_gradient_at_all(torch, narrowly):
    net = on_torch(torch)
    with torch.no_grad():
        assert not net.call(net.x).requires_grad
    assert len(narrowly) == 1


def test_a_weight_edited_before_the_way_back_is_an_error(torch):
    net = on_torch(torch)
    out = net.call(net.x).sum()
    with torch.no_grad():
        net.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_second_derivatives_are_refused(torch):
    net = on_torch(torch)
    (by_x,) = torch.autograd.grad((net.call(net.x) ** 2).sum(), net.x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        by_x.sum().backward()


def test_autocast_keeps_its_say(torch, narrowly):
    net = on_torch(torch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net.call(net.x)
    assert not narrowly
    assert out.shape == (9, 4, 10)


def test_transformed_calls_go_without(torch, narrowly):
    net = on_torch(torch, fused="auto")
    batched = torch.func.vmap(net.call, in_dims=1, out_dims=1)(net.x.detach()[:, :, None])
    assert not narrowly
    assert torch.allclose(batched[:, :, 0], net.call(net.x.detach()), atol=1e-6)


def test_first_states_that_are_one_number_everywhere(torch):
    found = []
    for fused in (True, False):
        engine = sc.get_engine("torch", fused=fused)
        layer, x = sc.Leaky(beta=0.9, threshold=0.5), torch.rand(5, 40, 100, generator=torch.Generator().manual_seed(0))
        start = sc.State(mem=torch.full((), 0.3).expand(40, 100))
        found.append(layer.run(Pass(engine), Tree(), Tree(), start, x * 0.1))
    assert torch.equal(found[0].outputs, found[1].outputs)
    assert torch.equal(found[0].state.mem, found[1].state.mem)


@dataclass(frozen=True)
class Writing(sc.Neuron):
    """A step that writes to its state, as no step should, and is forgiven where the loop runs."""

    state: ClassVar[tuple] = ("mem",)

    def step(self, engine, params, state, x):
        state.mem[:, 0] = 0.25
        mem = state.mem + 0.0 * x
        return mem, sc.State(mem=state.mem)


def test_a_state_at_rest_is_ordinary_memory_to_whoever_sees_it(torch):
    engine, x = sc.get_engine("torch"), torch.zeros(2, 3, 4)
    layer = sc.Leaky(beta=0.9)
    rest = layer.rest(engine, layer.prepare(engine, Tree()), x[0])
    rest.mem[0, 0] = 1.0
    assert float(rest.mem.sum()) == 1.0
    made = Writing().run(Pass(engine), Tree(), Tree(), None, x)
    assert torch.equal(made.outputs[0], torch.tensor([0.25, 0.0, 0.0, 0.0]).expand(3, 4))
    made.state.mem[1, 1] = 1.0
    assert float(made.state.mem.sum()) == 1.75


def test_a_weight_that_does_not_fit_is_an_error(torch):
    for name in ("numpy", "torch"):
        engine = sc.get_engine(name, fused=True)
        net = sc.Sequential(sc.Leaky(beta=0.8), sc.Linear(64, 10))
        params = map_leaves(engine.asarray, net.init(Key((0,)), (64,)).params)
        with pytest.raises((RuntimeError, ValueError), match="shapes cannot be multiplied|matmul"):
            net.run(Pass(engine), params, Tree(), None, engine.asarray(np.ones((9, 4, 100), "float32")))


def test_a_weight_that_no_kernel_can_read(torch, narrowly):
    net = on_torch(torch)
    with torch.no_grad():
        expected = net.call(net.x)
        net.params["1"] = net.params["1"].replace(weight=torch._neg_view(-net.weight.detach()))
        assert torch.allclose(net.call(net.x), expected, atol=1e-6)
    assert len(narrowly) == 1


def test_an_engine_with_a_scan_of_its_own_is_asked(torch, narrowly):
    from spikecore.engines.torch.engine import TorchEngine

    class Counting(TorchEngine):
        calls = 0

        def scan(self, *arguments, **options):
            self.calls += 1
            return super().scan(*arguments, **options)

    engine = Counting(fused=True)
    net = sc.Sequential(sc.Leaky(beta=0.8, threshold=0.5), sc.Linear(100, 10))
    params = map_leaves(engine.asarray, net.init(Key((0,)), (100,)).params)
    net.run(Pass(engine), params, Tree(), None, torch.rand(9, 4, 100))
    assert engine.calls == 1
    assert not narrowly


@dataclass(frozen=True)
class Rows(sc.Neuron):
    """A state whose name the kernels' source uses, too."""

    state: ClassVar[tuple] = ("row",)

    def step(self, engine, params, state, x):
        row = 0.9 * state.row + x
        fired = self.fires(engine, params, row)
        return fired, sc.State(row=row - fired)


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

    from spikecore.kernels.threads import use_threads

    options = {"steps": 3, "batch": 37, "n": 2100, "outs": 10}
    assert narrow.chunk_of((37, 2100)) == 2100
    found = []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        use_threads(count)
        check("float64", sc.Leaky(beta=0.8, threshold=0.5), **options)
        found.append(run(sc.get_engine("numpy", dtype="float64", fused=True), sc.Leaky(beta=0.8), **options)[2])
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_what_memory_held_before_does_not_matter(monkeypatch):
    empty = narrow.memory.empty

    def full(shape, dtype):
        found = empty(shape, dtype)
        found[...] = 3e38
        return found

    monkeypatch.setattr(narrow.memory, "empty", full)
    check("float32", sc.Leaky(beta=0.8, threshold=0.5), steps=1, batch=200, n=65)  # warnings are errors here
