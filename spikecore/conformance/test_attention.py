"""Attention against its equations, written out with einsum and differentiated by torch."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Tree, flatten
from spikecore.conformance.rig import assert_close, cotangents, differentiate, normal, run

torch = pytest.importorskip("torch", reason="torch differentiates the equations here")


def branch(channels, out=None, bias=True):
    return sc.Conv1d(channels, out or channels, 1, bias=bias)


def project(x, params):
    """A convolution of size 1: (time, batch, channels, positions) to the same."""
    y = torch.einsum("oi,tbip->tbop", params["weight"][..., 0], x)
    return y + params["bias"][:, None] if "bias" in params else y


def heads(x, number):
    return x.unflatten(2, (number, -1))


def spiking(layer, q, k, v):
    q, k, v = (heads(x, layer.num_heads) for x in (q, k, v))
    return layer.scale * torch.einsum("tbhcn,tbhcm,tbhdm->tbhdn", q, k, v).flatten(2, 3)


def softmax(layer, q, k, v):
    q, k, v = (heads(x, layer.num_heads) for x in (q, k, v))
    scale = q.shape[3] ** -0.5 if layer.scale is None else layer.scale
    weights = (scale * torch.einsum("tbhcn,tbhcm->tbhnm", q, k)).softmax(-1)
    return torch.einsum("tbhnm,tbhdm->tbhdn", weights, v).flatten(2, 3)


def gated(layer, gate, body):
    return body * gate.repeat_interleave(body.shape[2] // gate.shape[2], 2)


QKV = branch(4), branch(4, bias=False), branch(4, 6)  # a softmax does not depend on a bias of the keys
CASES = [  # a layer, positions of a sample, its equation
    (sc.SpikingSelfAttention(*QKV, num_heads=2), 5, spiking),
    (sc.SpikingSelfAttention(*QKV, num_heads=1, scale=0.3), 2, spiking),  # few positions: the other order of products
    (sc.SoftmaxAttention(*QKV, num_heads=2), 5, softmax),
    (sc.SoftmaxAttention(*QKV, num_heads=1, scale=0.7), 3, softmax),
    (sc.HeadGate(branch(4, 2), branch(4, 6)), 3, gated),
    (sc.HeadGate(sc.Sequential(branch(4), sc.PositionSum()), branch(4)), 3, gated),
]
EACH = pytest.mark.parametrize("case", CASES, ids=[f"{i}-{type(case[0]).__name__}" for i, case in enumerate(CASES)])


def check(engine, case):
    """Outputs, and gradients of a random weighting by input and parameters."""
    layer, positions, equation = case
    x, params = normal(3, 2, 4, positions), layer.init(Key((0, "weights")), (4, positions)).params
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in flatten(params).items()}
    inputs = torch.tensor(x, requires_grad=True)
    parts = []
    for name, child in layer.children():
        inner = f"{name}.0" if isinstance(child, sc.Sequential) else name
        y = project(inputs, {key: leaves[f"{inner}.{key}"] for key in ("weight", "bias") if f"{inner}.{key}" in leaves})
        parts.append(y.sum(-1, keepdim=True) if isinstance(child, sc.Sequential) else y)
    expected = equation(layer, *parts)
    found = run(engine, layer, x, params=params).outputs
    assert found.shape[2:] == layer.init(Key((0,)), (4, positions)).shape
    assert_close(found, expected.detach().numpy(), 1e-12, "outputs")
    (expected * torch.tensor(cotangents(Tree(outputs=found)).outputs)).sum().backward()
    _, grads = differentiate(engine, layer, x, params=params, weigh=("outputs",))
    assert_close(grads.inputs, inputs.grad.numpy(), 1e-11, "inputs")
    for name, value in flatten(grads.params).items():
        assert_close(value, leaves[name].grad.numpy(), 1e-11, name)


@EACH
def test_attention_follows_its_equation(engine, case):
    check(engine, case)


@EACH
def test_maps_are_attended_to_as_their_positions_in_a_row(engine, case):
    layer, _, _ = case
    if isinstance(layer, sc.HeadGate):
        layer = sc.HeadGate(sc.Conv2d(4, 2, 1), sc.Conv2d(4, 6, 1))
        row = sc.HeadGate(branch(4, 2), branch(4, 6))
    else:
        maps = (sc.Conv2d(4, n, 1, bias=n == 6) for n in (4, 4, 6))
        layer = type(layer)(*maps, num_heads=layer.num_heads, scale=layer.scale)
        row = type(layer)(branch(4, bias=False), branch(4, bias=False), branch(4, 6), layer.num_heads, layer.scale)
    x, params = normal(2, 2, 4, 2, 3), layer.init(Key((0, "weights")), (4, 2, 3)).params
    flat = Tree({n: Tree({**dict(p), "weight": p.weight[..., 0]}) for n, p in params.items()})
    found = run(engine, layer, x, params=params).outputs
    assert found.shape == (2, 2, 6, 2, 3)
    assert_close(found.reshape(2, 2, 6, 6), run(engine, row, x.reshape(2, 2, 4, 6), params=flat).outputs, 1e-12)


def test_a_constant_branch_meets_a_spiking_one(engine):
    """A branch without neurons keeps the single step of a constant input; the products spread it over time."""
    spikes = sc.Sequential(branch(4), sc.Leaky(threshold=0.1))
    x = abs(normal(1, 2, 4, 3))
    for layer in (sc.SpikingSelfAttention(branch(4), spikes, spikes, 2), sc.HeadGate(branch(4, 2), spikes)):
        found = run(engine, layer, x, steps=5).outputs
        assert_close(found, run(engine, layer, np.repeat(x, 5, axis=0)).outputs, 1e-12)
        assert found.shape[0] == 5


def test_products_of_spikes_are_the_same_numbers_in_either_order(engine32):
    """Which order is taken depends on sizes alone; sums of spikes are exact."""
    one, few = (sc.SpikingSelfAttention(*[sc.Sequential()] * 3, num_heads=1, scale=0.125) for _ in range(2))
    x = (normal(2, 2, 8, 4) > 0).astype("float32")
    found = run(engine32, one, x).outputs
    q = x.astype("float64")
    np.testing.assert_array_equal(found, 0.125 * np.einsum("tbcn,tbcm,tbdm->tbdn", q, q, q))
    wide = (normal(2, 2, 4, 8) > 0).astype("float32")
    q = wide.astype("float64")
    np.testing.assert_array_equal(run(engine32, few, wide).outputs, 0.125 * np.einsum("tbcn,tbcm,tbdm->tbdn", q, q, q))
