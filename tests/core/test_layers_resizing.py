"""Layers that change the size of maps: laws, files, conversion from and to torch; wrong arguments."""

from __future__ import annotations

import json

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import Key, ShapeError
from spikecore.api.core.tree import Params
from spikecore.api.training.checkpoint import build, describe, known_classes
from spikecore.conformance.rig import assert_close, normal, run
from tests.conformance.own_engines import absent, make

torch = pytest.importorskip("torch", reason="torch is the oracle here")
nn = torch.nn

import spikecore.nn as snn  # noqa: E402  (it needs torch)

ENGINES = [name for name in ("numpy", "numpy-strict", "torch", "ipu") if not absent(name)]
ON_EACH_ENGINE = pytest.mark.parametrize("engine", [make(name) for name in ENGINES], ids=ENGINES)

# ---- torch's modules and ours --------------------------------------------------------------------------------------

TWINS = [  # a module, the layer that it is, the shape of a sample
    (nn.Conv3d(2, 4, (1, 2, 2), padding=(0, 1, 0), groups=2), sc.Conv3d(2, 4, (1, 2, 2), padding=(0, 1, 0), groups=2),
     (2, 2, 3, 3)),
    (nn.MaxPool3d(2, 1), sc.MaxPool3d(2, 1), (1, 3, 3, 2)),
    (nn.AvgPool3d(2), sc.AvgPool3d(2), (1, 2, 4, 2)),
    (nn.BatchNorm3d(2), sc.BatchNorm3d(2), (2, 2, 2, 2)),
    (nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, 2, False, 2), sc.ConvTranspose1d(2, 4, 3, 2, 1, 1, 2, False, 2), (2, 5)),
    (nn.ConvTranspose2d(2, 3, (3, 2), (2, 1)), sc.ConvTranspose2d(2, 3, (3, 2), (2, 1)), (2, 3, 4)),
    (nn.ConvTranspose3d(2, 2, (1, 2, 2), (2, 1, 1)), sc.ConvTranspose3d(2, 2, (1, 2, 2), (2, 1, 1)), (2, 2, 2, 3)),
    (nn.AdaptiveAvgPool1d(3), sc.AdaptiveAvgPool1d(3), (2, 7)),
    (nn.AdaptiveAvgPool2d((2, 3)), sc.AdaptiveAvgPool2d((2, 3)), (2, 5, 6)),
    (nn.AdaptiveMaxPool1d(3), sc.AdaptiveMaxPool1d(3), (2, 7)),
    (nn.AdaptiveMaxPool2d(2), sc.AdaptiveMaxPool2d(2), (2, 5, 6)),
    (snn.GlobalAvgPool(), sc.GlobalAvgPool(), (3, 2, 4)),
    (nn.Upsample(scale_factor=2), sc.Upsample(scale_factor=2), (2, 3, 2)),
    (nn.Upsample(scale_factor=(1.0, 3.0), mode="bilinear"), sc.Upsample(None, (1, 3), "bilinear"), (2, 3, 2)),
    (nn.Upsample(scale_factor=2, mode="trilinear"), sc.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 3, 2)),
    (nn.Upsample(size=7, mode="linear", align_corners=True), sc.Upsample(7, mode="linear", align_corners=True), (2, 3)),
    (nn.ZeroPad2d((1, 0, 2, 3)), sc.ZeroPad2d((1, 0, 2, 3)), (2, 3, 2)),
    (nn.Identity(), sc.Identity(), (2, 3)),
    (nn.GroupNorm(2, 4, eps=1e-3), sc.GroupNorm(2, 4, eps=1e-3), (4, 3, 2)),
    (nn.InstanceNorm1d(3, affine=True), sc.InstanceNorm1d(3, affine=True), (3, 4)),
    (nn.InstanceNorm2d(3), sc.InstanceNorm2d(3), (3, 2, 2)),
]  # fmt: skip
if hasattr(nn, "ZeroPad1d"):  # since torch 2.1
    TWINS.append((nn.ZeroPad1d((1, 2)), sc.ZeroPad1d((1, 2)), (2, 3)))
NAMES = [f"{i}-{type(one[0]).__name__}" for i, one in enumerate(TWINS)]


@pytest.mark.parametrize(("module", "layer", "shape"), TWINS, ids=NAMES)
def test_from_torch_and_back(module, layer, shape):
    """The same layer with the same weights, the same values, and a module again with these weights."""
    with torch.no_grad():
        for value in (*module.parameters(), *module.buffers()):
            value.add_(torch.rand_like(value) if value.is_floating_point() else 0)
    model, x = snn.from_torch(module.eval(), input_shape=shape, engine="numpy"), torch.rand(3, 2, *shape)
    assert model.network == layer
    wanted = module(x.flatten(0, 1)).detach().unflatten(0, (3, 2))
    torch.testing.assert_close(torch.as_tensor(np.asarray(model(x.numpy()).spikes)), wanted, rtol=1e-5, atol=1e-5)
    back = snn.to_torch(model).eval()
    assert type(back) is type(module)
    torch.testing.assert_close(back(x.flatten(0, 1)).detach().unflatten(0, (3, 2)), wanted, rtol=0.0, atol=0.0)


def test_tdbn_becomes_the_batch_norm_that_it_is():
    model = sc.Model(sc.ThresholdDependentBatchNorm2d(2, threshold=0.5, alpha=0.5), "numpy", input_shape=(2, 3, 3))
    module = snn.to_torch(model)
    assert type(module) is nn.BatchNorm2d
    assert module.weight.tolist() == [0.25, 0.25]
    assert snn.from_torch(nn.BatchNorm2d(2), input_shape=(2, 3, 3)).network == sc.BatchNorm2d(2)


NO_TWIN = [
    (nn.InstanceNorm2d(3, track_running_stats=True), (3, 2, 2), "track_running_stats=True has no counterpart"),
    (nn.Upsample(scale_factor=1.5), (3, 2, 2), r"scale_factor=1.5 must be an int.*write size="),
    (nn.Upsample(scale_factor=2, mode="bicubic"), (3, 2, 2), "mode='bicubic' must be one of 'nearest'"),
    (nn.AdaptiveAvgPool2d((None, 2)), (3, 2, 2), r"output_size=\(None, 2\) must be an int or 2 ints"),
    (nn.AdaptiveMaxPool1d(2, return_indices=True), (3, 2), "return_indices=True has no counterpart"),
    (nn.ZeroPad2d(-1), (3, 4, 4), r"padding=.*must be an int or 4 ints, each >= 0"),
]


@pytest.mark.parametrize(("module", "shape", "says"), NO_TWIN, ids=[type(one[0]).__name__ for one in NO_TWIN])
def test_what_has_no_counterpart_is_named(module, shape, says):
    with pytest.raises(ValueError, match=f"layer 0 .{type(module).__name__}.*{says}"):
        snn.from_torch(nn.Sequential(module), input_shape=shape)


def test_tebn_has_no_module():
    model = sc.Model(sc.Sequential(sc.TemporalEffectiveBatchNorm1d(3, 4)), "numpy", input_shape=(3,))
    with pytest.raises(ValueError, match=r"layer 0 \(TemporalEffectiveBatchNorm1d\): there is no such module"):
        snn.to_torch(model)


# ---- laws ----------------------------------------------------------------------------------------------------------

CONVS = [
    ({"kernel_size": 3, "stride": 2, "padding": 1}, (4, 7)),
    ({"kernel_size": 2, "stride": 3, "dilation": 2, "groups": 2}, (4, 11)),  # some inputs belong to no window
    ({"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)}, (4, 3, 6)),
    ({"kernel_size": (1, 2, 3), "stride": (2, 1, 1), "padding": (0, 1, 0)}, (4, 4, 3, 4)),
]


@ON_EACH_ENGINE
@pytest.mark.parametrize(("options", "shape"), CONVS, ids=range(len(CONVS)))
def test_a_transposed_convolution_is_the_adjoint(engine, options, shape):
    """<y, conv(x)> = <conv_transpose(y), x>, with the same weight; output_padding says which size x has."""
    n = len(shape) - 1
    conv = (sc.Conv1d, sc.Conv2d, sc.Conv3d)[n - 1](4, 2, bias=False, **options)
    out = conv.out_shape(shape)
    transposed = (sc.ConvTranspose1d, sc.ConvTranspose2d, sc.ConvTranspose3d)[n - 1]
    least = transposed(2, 4, bias=False, **options).out_shape(out)
    extra = tuple(m - k for m, k in zip(shape[1:], least[1:]))
    back = transposed(2, 4, bias=False, output_padding=extra, **options)
    assert back.out_shape(out) == shape
    x, y = normal(2, 3, *shape), normal(2, 3, *out)
    params = conv.init(Key((0,)), shape).params
    there = run(engine, conv, x, params=params).outputs
    again = run(engine, back, y, params=params).outputs
    assert abs((y * there).sum() - (again * x).sum()) <= 1e-12 * abs(y * there).sum()


@ON_EACH_ENGINE
@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 1, 3), (2, 8, 4)])
def test_windows_of_adaptive_pooling_cover_every_position(engine, shape):
    """A gradient reaches all of a map, and a map of one value keeps it."""
    for layer in (sc.AdaptiveAvgPool2d((3, 2)), sc.AdaptiveMaxPool2d((3, 2))):
        assert (run(engine, layer, np.full((2, 1, *shape), 0.5)).outputs == 0.5).all()

    def loss(x):
        return engine.xp.sum(
            sc.AdaptiveAvgPool2d((3, 2)).apply(engine, Params(), None, x, train=False, key=None)[0]
        ), ()

    x = engine.asarray(normal(1, 2, *shape))
    assert (engine.to_numpy(engine.value_and_grad(loss, x)[2]) > 0).all()


@ON_EACH_ENGINE
@pytest.mark.parametrize("size", [(2, 3), (3, 2)], ids=["windows-alike", "windows-differ"])
def test_the_first_of_several_spikes_gets_the_gradient(engine, size):
    """Of equal values the first one, row by row, as in torch: with spikes there are ties in every window."""
    spikes = (normal(3, 2, 2, 5, 7) > 0.3).astype("float64")

    def gradient(x):
        y, _ = sc.AdaptiveMaxPool2d(size).apply(engine, Params(), None, x, train=False, key=None)
        return engine.xp.sum(y * engine.asarray(normal(3, 2, 2, *size))), ()

    leaf = torch.tensor(spikes.reshape(6, 2, 5, 7), requires_grad=True)
    y = torch.nn.functional.adaptive_max_pool2d(leaf, size)
    (y * torch.tensor(normal(3, 2, 2, *size).reshape(y.shape))).sum().backward()
    found = engine.to_numpy(engine.value_and_grad(gradient, engine.asarray(spikes))[2])
    assert_close(found, leaf.grad.numpy().reshape(spikes.shape), 1e-13)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampling_keeps_the_total_and_the_spikes(mode):
    """Twice the size has four times the sum; repeated spikes are spikes, interpolated ones lie between."""
    engine, spikes = make("numpy"), (normal(3, 2, 1, 4, 5) > 0.5).astype("float64")
    found = run(engine, sc.Upsample(scale_factor=2, mode=mode), spikes).outputs
    assert_close(found.sum((-1, -2)), 4.0 * spikes.sum((-1, -2)), 1e-12)
    assert 0 <= found.min() <= found.max() <= 1
    assert (set(np.unique(found)) == {0.0, 1.0}) == (mode == "nearest")


def test_upsampling_to_the_same_size_changes_nothing():
    for layer in (sc.Upsample(size=(3, 4), mode="bilinear"), sc.Upsample(scale_factor=1)):
        np.testing.assert_array_equal(run(make("numpy"), layer, normal(2, 2, 1, 3, 4)).outputs, normal(2, 2, 1, 3, 4))


def test_synaptic_operations_of_a_transposed_convolution():
    """Each spike meets the weights of a kernel, less what padding cuts off: counted one by one."""
    layer, spikes = sc.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2), np.zeros((5, 2, 4, 3, 3), "float32")
    spikes[0, 0, 0, 0, 0] = spikes[3, 1, 2, 1, 1] = 1  # a corner loses 5 of 9 places, the middle none
    report = functional.activity(sc.Model(layer, "numpy", input_shape=(4, 3, 3)), spikes)
    assert report.synapses[0].synops == (4 + 9) * 3 / 2


def test_a_decoder_trains_and_verifies(tmp_path):
    """From a picture to a code and back to a picture, on both engines, through a file."""
    net = sc.Sequential(
        sc.ZeroPad2d((0, 1, 0, 1)), sc.Conv2d(1, 4, 2, stride=2), sc.GroupNorm(2, 4), sc.Leaky(threshold=0.3),
        sc.Identity(), sc.ConvTranspose2d(4, 2, 3, stride=2, output_padding=1), sc.Upsample(scale_factor=2),
        sc.AdaptiveAvgPool2d(5), sc.Leaky(threshold=0.2), sc.GlobalAvgPool(), sc.Linear(2, 2), sc.Leaky(threshold=0.1),
    )  # fmt: skip
    model, x, y = sc.Model(net, "torch", input_shape=(1, 5, 5)), abs(normal(4, 1, 5, 5)).astype("float32"), [0, 1, 1, 0]
    model.fit([(x, y)], num_steps=4, epochs=2, progress=False)
    report = sc.verify(model, x, y, num_steps=4, differences=False)
    assert report.ok, str(report)
    model.save(tmp_path / "decoder.safetensors")
    again = sc.load(tmp_path / "decoder.safetensors", engine="numpy")
    assert again.network == net
    np.testing.assert_allclose(again(x, num_steps=4).spikes, np.asarray(model(x, num_steps=4).spikes), atol=1e-5)


# ---- files and bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [one[1] for one in TWINS], ids=repr)
def test_as_json_and_back(layer):
    again = build(json.loads(json.dumps(describe(layer))), known_classes())
    assert again == layer
    assert hash(again) == hash(layer)
    assert eval(repr(layer), vars(sc)) == layer  # what is printed can be typed


BAD = [  # what makes it, what the error says
    (lambda: sc.ConvTranspose1d(2, 3, 2, groups=2), r"groups=2 must divide in_channels=2 and out_channels=3"),
    (
        lambda: sc.ConvTranspose1d(1, 1, 3, stride=2, output_padding=2),
        r"output_padding=\(2,\) must be below stride=\(2,\)",
    ),
    (lambda: sc.ConvTranspose2d(1, 1, 3, output_padding=(0, 1)), r"output_padding=\(0, 1\) must be below stride"),
    (lambda: sc.ConvTranspose2d(1, 1, 3, bias=False, bias_init=sc.init.normal()), r"needs bias=True"),
    (lambda: sc.AdaptiveAvgPool2d((1, 2, 3)), r"output_size=\(1, 2, 3\) must be an int or 2 ints, each >= 1"),
    (lambda: sc.AdaptiveMaxPool1d(0), r"AdaptiveMaxPool1d: output_size=0 must be an int >= 1"),
    (lambda: sc.Upsample(), "give either size or scale_factor, not size=None, scale_factor=None"),
    (lambda: sc.Upsample(4, 2), "give either size or scale_factor, not size=4, scale_factor=2"),
    (
        lambda: sc.Upsample(scale_factor=0.5),
        r"scale_factor=0.5 must be an int or one int per axis, each >= 1; write size",
    ),
    (lambda: sc.Upsample(size=(2, 2), mode="linear"), r"size=\(2, 2\) must be an int >= 1"),
    (
        lambda: sc.Upsample(size=2, mode="cubic"),
        "mode='cubic' must be one of 'nearest', 'linear', 'bilinear', 'trilinear'",
    ),
    (
        lambda: sc.Upsample(size=2, align_corners=True),
        "align_corners=True is for interpolation, not for mode='nearest'",
    ),
    (lambda: sc.ZeroPad1d((1, 2, 3)), r"ZeroPad1d: padding=\(1, 2, 3\) must be an int or 2 ints, each >= 0"),
    (lambda: sc.ZeroPad2d(-1), r"ZeroPad2d: padding=-1 must be an int or 4 ints, each >= 0"),
    (lambda: sc.GroupNorm(3, 4), r"GroupNorm: num_groups=3 must divide num_channels=4"),
    (lambda: sc.InstanceNorm1d(3, eps=0), r"InstanceNorm1d: eps=0 must be a finite number > 0"),
    (lambda: sc.ThresholdDependentBatchNorm1d(3, threshold=0), r"threshold=0 must be a finite number > 0"),
    (lambda: sc.ThresholdDependentBatchNorm2d(3, alpha=float("inf")), r"alpha=inf must be a finite number"),
    (lambda: sc.TemporalEffectiveBatchNorm1d(3, 0), r"time_steps=0 must be an int >= 1"),
]
MISFITS = [  # a layer, a shape that does not fit, what the error says
    (sc.ConvTranspose1d(2, 3, 3), (3, 4), r"ConvTranspose1d: samples of shape \(3, 4\), expected \(2, length\)"),
    (sc.ConvTranspose2d(1, 3, 3), (4, 4), r"add the axis of channels"),
    (sc.ConvTranspose1d(2, 3, 3, padding=4), (2, 2), r"padding=\(4,\) leaves nothing of a map of \(2,\)"),
    (sc.Conv3d(2, 3, 3), (2, 4, 4), r"Conv3d: samples of shape \(2, 4, 4\), expected \(2, depth, height, width\)"),
    (
        sc.AdaptiveAvgPool2d(1),
        (2, 4),
        r"AdaptiveAvgPool2d: samples of shape \(2, 4\), expected \(channels, height, width\)",
    ),
    (sc.GlobalAvgPool(), (4,), r"GlobalAvgPool: samples of shape \(4,\), expected \(channels, \*space\)"),
    (sc.Upsample(scale_factor=2), (4,), r"Upsample: samples of shape \(4,\), expected \(channels, \*space\)"),
    (sc.Upsample(scale_factor=2, mode="bilinear"), (2, 4), r"expected \(channels, height, width\)"),
    (sc.Upsample(size=(2, 2)), (2, 4), r"expected \(channels, height, width\)"),
    (sc.ZeroPad1d(1), (2, 3, 4), r"ZeroPad1d: samples of shape \(2, 3, 4\), expected \(channels, length\)"),
    (sc.GroupNorm(2, 4), (3, 2), r"GroupNorm: samples of shape \(3, 2\), expected 4 as the first extent"),
    (sc.InstanceNorm2d(3), (3, 4), r"InstanceNorm2d: samples of shape \(3, 4\), expected \(3, height, width\)"),
    (sc.TemporalEffectiveBatchNorm2d(3, 2), (3,), r"expected \(3, height, width\)"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_arguments(call, says):
    with pytest.raises((ValueError, TypeError), match=says):
        call()


@pytest.mark.parametrize(("layer", "shape", "says"), MISFITS)
def test_samples_that_do_not_fit(layer, shape, says):
    with pytest.raises(ShapeError, match=says):
        layer.init(Key((0,)), shape)
