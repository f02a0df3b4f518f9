"""What a training step on the torch engine computes at once, and what it keeps for the way back: with other memory the
same numbers.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("torch", reason="the torch engine")
pytest.importorskip("numba", reason="the kernels")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.api.core.extras import Stages, extra
from spikecore.api.core.layer import Key, Pass  # noqa: E402
from spikecore.api.core.tree import flatten, map_leaves  # noqa: E402
from spikecore.engines.torch import normalised, pooling  # noqa: E402
from spikecore.engines.torch.convolution import ByteConv, conv  # noqa: E402
from spikecore.engines.torch.pooling import max_pool2d  # noqa: E402
from spikecore.engines.torch.product import matmul  # noqa: E402
from spikecore.kernels.moments import add_channel_line, add_line, channel_moments, moments  # noqa: E402
from spikecore.kernels.small_numbers import to_bytes  # noqa: E402

STEPS, BATCH, SHAPE = 5, 3, (4, 6, 5)
NORMS = {
    "affine": sc.BatchNorm2d(4),
    "plain": sc.BatchNorm2d(4, affine=False),
    "threshold": sc.ThresholdDependentBatchNorm2d(4, threshold=0.7),
}


def results(fused, norm, neuron, last=True, train=True, steps=None, record=False, window=None, graph=False):
    """Outputs, states, buffers and gradients of a normalisation with a neuron behind it."""
    engine, network = sc.get_engine("torch", dtype="float64", fused=fused), sc.Sequential(norm, neuron)
    init = network.init(Key((0,)), SHAPE)
    draw = torch.Generator().manual_seed(2)
    params = map_leaves(lambda a: (engine.asarray(a) + 0.05).requires_grad_(), init.params)
    buffers = map_leaves(lambda a: engine.asarray(a) + 0.3, init.buffers)
    x = torch.randn(STEPS if steps is None else 1, BATCH, *SHAPE, dtype=torch.float64, generator=draw) * 2 + 1
    x = (x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x).requires_grad_()
    run = Pass(engine, steps=steps, train=train, key=Key((0,)), record=record, window=window)
    out = network.run(run, params, buffers, None, x)
    g = torch.randn(out.outputs.shape, dtype=torch.float64, generator=draw)
    operands = [x, *flatten(params).values()]
    gradients = torch.autograd.grad(
        (out.outputs * g).sum() + flatten(out.state)["1.mem"].sum(), operands, create_graph=graph
    )
    trees = (*flatten(out.state).values(), *flatten(out.buffers).values(), *flatten(out.recorded).values())
    return (out.outputs, *trees, *gradients), operands


@pytest.mark.parametrize(
    ("norm", "how"),
    [
        *((norm, {}) for norm in NORMS),
        *(
            ("affine", how)
            for how in (
                {"last": False},
                {"train": False},
                {"steps": 4},
                {"record": True},
                {"window": 2},
                {"graph": True},
            )
        ),
    ],
    ids=str,
)
def test_at_once_a_normalisation_and_its_neuron_give_what_they_give_one_by_one(norm, how, monkeypatch):
    norm, neuron = NORMS[norm], sc.Leaky(beta=sc.learn(0.7), threshold=sc.learn(0.8))
    seen, own = [], normalised.fused_scan
    monkeypatch.setattr(normalised, "fused_scan", lambda *a: seen.append(own(*a)) or seen[-1])
    (found, _), (wanted, _) = results(True, norm, neuron, **how), results(False, norm, neuron, **how)
    assert len(seen) == 1
    assert seen[0] is not None, "it ran layer by layer"
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)  # sums over steps, samples and maps, reordered


def test_at_once_they_have_no_second_derivative_by_any_of_their_operands():
    found, operands = results(True, NORMS["affine"], sc.Leaky(beta=sc.learn(0.7)), graph=True)
    for first in found[-len(operands) :]:
        for operand in operands:
            with pytest.raises(RuntimeError, match="no second derivative"):
                torch.autograd.grad(first.sum(), operand, retain_graph=True)


@pytest.mark.parametrize("normalises", [True, False])
def test_kernels_go_back_with_one_gradient_at_a_time(normalises):
    engine, neuron = sc.get_engine("torch", fused=True), sc.Leaky(beta=0.7)
    network = sc.Sequential(NORMS["plain"], neuron) if normalises else neuron
    init, x = network.init(Key((0,)), SHAPE), torch.rand(STEPS, BATCH, *SHAPE).requires_grad_()
    run = Pass(engine, train=True, key=Key((0,)))
    y = network.run(run, init.params, map_leaves(engine.asarray, init.buffers), None, x).outputs
    with pytest.raises(RuntimeError, match="one gradient at a time.*fused=False"):
        torch.autograd.grad(y, x, torch.stack([y, y]).detach(), is_grads_batched=True)


@pytest.mark.parametrize("kind", ["every second value", "negated in passing"])
def test_inputs_with_gaps_and_lazy_signs_are_read_as_they_are(kind):
    draw = torch.Generator().manual_seed(5)
    if kind == "negated in passing":
        x = torch.randn(4, 8, 12, dtype=torch.complex128, generator=draw).conj().imag
    else:
        x = torch.randn(4, 8, 24, dtype=torch.float64, generator=draw)[..., ::2]
    network = sc.Sequential(sc.BatchNorm1d(12), sc.Leaky(beta=0.7, threshold=0.5))
    found = []
    for fused in (True, False):
        model = sc.Model(network, sc.get_engine("torch", dtype="float64", fused=fused), seed=0)
        loss, grads = model.value_and_grad(x, np.zeros(8, int))[:2]
        found.append((loss, {name: np.asarray(value) for name, value in grads.items()}))
    assert abs(found[0][0] - found[1][0]) < 1e-12
    for name, value in found[1][1].items():
        np.testing.assert_allclose(found[0][1][name], value, rtol=1e-10, atol=1e-12)


def test_small_runs_and_other_layers_go_one_by_one():
    engine = sc.get_engine("torch")
    pairs = sc.Sequential(sc.BatchNorm2d(4), sc.Leaky(beta=0.9), sc.BatchNorm2d(4), sc.Flatten(), sc.Leaky(beta=0.9))
    kinds = [type(stage).__name__ for stage in extra(engine, Stages).lower(engine, pairs)]
    assert kinds == ["Normalised", "Alone", "Alone", "Alone"]
    each = sc.Sequential(sc.TemporalEffectiveBatchNorm2d(4, 5), sc.Leaky(beta=0.9))
    assert [type(stage).__name__ for stage in extra(engine, Stages).lower(engine, each)] == ["Alone", "Alone"], (
        "one line for each step"
    )
    stage = extra(engine, Stages).lower(engine, pairs)[0]
    assert not stage._fits(Pass(engine), torch.zeros(5, 3, 4, 2, 2))
    assert stage._fits(Pass(engine), torch.zeros(5, 3, 4, 256, 256))
    shared = copy(engine)
    shared.batch_on_ranks = True
    assert not stage._fits(Pass(shared), torch.zeros(5, 3, 4, 256, 256)), "the moments are those of all ranks"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3), (7, 5), (300, 7), (65, 1025)])
@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_moments_of_columns_far_from_zero(dtype, shape, mean):
    x = (np.random.default_rng(0).standard_normal(shape) + mean).astype(dtype)
    count, means, squares = moments(x)
    assert count.sum() == len(x)
    whole = (count * means).sum(0) / len(x)
    close = {"rtol": 0.0, "atol": 16 * np.finfo(dtype).eps * max(1.0, mean)}  # rounding of the mean, the largest number
    np.testing.assert_allclose(whole, x.mean(0, dtype="float64"), **close)
    variance = (squares + count * (means - whole) ** 2).sum(0) / len(x)
    np.testing.assert_allclose(variance, x.astype("float64").var(0), **close)


def test_a_line_is_added_in_place():
    draw = np.random.default_rng(0)
    g, x, slope, constant = (draw.standard_normal(n) for n in ((9, 7), (9, 7), 7, 7))
    wanted = g + (slope * x + constant)
    add_line(g, x, slope, constant)
    np.testing.assert_allclose(g, wanted, rtol=1e-14, atol=1e-14)  # a processor may add and multiply at once


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize(("channels", "places"), [(3, 1), (5, 169), (16, 64), (600, 4)])
def test_moments_of_channels_and_a_line_for_each(last, channels, places):
    draw = np.random.default_rng(0)
    x, g = draw.standard_normal((2, 6, channels * places)) + 3.0
    axes = (6, places, channels) if last else (6, channels, places)
    maps, over = x.reshape(axes), (0, 1) if last else (0, 2)
    mean, variance = channel_moments(x, channels, last)
    np.testing.assert_allclose(mean, maps.mean(over), rtol=1e-13)
    np.testing.assert_allclose(variance, maps.var(over), rtol=1e-12)
    slope, constant = draw.standard_normal((2, channels))
    across = (Ellipsis,) if last else (Ellipsis, None)
    wanted = g.reshape(axes) + slope[across] * maps + constant[across]
    add_channel_line(g, x, slope, constant, last)
    np.testing.assert_allclose(g.reshape(axes), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_hold_whole_numbers_and_nothing_else(dtype):
    x = np.random.default_rng(0).integers(0, 256, 5000).astype(dtype)
    np.testing.assert_array_equal(to_bytes(x), x)
    for other in (-1.0, 256.0, 0.5, math.nan, math.inf, -math.inf, 1e20):
        for place in (0, 2500, 4999):
            bad = x.copy()
            bad[place] = other
            assert to_bytes(bad) is None, (other, place)


def whole_maps(last, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 4, (4, 8, 64, 64), generator=draw).to(dtype)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format).requires_grad_()


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("options", [(1, 1, 1, 1), (2, 0, 1, 2), ((2, 1), (1, 2), (2, 1), 4)], ids=str)
def test_a_convolution_of_bytes_has_the_gradients_of_torchs(last, options):
    x, draw = whole_maps(last), torch.Generator().manual_seed(1)
    weight = torch.randn(4, 8 // options[3], 3, 3, dtype=x.dtype, generator=draw).requires_grad_()
    bias = torch.randn(4, dtype=x.dtype, generator=draw).requires_grad_()
    found, wanted = conv(x, weight, bias, *options), F.conv2d(x, weight, bias, *options)
    assert found.grad_fn.name() == f"{ByteConv.__name__}Backward"
    assert [kept.dtype for kept in found.grad_fn.saved_tensors] == [torch.float64, torch.uint8]
    assert torch.equal(found, wanted)
    g = torch.randn(wanted.shape, dtype=x.dtype, generator=draw)
    for operands in ((x, weight, bias), (x,), (weight,), (bias,)):
        for one, other in zip(*(torch.autograd.grad(y, operands, g, retain_graph=True) for y in (found, wanted))):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-11)  # sums over all places, up to 1e3


def test_a_convolution_of_bytes_refuses_a_second_derivative_by_what_it_has_not_kept():
    x = whole_maps(True)
    weight = torch.randn(4, 8, 3, 3, dtype=x.dtype).requires_grad_()
    for loss in (conv(x, weight).pow(2).sum(), conv(x, weight).sum()):
        (by_weight,) = torch.autograd.grad(loss, weight, create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(by_weight.sum(), x, allow_unused=True)


def test_a_convolution_of_other_numbers_is_torchs():
    x = (whole_maps(True) + 0.5).detach().requires_grad_()
    weight = torch.randn(4, 8, 3, 3, dtype=x.dtype).requires_grad_()
    assert conv(x, weight).grad_fn.name() == "ConvolutionBackward0"


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("options", [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1))], ids=str)
def test_maximum_pooling_keeps_places_alone(last, options, monkeypatch):
    monkeypatch.setattr(pooling, "PIECE", 3 * 8 * 64 * 64)  # samples at once, of four
    x = whole_maps(last)  # with many equal maxima
    found, wanted = max_pool2d(x, *options), F.max_pool2d(x, *options)
    own = last and options[0] == options[1]
    assert [kept.dtype for kept in found.grad_fn.saved_tensors] == [torch.uint8 if own else torch.int32]
    assert torch.equal(found, wanted)
    g = torch.randn(wanted.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    for graph in (True, False):
        (one,), (other,) = (torch.autograd.grad(y, x, g, create_graph=graph) for y in (found, wanted))
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, (3, 2), (1, 4)])
def test_maxima_of_windows_side_by_side_are_torchs(size, dtype):
    """With rests at the borders, equal maxima, NaN and infinities; all gradients at once, too."""
    draw = torch.Generator().manual_seed(2)
    x = torch.randint(-2, 3, (9, 31, 29, 11), generator=draw).to(dtype)
    for n, number in enumerate((float("nan"), float("inf"), -float("inf"), -0.0)):
        x[torch.rand(x.shape, generator=draw) < 0.05 + 0.05 * n] = number
    x = x.permute(0, 3, 1, 2).requires_grad_()
    found, wanted = max_pool2d(x, size, size, 0), F.max_pool2d(x, size)
    assert found.grad_fn.name() == f"{pooling.MaxWindows.__name__}Backward"
    assert torch.equal(found.nan_to_num(9.0), wanted.nan_to_num(9.0))
    g = torch.randn(wanted.shape, dtype=dtype, generator=draw)
    (one,), (other,) = (torch.autograd.grad(y, x, g, retain_graph=True) for y in (found, wanted))
    assert torch.equal(one, other)
    several = torch.stack([g, 2.0 * g])
    (many,) = torch.autograd.grad(found, x, several, is_grads_batched=True)
    assert torch.equal(many, torch.stack([other, 2.0 * other]))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": (2,)},
        {"kernel_size": np.int64(2), "stride": np.int64(2)},
        {"kernel_size": [2], "stride": []},
        {"kernel_size": (3, 2), "stride": 2, "padding": [1]},
        {"kernel_size": 2, "dilation": [1, 1]},
        {"kernel_size": 2, "stride": 0},
        {"kernel_size": True},
        {"kernel_size": (2, 2, 2)},
    ],
    ids=str,
)
def test_maximum_pooling_takes_what_torch_takes(options):
    x = torch.rand(16, 8, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
    assert x.numel() >= pooling.LARGE
    try:
        right = F.max_pool2d(x, **options)
    except (RuntimeError, TypeError) as error:
        with pytest.raises(type(error)):
            max_pool2d(x, **options)
    else:
        assert torch.equal(max_pool2d(x, **options), right)


def test_maps_in_pieces_may_be_edited_in_place():
    pool, edit = sc.MaxPool2d(2), sc.Torch(torch.nn.ReLU(inplace=True))
    net = sc.Sequential(sc.Conv2d(2, 32, 3, padding=1), pool, edit, sc.Flatten(), sc.Linear(8192, 2), sc.Leaky())
    x, y = np.random.default_rng(0).random((16, 4, 2, 32, 32), "float32"), np.arange(16) % 2
    assert sc.Model(net, "torch", seed=0).fit(x, y, batch_size=16, time_axis=1, progress=False)


@pytest.mark.parametrize("kind", ["both", "left", "gaps", "negated in passing"])
def test_a_product_of_stacks_has_the_gradients_of_torchs(kind):
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 5, (3, 4, 96, 64), generator=draw).double() for _ in range(2))
    a = a.transpose(1, 2).contiguous().transpose(1, 2)  # another order in memory
    b = b + 0.5 if kind == "left" else b[..., ::2] if kind == "gaps" else b
    b = torch._neg_view(-b) if kind == "negated in passing" else b
    a, b = a.transpose(-1, -2).requires_grad_(), b.detach().requires_grad_()
    found, wanted = matmul(a, b), torch.matmul(a, b)
    kinds = [torch.uint8, torch.uint8 if kind == "both" else torch.float64]
    assert [kept.dtype for kept in found.grad_fn.saved_tensors] == kinds
    assert torch.equal(found, wanted)
    g = torch.randn(wanted.shape, dtype=wanted.dtype, generator=draw)
    for operands in ((a, b), (a,), (b,)):
        for one, other in zip(*(torch.autograd.grad(y, operands, g, retain_graph=True) for y in (found, wanted))):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)  # sums of up to 96 products, up to 1e2
    for loss in (matmul(a, b).pow(2).sum(), matmul(a, b).sum()):
        (by_b,) = torch.autograd.grad(loss, b, create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(by_b.sum(), a, allow_unused=True)


@dataclass(frozen=True)
class OtherLine(sc.BatchNorm2d):
    def line(self, xp, params, mean, var):
        scale, shift = super().line(xp, params, mean, var)
        return scale * 2.0, shift


@dataclass(frozen=True)
class OtherRun(sc.BatchNorm2d):
    def run(self, *operands):
        result = super().run(*operands)
        return result._replace(outputs=result.outputs * 3.0)


@dataclass(frozen=True)
class Tagged(sc.BatchNorm2d):
    tags: Any = field(default_factory=list)


@dataclass(frozen=True)
class TaggedLeaky(sc.Leaky):
    tags: Any = field(default_factory=list)


@dataclass(frozen=True)
class OtherOverTime(sc.Leaky):
    def over_time(self, run, begun):
        result = super().over_time(run, begun)
        return result._replace(outputs=result.outputs * 3.0)


@pytest.mark.parametrize(
    "pair",
    [
        *((kind(4), sc.Leaky(beta=0.7)) for kind in (OtherLine, OtherRun, Tagged)),
        *((sc.BatchNorm2d(4), kind(beta=0.7)) for kind in (TaggedLeaky, OtherOverTime)),
    ],
    ids=lambda pair: " ".join(type(layer).__name__ for layer in pair),
)
def test_a_subclass_computes_what_it_says_on_runs_of_every_size(pair):
    x = torch.randn(4, 2, 4, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    network, found = sc.Sequential(*pair, sc.Flatten(), sc.Linear(4 * 64 * 64, 2), sc.Leaky(beta=0.9)), []
    for fused in ("auto", False):
        model = sc.Model(network, sc.get_engine("torch", dtype="float64", fused=fused), seed=0)
        loss, gradients = model.value_and_grad(x, np.arange(2))[:2]
        found.append((loss, *gradients.values()))
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_messages_name_the_layer_that_the_user_has():
    layers = sc.BatchNorm2d(4), sc.Leaky(beta=0.9, inhibition=True)
    model = sc.Model(sc.Sequential(*layers), sc.get_engine("torch", fused=True), seed=0)
    with pytest.raises(RuntimeError, match=r"fused=True, but Leaky\.step is not elementwise"):
        model(torch.zeros(2, 3, 4, 5, 5))
