"""Attention: the suite's cases, refusals, mutants."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, ShapeError
from spikecore.api.layers import attention
from spikecore.conformance import cases, test_layers
from spikecore.conformance.test_attention import *  # noqa: F403
from spikecore.conformance.test_attention import CASES, QKV, branch, check


def swap_is_nothing(patch):
    patch.setattr(attention, "swapped", lambda xp, x: x)


def heads_are_interleaved(patch):
    def by_head(xp, x, before, number):
        channels, positions = x.shape[before:]
        y = xp.reshape(x, (*x.shape[:before], channels // number, number, positions))
        return xp.permute_dims(y, (*range(before), before + 1, before, before + 2))

    patch.setattr(attention, "by_head", by_head)


def scale_is_forgotten(patch):
    right = attention.SpikingScores.merge
    patch.setattr(attention.SpikingScores, "merge", lambda self, *a, **k: right(self, *a, **k) * (1.0 / self.scale))


def softmax_runs_over_queries(patch):
    def products(self, xp, signals, before):
        query, key, value = self._split(xp, signals, before)
        scores = xp.matmul(attention.swapped(xp, query), key) * (1.0 if self.scale is None else self.scale)
        return [(query, key), (value, attention.swapped(xp, xp.exp(xp.log_softmax(scores, axis=-2))))]

    patch.setattr(attention.SoftmaxScores, "products", products)


def gate_is_tiled(patch):
    def merge(self, xp, signals, before):
        gate, body = signals
        return body * xp.concat([gate] * (body.shape[before] // gate.shape[before]), axis=before)

    patch.setattr(attention.Gating, "merge", merge)


MUTANTS = [(swap_is_nothing, 2), (heads_are_interleaved, 0), (scale_is_forgotten, 1), (softmax_runs_over_queries, 2),
           (gate_is_tiled, 4)]  # fmt: skip


@pytest.mark.parametrize(("mutant", "which"), MUTANTS, ids=[one.__name__ for one, _ in MUTANTS])
def test_mutants_are_found(monkeypatch, mutant, which):
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check(sc.get_engine("numpy", dtype="float64"), CASES[which])


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
    test_layers.check_layer(sc.get_engine("numpy", dtype="float64"), case)
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        test_layers.check_layer(sc.get_engine("numpy", dtype="float64"), case)


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
