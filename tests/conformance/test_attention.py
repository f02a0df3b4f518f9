"""Attention against its equations, written out with einsum and differentiated by torch; refusals; mutants."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, ShapeError
from spikecore.api.core.tree import Tree, flatten
from spikecore.api.layers import attention

from . import cases, test_layers
from .rig import assert_close, cotangents, differentiate, make, normal, run

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


def swap_is_nothing(patch):
    patch.setattr(attention, "swapped", lambda xp, x: x)


def heads_are_interleaved(patch):
    def by_head(xp, x, before, number):
        channels, positions = x.shape[before:]
        y = xp.reshape(x, (*x.shape[:before], channels // number, number, positions))
        return xp.permute_dims(y, (*range(before), before + 1, before, before + 2))

    patch.setattr(attention, "by_head", by_head)


def scale_is_forgotten(patch):
    right = attention.SpikingSelfAttention.merge
    patch.setattr(
        attention.SpikingSelfAttention, "merge", lambda self, *a, **k: right(self, *a, **k) * (1.0 / self.scale)
    )


def softmax_runs_over_queries(patch):
    def products(self, xp, parts, before):
        query, key, value = self._split(xp, parts, before)
        scores = xp.matmul(attention.swapped(xp, query), key) * (1.0 if self.scale is None else self.scale)
        return [(query, key), (value, attention.swapped(xp, xp.exp(xp.log_softmax(scores, axis=-2))))]

    patch.setattr(attention.SoftmaxAttention, "products", products)


def gate_is_tiled(patch):
    def merge(self, xp, x, parts, before):
        gate, body = parts["gate"], parts["body"]
        return body * xp.concat([gate] * (body.shape[before] // gate.shape[before]), axis=before)

    patch.setattr(attention.HeadGate, "merge", merge)


MUTANTS = [(swap_is_nothing, 2), (heads_are_interleaved, 0), (scale_is_forgotten, 1), (softmax_runs_over_queries, 2),
           (gate_is_tiled, 4)]  # fmt: skip


@pytest.mark.parametrize(("mutant", "which"), MUTANTS, ids=[one.__name__ for one, _ in MUTANTS])
def test_mutants_are_found(monkeypatch, mutant, which):
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check(make("numpy"), CASES[which])


def head_sum_takes_every_second_channel(patch):
    def apply(self, engine, params, buffers, x, *, train, key):
        grouped = (*x.shape[:2], x.shape[2] // self.num_heads, self.num_heads, *x.shape[3:])
        return engine.xp.sum(engine.xp.reshape(x, grouped), axis=2), buffers

    patch.setattr(sc.HeadSum, "apply", apply)


def position_sum_is_a_mean(patch):
    right = sc.PositionSum.apply

    def apply(self, engine, params, buffers, x, **options):
        y, buffers = right(self, engine, params, buffers, x, **options)
        return y * (1.0 / x.shape[-1]), buffers

    patch.setattr(sc.PositionSum, "apply", apply)


def axes_are_sent_instead_of_fetched(patch):
    def apply(self, engine, params, buffers, x, *, train, key):
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return engine.xp.permute_dims(x, (0, 1, *(axis + 2 for axis in inverse))), buffers

    patch.setattr(sc.Permute, "apply", apply)


def entries_are_in_column_major_order(patch):
    right = sc.Reshape.apply

    def apply(self, engine, params, buffers, x, **options):
        turned = engine.xp.permute_dims(x, (0, 1, *range(x.ndim - 1, 1, -1)))
        return right(self, engine, params, buffers, turned, **options)

    patch.setattr(sc.Reshape, "apply", apply)


OF_LAYERS = [(head_sum_takes_every_second_channel, "HeadSum"), (position_sum_is_a_mean, "PositionSum"),
             (axes_are_sent_instead_of_fetched, "Permute"), (entries_are_in_column_major_order, "Reshape")]  # fmt: skip


@pytest.mark.parametrize(("mutant", "name"), OF_LAYERS, ids=[one.__name__ for one, _ in OF_LAYERS])
def test_mutants_of_layers_are_found(monkeypatch, mutant, name):
    (case,) = (case for case in cases.LAYERS if case.name == name)
    test_layers.check_layer(make("numpy"), case)
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        test_layers.check_layer(make("numpy"), case)


MISFITS = [
    (sc.SpikingSelfAttention(branch(4), branch(4), branch(4), 3), (4, 5), r"num_heads=3 must divide the 4 channels of"),
    (sc.SpikingSelfAttention(branch(4, 2), branch(4), branch(4), 2), (4, 5), r"\(2, 5\) and keys of shape \(4, 5\)"),
    (sc.SoftmaxAttention(branch(4), branch(4), sc.MaxPool1d(2), 2), (4, 5), r"\(4, 5\) and values of shape \(4, 2\)"),
    (
        sc.SoftmaxAttention(*[sc.Linear(4, 4)] * 3, 2),
        (4,),
        r"query of shape \(4,\), expected \(channels, \*positions\)",
    ),
    (sc.HeadGate(branch(4, 3), branch(4)), (4, 5), r"gate of shape \(3, 5\) for a body of shape \(4, 5\)"),
    (sc.HeadGate(sc.MaxPool1d(2), branch(4)), (4, 5), r"gate of shape \(4, 2\)"),
    (sc.HeadSum(3), (4, 5), r"HeadSum: num_heads=3 must divide the 4 channels"),
    (sc.HeadSum(2), (4,), r"HeadSum: x of shape \(4,\), expected \(channels, \*positions\)"),
    (sc.PositionSum(), (4,), r"PositionSum: samples of shape \(4,\)"),
    (sc.Reshape((2, 3)), (4, 2), r"Reshape: samples of shape \(4, 2\) have 8 entries, which do not fill \(2, 3\)"),
    (sc.Reshape((3, -1)), (4, 2), r"do not fill \(3, -1\)"),
    (sc.Permute((1, 0)), (4, 2, 2), r"Permute: samples of shape \(4, 2, 2\) for axes=\(1, 0\), expected 2 axes"),
]


@pytest.mark.parametrize(("layer", "shape", "says"), MISFITS)
def test_samples_that_do_not_fit(layer, shape, says):
    with pytest.raises(ShapeError, match=says):
        layer.init(Key((0,)), shape)


BAD = [
    (lambda: sc.SpikingSelfAttention(3, branch(4), branch(4), 2), r"SpikingSelfAttention: query=3 is not a spikecore"),
    (lambda: sc.SpikingSelfAttention(*QKV, num_heads=0), r"num_heads=0 must be an int >= 1"),
    (lambda: sc.SpikingSelfAttention(*QKV, 2, scale="x"), r"scale='x' must be a finite number"),
    (lambda: sc.HeadGate(branch(4), None), r"HeadGate: body=None is not a spikecore layer"),
    (lambda: sc.Reshape((2, -1, -1)), r"Reshape: shape=\(2, -1, -1\) must be ints >= 1"),
    (lambda: sc.Reshape((0, 2)), r"Reshape: shape=\(0, 2\)"),
    (lambda: sc.Permute((0, 2)), r"Permute: axes=\(0, 2\) must name each axis"),
    (lambda: sc.Permute(()), r"Permute: axes=\(\)"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_arguments(call, says):
    with pytest.raises((ValueError, TypeError), match=says):
        call()
