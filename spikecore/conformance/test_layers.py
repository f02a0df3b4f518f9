"""Stateless layers against torch.nn.functional; dropout, normalisation, containers by their laws."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, assert_trees_close, cotangents, differentiate, normal, on, run

torch = pytest.importorskip("torch", reason="torch is the oracle here")
F = torch.nn.functional


def conv(function):
    return lambda layer, p, x: function(
        x, p["weight"], p.get("bias"), layer.stride, layer.padding, layer.dilation, layer.groups
    )


def pool(function):
    return lambda layer, p, x: function(x, layer.kernel_size, layer.stride, layer.padding)


def transposed(function):
    return lambda layer, p, x: function(
        x, p["weight"], p.get("bias"), layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
    )


def adaptive(function):
    return lambda layer, p, x: function(x, layer.output_size)


def instance(layer, p, x):
    return F.instance_norm(x, weight=p.get("weight"), bias=p.get("bias"), eps=layer.eps)


def norm(layer, p, x):
    return F.batch_norm(x, None, None, p.get("weight"), p.get("bias"), True, 0.0, layer.eps)


ORACLES = {  # what torch makes of one big batch x
    sc.Linear: lambda layer, p, x: F.linear(x, p["weight"], p.get("bias")),
    sc.Conv1d: conv(F.conv1d),
    sc.Conv2d: conv(F.conv2d),
    sc.MaxPool1d: pool(F.max_pool1d),
    sc.MaxPool2d: pool(F.max_pool2d),
    sc.AvgPool1d: pool(F.avg_pool1d),
    sc.AvgPool2d: pool(F.avg_pool2d),
    sc.Flatten: lambda layer, p, x: x.flatten(1),
    sc.GradedSpikes: lambda layer, p, x: x * p["weights"].reshape(-1, *(1,) * (x.ndim - 2)),
    sc.OneToOne: lambda layer, p, x: x * p["V"],
    sc.LayerNorm: lambda layer, p, x: F.layer_norm(
        x, layer.normalized_shape, p.get("weight"), p.get("bias"), layer.eps
    ),
    **dict.fromkeys((sc.BatchNorm1d, sc.BatchNorm2d, sc.BatchNorm3d), norm),
    **dict.fromkeys((sc.ThresholdDependentBatchNorm1d, sc.ThresholdDependentBatchNorm2d), norm),
    sc.Conv3d: conv(F.conv3d),
    sc.MaxPool3d: pool(F.max_pool3d),
    sc.AvgPool3d: pool(F.avg_pool3d),
    sc.ConvTranspose1d: transposed(F.conv_transpose1d),
    sc.ConvTranspose2d: transposed(F.conv_transpose2d),
    sc.ConvTranspose3d: transposed(F.conv_transpose3d),
    sc.AdaptiveAvgPool1d: adaptive(F.adaptive_avg_pool1d),
    sc.AdaptiveAvgPool2d: adaptive(F.adaptive_avg_pool2d),
    sc.AdaptiveMaxPool1d: adaptive(F.adaptive_max_pool1d),
    sc.AdaptiveMaxPool2d: adaptive(F.adaptive_max_pool2d),
    sc.GlobalAvgPool: lambda layer, p, x: x.flatten(2).mean(2),
    sc.Upsample: lambda layer, p, x: F.interpolate(
        x, layer.size, layer.scale_factor, layer.mode, None if layer.mode == "nearest" else layer.align_corners
    ),
    sc.ZeroPad1d: lambda layer, p, x: F.pad(x, layer.padding),
    sc.ZeroPad2d: lambda layer, p, x: F.pad(x, layer.padding),
    sc.Identity: lambda layer, p, x: x,
    sc.GroupNorm: lambda layer, p, x: F.group_norm(x, layer.num_groups, p.get("weight"), p.get("bias"), layer.eps),
    sc.InstanceNorm1d: instance,
    sc.InstanceNorm2d: instance,
    sc.Reshape: lambda layer, p, x: x.flatten(1).unflatten(1, layer.shape),
    sc.Permute: lambda layer, p, x: x.permute(0, *(1 + axis for axis in layer.axes)),
    sc.HeadSum: lambda layer, p, x: torch.stack([part.sum(1) for part in x.chunk(layer.num_heads, 1)], 1),
    sc.PositionSum: lambda layer, p, x: x.flatten(2).sum(2).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)),
}


def grid(one, x, axis=0, learned=None):
    """A quantiser as papers write it: the scale, the rounding with derivative one, and the bounds."""
    lowest, highest = one.limits
    if isinstance(one, sc.compression.FixedPoint):
        scale = torch.tensor(2.0**-one.fraction)
    elif one.scale in ("max", "learned"):
        others = [i for i in range(x.ndim) if not (one.per == "channel" and i == axis)]
        shape = [n if i not in others else 1 for i, n in enumerate(x.shape)]
        scale = x.abs().amax(others, keepdim=True) / highest if learned is None else learned.abs().reshape(shape)
        if one.power_of_two:
            exponent = torch.log2(scale.detach())
            whole = 2.0 ** (exponent.ceil() if learned is None else exponent.round())
            scale = whole + (0.0 if learned is None else scale - scale.detach())
        if learned is not None:
            share = (highest * x.numel() / learned.numel()) ** -0.5
            scale = scale.detach() + share * (scale - scale.detach())
    else:
        scale = torch.tensor(one.scale).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    whole = torch.floor(x / scale + 0.5).detach()
    inside = (whole >= lowest) & (whole <= highest)
    through = x / scale + (whole - x / scale).detach()
    return scale * torch.where(inside, through, whole.clamp(lowest, highest))


def quantized(layer, p, x):
    inner, axis = layer.layer, layer.channel_axis
    own = {
        name: value if grid_ is None else grid(grid_, value, axis, p.get(f"{name}_scale"))
        for name, value in p.items()
        if not name.endswith("_scale")
        for grid_ in [layer.bias_quant if name == "bias" else layer.weight_quant]
    }
    y = ORACLES[type(inner)](inner, own, x if layer.input_quant is None else grid(layer.input_quant, x))
    return y if layer.output_quant is None else grid(layer.output_quant, y)


ORACLES[sc.Quantized] = quantized


def standardized(layer, p, x):
    w = p["weight"].flatten(1)
    w = (w - w.mean(1, keepdim=True)) / torch.sqrt(w.var(1, keepdim=True) * w.shape[1] + layer.eps)
    w = (w * p["gain"][:, None] if layer.gain else w).reshape(p["weight"].shape)
    return ORACLES[type(layer.layer)](layer.layer, {**p, "weight": w}, x)


ORACLES[sc.WeightStandardized] = standardized
LAYERS = [case for case in cases.LAYERS if type(case.layer) in ORACLES]


def weights(case):
    """Parameters away from the first ones, where a BatchNorm does nothing."""
    first = case.layer.init(Key((0, "weights")), case.shape).params
    return type(first)({name: x + normal(*x.shape, scale=0.3) for name, x in first.items()})


def check_layer(engine, case):
    """Output, and gradients of a random weighting by input and parameters."""
    x, params = normal(4, 3, *case.shape), weights(case)
    leaves = {name: torch.tensor(a, requires_grad=True) for name, a in params.items()}
    flat = torch.tensor(x.reshape(-1, *case.shape), requires_grad=True)
    expected = ORACLES[type(case.layer)](case.layer, leaves, flat)
    found = run(engine, case.layer, x, params=params, train=True).outputs
    assert_close(found, expected.detach().numpy().reshape(found.shape), 1e-12)
    assert found.shape[2:] == case.layer.init(Key((0,)), case.shape).shape

    cotangent = cotangents(Tree(outputs=found)).outputs
    (expected * torch.tensor(cotangent.reshape(expected.shape))).sum().backward()
    _, grads = differentiate(engine, case.layer, x, params=params, train=True, weigh=("outputs",))
    assert_close(grads.inputs, flat.grad.numpy().reshape(x.shape), 1e-11)
    assert_trees_close(grads.params, Tree({name: leaf.grad.numpy() for name, leaf in leaves.items()}), 1e-11)


@pytest.mark.parametrize("case", LAYERS, ids=repr)
def test_against_torch(engine, case):
    check_layer(engine, case)


@pytest.mark.parametrize("case", [*cases.LAYERS, *cases.NETWORKS], ids=repr)
def test_dtype_in_is_dtype_out(engine32, case):
    x = normal(8, 2, *case.shape)
    for train in (True, False):
        found = run(engine32, case.layer, x, train=train, key=Key((0,)))
        assert found.outputs.dtype == "float32"
        assert {a.dtype.name for a in flatten(Tree(b=found.buffers, s=found.state, r=found.recorded)).values()} <= {
            "float32"
        }


def check_temporal_effective(engine, case):
    """A BatchNorm over all steps, each of which is then scaled: outputs and gradients."""
    layer, x, params = case.layer, normal(8, 3, *case.shape), weights(case)
    leaves = {name: torch.tensor(a, requires_grad=True) for name, a in params.items()}
    inputs = torch.tensor(x, requires_grad=True)
    y = norm(layer, leaves, inputs.flatten(0, 1)).unflatten(0, (8, 3))
    y = y * leaves["scale"].reshape(-1, *(1,) * (y.ndim - 1))
    found = run(engine, layer, x, params=params, train=True).outputs
    assert_close(found, y.detach().numpy(), 1e-12)
    (y * torch.tensor(cotangents(Tree(outputs=found)).outputs)).sum().backward()
    _, grads = differentiate(engine, layer, x, params=params, train=True, weigh=("outputs",))
    assert_close(grads.inputs, inputs.grad.numpy(), 1e-11)
    assert_trees_close(grads.params, Tree({name: leaf.grad.numpy() for name, leaf in leaves.items()}), 1e-11)


def check_threshold_dependent(engine, case):
    """Before training, currents have the threshold's size, whatever comes in."""
    layer = case.layer
    found = run(engine, layer, 5.0 * normal(200, 3, *case.shape) + 2.0, train=True).outputs
    axes = (0, 1, *range(3, found.ndim))
    assert_close(found.std(axes), np.full(layer.num_features, layer.alpha * layer.threshold), 1e-4)
    assert abs(found.mean(axes)).max() < 1e-12


LAYERS_BY_TIME = [case for case in cases.LAYERS if case.name.startswith("TemporalEffective")]
LAYERS_BY_THRESHOLD = [case for case in cases.LAYERS if case.name.startswith("ThresholdDependent")]


@pytest.mark.parametrize("case", LAYERS_BY_TIME, ids=repr)
def test_temporal_effective(engine, case):
    check_temporal_effective(engine, case)


@pytest.mark.parametrize("case", LAYERS_BY_THRESHOLD, ids=repr)
def test_threshold_dependent(engine, case):
    check_threshold_dependent(engine, case)


COUNT_POOLS = [
    (sc.CountMaxPool2d((3, 2), stride=(2, 1), padding=1), (2, 5, 4), F.max_pool2d),
    (sc.CountMaxPool1d(2), (3, 6), F.max_pool1d),
]


def check_count_pool(engine, layer, shape, pool):
    """The sum of the outputs is the maximum of the sums of the spikes, after each step; and spikes stay spikes."""
    x = (normal(9, 3, *shape) > 0.3).astype("float64")
    found = run(engine, layer, x).outputs
    counts = torch.tensor(x.cumsum(axis=0)).flatten(0, 1)
    expected = pool(counts, layer.kernel_size, layer.stride, layer.padding).reshape(found.shape)
    assert_close(found.cumsum(axis=0), expected.numpy(), 0.0)
    assert set(np.unique(found)) == {0.0, 1.0}


@pytest.mark.parametrize(("layer", "shape", "pool"), COUNT_POOLS, ids=lambda part: getattr(part, "__name__", None))
def test_counts_are_pooled(engine, layer, shape, pool):
    check_count_pool(engine, layer, shape, pool)


def check_batch_norm(engine, case):
    """Five batches of training, then evaluation: outputs and running statistics are torch's."""
    kind = torch.nn.BatchNorm1d if isinstance(case.layer, sc.BatchNorm1d) else torch.nn.BatchNorm2d
    layer = case.layer
    theirs = kind(layer.num_features, layer.eps, layer.momentum, layer.affine, dtype=torch.float64)
    buffers = layer.init(Key((0,)), case.shape).buffers
    for step in range(6):
        x = normal(4, 3, *case.shape, seed=step) + step
        theirs.train(step < 5)
        expected = theirs(torch.tensor(x.reshape(-1, *case.shape))).detach().numpy().reshape(x.shape)
        found = run(engine, layer, x, buffers=buffers, train=step < 5)
        assert_close(found.outputs, expected, 1e-12)
        assert_close(found.buffers.running_mean, theirs.running_mean.numpy(), 1e-12)
        assert_close(found.buffers.running_var, theirs.running_var.numpy(), 1e-12)
        buffers = found.buffers


@pytest.mark.parametrize(
    "case", [c for c in cases.LAYERS if isinstance(c.layer, (sc.BatchNorm1d, sc.BatchNorm2d))], ids=repr
)
def test_batch_norm_statistics(engine, case):
    check_batch_norm(engine, case)


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_batch_norm_through_time_is_one_per_step(engine, kind):
    """Each step is a BatchNorm of its own, without bias: outputs, statistics, in training and after."""
    through, single = getattr(sc, f"BatchNormTT{kind}"), getattr(sc, f"BatchNorm{kind}")
    shape = (3, 2, 4) if kind == "2d" else (3,)
    layer, x = through(3, time_steps=4), normal(4, 5, *shape)
    params, buffers = layer.init(Key((0,)), shape).params, layer.init(Key((0,)), shape).buffers
    params = type(params)(weight=params.weight + normal(4, 3))
    for train in (True, False):
        found = run(engine, layer, x, params=params, buffers=buffers, train=train)
        for t in range(4):
            own = {"weight": params.weight[t], "bias": np.zeros(3)}
            held = {name: b[t] for name, b in buffers.items()}
            alone = run(engine, single(3), x[t : t + 1], params=Tree(own), buffers=Tree(held), train=train)
            assert_close(found.outputs[t : t + 1], alone.outputs, 1e-12)
            for name, b in alone.buffers.items():
                assert_close(found.buffers[name][t], b, 1e-12)
        buffers = found.buffers


def check_dropout(engine):
    x, key = np.ones((5, 40, 50)), Key((7,), 100)
    found = run(engine, sc.Dropout(0.3), x, train=True, key=key).outputs
    assert set(np.unique(found)) == {0.0, 1.0 / 0.7}
    assert abs((found == 0).mean() - 0.3) < 0.03
    assert (found == found[:1]).all(), "one mask per sample, held over time"
    assert len(np.unique(found[0], axis=0)) == 40, "every sample has its own mask"
    later = run(engine, sc.Dropout(0.3), x[:, 10:], train=True, key=Key((7,), 110)).outputs
    np.testing.assert_array_equal(later, found[:, 10:], "the mask belongs to the sample, not to the batch")
    other = run(engine, sc.Dropout(0.3), x, train=True, key=Key((8,), 100)).outputs
    assert (other != found).any()
    np.testing.assert_array_equal(run(engine, sc.Dropout(0.3), x).outputs, x)
    np.testing.assert_array_equal(run(engine, sc.Dropout(0.0), x, train=True).outputs, x)


def test_dropout(engine):
    check_dropout(engine)


def test_dropout_gradient_is_its_mask(engine):
    layer, key, x = sc.Dropout(0.4), Key((1,)), normal(3, 2, 6)
    mask = run(engine, layer, np.ones_like(x), train=True, key=key).outputs
    _, grads = differentiate(engine, layer, x, train=True, key=key, weigh=("outputs",))
    assert_close(grads.inputs, mask * cotangents(Tree(outputs=x)).outputs)


def test_drop_connect_has_one_mask_per_sample_for_all_steps(engine):
    layer, x, key = sc.DropConnect(sc.Linear(20, 30), p=0.3), np.eye(20)[:, None].repeat(8, 1), Key((7,), 100)
    params = Tree(weight=np.ones((30, 20)), bias=np.zeros(30))
    kept = run(engine, layer, x, params=params, train=True, key=key).outputs  # step t has column t of each mask
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert abs((kept == 0).mean() - 0.3) < 0.03
    assert len({mask.tobytes() for mask in np.moveaxis(kept, 1, 0)}) == 8, "every sample has its own mask"
    later = run(engine, layer, x[:, 3:], params=params, train=True, key=Key((7,), 103)).outputs
    np.testing.assert_array_equal(later, kept[:, 3:], "the mask belongs to the sample, not to the batch")
    assert_close(run(engine, layer, x, params=params).outputs, np.full((20, 8, 30), 0.7), 1e-12)
    with pytest.raises(ValueError, match="DropConnect: training without a random key"):
        run(engine, layer, x, params=params, train=True)


def test_dropout_layers_of_one_network_draw_differently(engine):
    x = np.ones((1, 8, 30))
    net = sc.Sequential(sc.Dropout(0.5), sc.Dropout(0.5))
    kept = (run(engine, net, x, train=True, key=Key((0,))).outputs != 0).mean()
    assert 0.15 < kept < 0.35, "two equal masks would keep a half"


def test_residual_is_the_sum(engine):
    body, aside, x = sc.Linear(4, 4), sc.Linear(4, 4, bias=False), normal(3, 2, 4)
    both = sc.Residual(body, aside)
    params = both.init(Key((0, "weights")), (4,)).params
    parts = [run(engine, layer, x, params=params[name]).outputs for name, layer in both.children()]
    assert_close(run(engine, both, x, params=params).outputs, sum(parts))
    assert_close(run(engine, sc.Residual(body), x, params=params).outputs, parts[0] + x)


def test_sequential_is_one_after_the_other(engine):
    case, x = cases.NETWORKS[0], normal(6, 3, 5)
    params = case.layer.init(Key((0, "weights")), case.shape).params
    step_by_step = x
    for name, layer in case.layer.children():
        step_by_step = run(engine, layer, step_by_step, params=params[name]).outputs
    assert_close(run(engine, case.layer, x, params=params).outputs, step_by_step)


def test_empty_sequential_is_the_identity(engine):
    x = normal(2, 2, 3)
    np.testing.assert_array_equal(run(engine, sc.Sequential(), x).outputs, x)
    assert sc.Sequential().input_shape is None


def test_two_networks_share_nothing(engine):
    """Running one leaves the other as it was: same weights, same outputs, no state between calls."""
    one, two = cases.NETWORKS[0], cases.NETWORKS[1]
    x = normal(4, 2, 5)
    alone = run(engine, two.layer, x)
    run(engine, one.layer, x, train=True)
    run(engine, two.layer, x + 1.0)
    again = run(engine, two.layer, x)
    np.testing.assert_array_equal(again.outputs, alone.outputs)
    assert_trees_close(again.recorded, alone.recorded, 0.0)


def test_a_normalised_layer_refuses_to_run_step_by_step(engine):
    layer = sc.BatchNorm1d(3)
    params = on(engine, layer.init(Key((0,)), (3,)).params)
    with pytest.raises(ValueError, match="running statistics"):
        layer.step(engine, params, None, engine.asarray(np.ones((2, 3))))


@pytest.mark.parametrize("layer", [sc.BatchNorm1d(3), sc.BatchNorm2d(3)])
def test_batch_norm_needs_more_than_one_value(engine, layer):
    with pytest.raises(ValueError, match="more than one value per feature"):
        run(engine, layer, np.ones((1, 1, 3, 1, 1)[: 3 + layer.space]), train=True)


def test_dropout_without_a_key_is_refused(engine):
    passing = Pass(engine, train=True)
    with pytest.raises(ValueError, match="random key"):
        sc.Dropout(0.5).run(passing, Tree(), Tree(), None, engine.asarray(np.ones((1, 1, 2))))
