"""Kernels among PyTorch's transformations: torch.compile, autocast, no_grad, double backward, half precision."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree, flatten, map_leaves, unflatten

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
L = sc.learn
NET = sc.Sequential(
    sc.Linear(6, 5),
    sc.Leaky(beta=L(0.8), threshold=L(0.2)),
    sc.RLeaky(beta=0.7, linear_features=5, threshold=0.2),
    sc.Synaptic(alpha=0.5, beta=L(0.7, per="neuron"), threshold=0.2),
)


def network(fused=True, net=NET):
    """The network as a function of x and of its parameters by name, and those parameters."""
    engine = sc.get_engine("torch", fused=fused)
    init = net.init(Key((0,)), (6,))
    params = map_leaves(engine.asarray, init.params)

    def function(x, flat):
        return net.run(Pass(engine), unflatten(flat, params), init.buffers, None, x).outputs

    return function, {name: p.requires_grad_() for name, p in flatten(params).items()}


def gradients(function, x, flat):
    out = function(x, flat)
    weights = torch.arange(out.numel(), dtype=torch.float32).reshape(out.shape)
    return out.detach(), torch.autograd.grad((out * weights).sum(), list(flat.values()))


@pytest.mark.skipif(
    not hasattr(getattr(torch, "_dynamo", None), "nonstrict_trace"),
    reason="needs torch 2.7: inside older ones the loop runs",
)
@pytest.mark.parametrize(
    ("dynamic", "layers"),
    [(True, NET.layers[:2]), *(pytest.param(dynamic, NET.layers, marks=pytest.mark.slow) for dynamic in (None, True))],
)
def test_compiled_networks_take_any_number_of_steps_and_samples(dynamic, layers):
    """Known from the start, or found by torch at the second size, which the next test shows, too."""
    torch.compiler.reset()
    function, flat = network(net=sc.Sequential(*layers))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    torch.manual_seed(0)
    for steps, batch in ((33, 4), (34, 4), (35, 7), (20, 3)):
        x = torch.rand(steps, batch, 6) * 2.0
        (out, grads), (expected, others) = (gradients(f, x, flat) for f in (compiled, function))
        assert out.mean() > 0.02
        assert torch.equal(out, expected)
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(grads, others))
    torch.compiler.reset()


@pytest.mark.skipif(
    not hasattr(getattr(torch, "_dynamo", None), "nonstrict_trace"),
    reason="needs torch 2.7: inside older ones the loop runs",
)
def test_compiled_networks_pass_through_kernels_without_a_graph_break():
    function, flat = network()
    seen = []

    def backend(module, inputs):
        from torch._dynamo.backends.common import aot_autograd
        from torch._functorch.aot_autograd import make_boxed_func

        def look(graph, _):
            seen.extend(str(node.target) for node in graph.graph.nodes if "spikecore" in str(node.target))
            return make_boxed_func(graph)

        return aot_autograd(fw_compiler=look, bw_compiler=look)(module, inputs)

    compiled = torch.compile(function, fullgraph=True, backend=backend)
    for steps, batch in ((4, 3), (7, 3), (9, 3), (5, 2)):  # the third finds the second graph, for any number of steps
        x = torch.rand(steps, batch, 6, generator=torch.Generator().manual_seed(steps)) * 3
        (plain, by_plain), (spikes, by_compiled) = gradients(function, x, flat), gradients(compiled, x, flat)
        assert torch.equal(plain, spikes)
        assert spikes.mean() > 0.02
        for a, b in zip(by_plain, by_compiled):
            assert (a - b).abs().max() <= 1e-6 * b.abs().max()
    assert seen.count("spikecore.scan.default") == seen.count("spikecore.scan_back.default") == 9


@pytest.mark.skipif(
    not hasattr(getattr(torch, "_dynamo", None), "nonstrict_trace"),
    reason="needs torch 2.7: inside older ones the loop runs",
)
def test_a_compiled_function_notices_another_neuron():
    engine, x = sc.get_engine("torch", fused=True), torch.rand(5, 2, 3)
    from spikecore.api.core.tree import Params, State

    class Box:
        neuron = sc.Leaky(beta=0.9, threshold=0.5)

    def function(x):
        ready = box.neuron.prepare(engine, Params())
        return engine.scan(box.neuron, ready, State(mem=torch.zeros(2, 3)), x)[0]

    box = Box()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), function(x))
    box.neuron = sc.Leaky(beta=0.9, threshold=0.5, reset_mechanism="zero")
    assert torch.equal(compiled(x), function(x))
    assert not torch.equal(
        function(x), sc.Leaky(beta=0.9, threshold=0.5).run(Pass(engine), Params(), Params(), None, x)[0]
    )


def test_second_derivatives_are_refused():
    function, flat = network()
    x = torch.rand(4, 2, 6, requires_grad=True)
    (g,) = torch.autograd.grad(function(x, flat).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative.*fused=False"):
        g.sum().backward()


def test_without_gradients_nothing_is_kept():
    function, flat = network()
    with torch.no_grad():
        out = function(torch.rand(4, 2, 6), flat)
    assert not out.requires_grad


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_inputs_compute_in_single_precision(fused, dtype):
    neuron, kind = sc.Leaky(beta=0.9, threshold=0.5), getattr(torch, dtype)
    engine = sc.get_engine("torch", fused=fused)
    x = torch.rand(9, 3, 5).to(kind).requires_grad_()
    exact = x.detach().float().requires_grad_()
    runs = [neuron.run(Pass(engine, record=True), Params(), Tree(), None, a)
            for a in (x, exact)]  # fmt: skip
    assert runs[0].outputs.dtype == kind
    assert runs[0].recorded.mem.dtype == torch.float32
    assert torch.equal(runs[0].outputs.float(), runs[1].outputs)
    assert torch.equal(runs[0].recorded.mem, runs[1].recorded.mem)
    for run in runs:
        run.outputs.float().sum().backward()
    assert torch.equal(x.grad, exact.grad.to(kind))


@pytest.mark.parametrize("fused", [True, False])
def test_autocast_keeps_neurons_in_single_precision(fused):
    function, flat = network(fused, sc.Sequential(sc.Linear(6, 5), sc.Leaky(beta=0.8, threshold=0.2)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = function(torch.rand(4, 2, 6), flat)
    assert out.sum() > 0
    out.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in flat.values())
