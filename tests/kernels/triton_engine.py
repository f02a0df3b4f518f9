"""The torch engine with Triton in the place of Numba, in Triton's interpreter: a process of its own.

CPU tensors take the way of CUDA tensors, from ``scan`` to the parameters' gradients, and
so do draws. Prints "equal" at the end.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.random import arrange, plan, stream
from spikecore.api.core.tree import Params, Tree, leaves, map_leaves
from spikecore.engines.torch import draws, operators
from spikecore.engines.torch.draws import TorchComparedDraws
from spikecore.kernels import select
from spikecore.kernels.draws import draw_from, signed
from tests.kernels import libdevice  # noqa: F401  # for what it puts in Triton

select.KINDS["cpu"] = select.KINDS["cuda"]
operators._array = torch.Tensor.detach  # Triton takes tensors as they are


def made_of(engine, beta, x):
    return sc.ALIF(beta=sc.learn(0.8), rho=0.9, adaptation=0.5, threshold=0.4).run(
        Pass(engine, record=True), Params(beta=beta), Tree(), None, x
    )


def run(engine, beta, x):
    beta, x = beta.detach().requires_grad_(), x.detach().requires_grad_()
    made = made_of(engine, beta, x)
    (made.outputs * torch.arange(1.0, 1 + made.outputs.numel()).reshape(made.outputs.shape)).sum().backward()
    return made.outputs.detach(), made.recorded.mem.detach(), x.grad, beta.grad


def run_recurrent(layer, engine, x, window):
    """Outputs and gradients of a dense recurrence, by its input and each of its parameters."""
    params = map_leaves(lambda a: engine.asarray(a).requires_grad_(), layer.init(Key((0,)), (5,)).params)
    x = x.detach().requires_grad_()
    made = layer.run(Pass(engine, record=True, window=window), params, Tree(), None, x)
    (made.outputs * torch.arange(1.0, 1 + made.outputs.numel()).reshape(made.outputs.shape)).sum().backward()
    return [made.outputs.detach(), made.recorded.mem.detach(), x.grad, *(leaf.grad for _, leaf in leaves(params))]


def drawn(shape, axis, first, dtype, path):
    """Draws by the kernel, and on the host."""
    host, engine = sc.get_engine("numpy", dtype=dtype), sc.get_engine("torch", dtype=dtype)
    engine.device, draws.can_draw = "cpu:0", lambda x: True  # the same device, taken for another one
    mine, other = (each.uniform(path, shape, sample_axis=axis, first=first) for each in (engine, host))
    layout, named = plan(shape, axis, 0), torch.tensor([signed(stream(path)), first])  # as in a CUDA graph
    out = torch.empty(layout.samples * layout.blocks, 4, dtype=getattr(torch, dtype))
    draw_from(out, layout, named)
    assert torch.equal(arrange(engine.xp, layout, out), mine)
    if dtype == "float32":
        chance = torch.linspace(0.0, 1.0, max(1, shape[-1]))[: shape[-1]]
        spikes = TorchComparedDraws().spikes(engine, path, shape, chance, axis, first)
        assert torch.equal(spikes, (mine < chance).float())
        if axis == 0:
            mask = TorchComparedDraws().mask(engine, path, shape, 0.3, first)
            assert torch.equal(mask, (mine >= 0.3).float() * (1.0 / 0.7))
    return mine.numpy(), other


if __name__ == "__main__":
    for dtype in ("float32", "float64"):
        for shape, axis, first in (
            ((5, 3, 7), 1, 0),
            ((33,), None, 0),
            ((1000,), 0, 5),
            ((2, 3), 1, 2**33 + 7),
            ((0,), 0, 0),
        ):
            assert all(np.array_equal(*drawn(shape, axis, first, dtype, path)) for path in (*"abc", (1, "x")))
    beta, x = torch.full((5,), 0.8), torch.rand(7, 3, 5, generator=torch.Generator().manual_seed(0))
    fused, loop = (run(sc.get_engine("torch", fused=f), beta, x) for f in (True, False))
    assert fused[0].sum() > 0
    assert all(torch.equal(a, b) for a, b in zip(fused[:3], loop[:3]))
    assert torch.allclose(fused[3], loop[3], rtol=1e-5)
    for layer, apart in (  # each library has its own tanh, which LSTMs sum
        (sc.RLeaky(beta=sc.learn(0.8), linear_features=5, threshold=sc.learn(0.4)), 1e-8),
        (sc.SLSTM(input_size=5, hidden_size=4, threshold=sc.learn(0.1), reset_mechanism="subtract"), 1e-6),
    ):
        for window in (None, 3):
            fused, loop = (run_recurrent(layer, sc.get_engine("torch", fused=f), x, window) for f in (True, False))
            assert fused[0].sum() > 0
            assert len(fused) >= 7
            assert all(torch.allclose(a, b, rtol=1e-5, atol=apart) for a, b in zip(fused, loop))
    made = made_of(sc.get_engine("torch", fused=True), beta, x.requires_grad_())
    made.recorded.mem.mul_(2.0)  # in the memory that the run backwards reads: it may be edited, and torch sees it
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        made.outputs.sum().backward()
    spelled = sc.get_engine("torch").explain(sc.Leaky())
    assert "Triton kernels of Leaky.step" in spelled, spelled
    print("equal")
