"""A neuron and the few sums over its spikes behind it, in one kernel, as torch sees it.

Tolerances are those of sums of 100 terms forwards and of 36 backwards, in float32 and in another order.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")


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
        start = sc.base.State(mem=torch.full((), 0.3).expand(40, 100))
        found.append(layer.run(Pass(engine), Tree(), Tree(), start, x * 0.1))
    assert torch.equal(found[0].outputs, found[1].outputs)
    assert torch.equal(found[0].state.mem, found[1].state.mem)


@dataclass(frozen=True)
class Writing(sc.base.Neuron):
    """A step that writes to its state, as no step may."""

    state: ClassVar[tuple] = ("mem",)

    def step(self, engine, params, state, x):
        state.mem[:, 0] = 0.25
        mem = state.mem + 0.0 * x
        return mem, sc.base.State(mem=state.mem)


def test_a_state_at_rest_is_ordinary_memory_to_whoever_sees_it(torch):
    engine, x = sc.get_engine("torch"), torch.zeros(2, 3, 4)
    layer = sc.Leaky(beta=0.9)
    rest = layer.rest(engine, layer.prepare(engine, Tree()), x[0])
    rest.mem[0, 0] = 1.0
    assert float(rest.mem.sum()) == 1.0
    made = layer.run(Pass(engine), Tree(), Tree(), None, x)
    made.state.mem[1, 1] = 1.0
    assert float(made.state.mem.sum()) == 1.0
    with pytest.raises(TypeError, match="writes into the state 'mem'"):
        Writing().run(Pass(engine), Tree(), Tree(), None, x)


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
