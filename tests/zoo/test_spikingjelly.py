"""Networks of the zoo against SpikingJelly's own modules, with their weights: equal spikes, outputs and gradients."""

from __future__ import annotations

import warnings
from typing import Any, Dict, NamedTuple

import numpy as np
import pytest

import spikecore as sc
from spikecore import zoo
from spikecore.api.core.layer import Pass, shapes_of
from spikecore.api.core.tree import Tree, flatten, map_leaves, unflatten
from spikecore.zoo.spikingjelly import placed

torch = pytest.importorskip("torch", reason="SpikingJelly needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from spikingjelly.activation_based import functional, layer, neuron, surrogate
    from spikingjelly.activation_based.model import (
        ms_resnet,
        parametric_lif_net,
        sew_resnet,
        spiking_resnet,
        spiking_vgg,
    )

pytestmark = pytest.mark.filterwarnings("ignore")  # SpikingJelly warns of its own affairs

STEPS, BATCH, CLASSES = 4, 2, 5


class Found(NamedTuple):
    """What a pass over a sequence and back gives; all but the outputs by the names of our network."""

    outputs: Any
    spikes: Dict[str, Any]
    grads: Dict[str, Any]
    statistics: Dict[str, Any]  # running means and variances


PAPER = {"detach_reset": True, "surrogate_function": surrogate.ATan(2.0)}  # their own defaults are others
IF = {"spiking_neuron": neuron.IFNode, **PAPER}


# ---- their modules, as they are and narrow --------------------------------------------------------------------------


def narrowed(net, block, depths, width, **options):
    """A residual network of theirs with fewer channels and the stem for small images: their own blocks."""
    net.inplanes, net.maxpool = width, torch.nn.Identity()
    net.conv1, net.bn1 = layer.Conv2d(3, width, 3, padding=1, bias=False), layer.BatchNorm2d(width)
    for i, depth in enumerate(depths):
        made = net._make_layer(block, width << i, depth, stride=2 if i else 1, **options)
        setattr(net, f"layer{i + 1}", made)
    net.fc = layer.Linear((width << 3) * block.expansion, CLASSES)
    return net


def sew(block, depths, width, cnf):
    net = sew_resnet.SEWResNet(block, [1, 1, 1, 1], CLASSES, cnf=cnf, **IF)
    return narrowed(net, block, depths, width, cnf=cnf, **IF)


def vgg(cfg, width, size, **options):
    cfg = [entry if entry == "M" else entry * width // 64 for entry in spiking_vgg.cfgs[cfg]]
    net = spiking_vgg.SpikingVGG(cfg, num_classes=CLASSES, init_weights=False, **options, **IF)
    net.avgpool = layer.AdaptiveAvgPool2d((size // 32, size // 32))  # theirs makes 7 x 7 of any size
    net.classifier[0] = layer.Linear(8 * width * (size // 32) ** 2, 20)
    net.classifier[3], net.classifier[6] = layer.Linear(20, 20), layer.Linear(20, CLASSES)
    return net


BASIC, BOTTLENECK = sew_resnet.BasicBlock, sew_resnet.Bottleneck
NARROW = {  # theirs, ours, shape of a sample
    **{
        f"sew_resnet18-{join}": (
            lambda join=join: sew(BASIC, (2, 2, 2, 2), 4, join.upper()),
            lambda join=join: zoo.sew_resnet18(CLASSES, width=4, stem="cifar", join=join),
            (3, 16, 16),
        )
        for join in ("add", "and", "iand")
    },
    "sew_resnet34": (
        lambda: sew(BASIC, (3, 4, 6, 3), 2, "ADD"),
        lambda: zoo.sew_resnet34(CLASSES, width=2, stem="cifar"),
        (3, 16, 16),
    ),
    "sew_resnet50": (
        lambda: sew(BOTTLENECK, (3, 4, 6, 3), 2, "ADD"),
        lambda: zoo.sew_resnet50(CLASSES, width=2, stem="cifar"),
        (3, 16, 16),
    ),
    "spiking_resnet18": (
        lambda: narrowed(
            spiking_resnet.SpikingResNet(spiking_resnet.BasicBlock, [1, 1, 1, 1], CLASSES, **IF),
            spiking_resnet.BasicBlock, (2, 2, 2, 2), 4, **IF,
        ),
        lambda: zoo.spiking_resnet18(CLASSES, width=4, stem="cifar"),
        (3, 16, 16),
    ),
    "ms_resnet18": (
        lambda: ms_resnet.MSResNet(STEPS, 3, CLASSES, base_channels=4, stem_kernel_size=3, stem_stride=1),
        lambda: zoo.ms_resnet18(CLASSES, width=4, stem="cifar"),
        (3, 16, 16),
    ),
    "spiking_vgg11": (
        lambda: vgg("A", 4, 32, batch_norm=True),
        lambda: zoo.spiking_vgg11(CLASSES, width=4, size=32, hidden=20, dropout=0.0),
        (3, 32, 32),
    ),
    "spiking_vgg16-plain": (
        lambda: vgg("D", 4, 32),
        lambda: zoo.spiking_vgg16(CLASSES, width=4, size=32, hidden=20, batch_norm=False, dropout=0.0),
        (3, 32, 32),
    ),
    "plif_net": (
        lambda: parametric_lif_net.MNISTNet(4, neuron.ParametricLIFNode, init_tau=2.0, **PAPER),
        lambda: zoo.plif_net(width=4, dropout=0.0),
        (1, 28, 28),
    ),
}  # fmt: skip


GAINS = {"plif_net": 4.0, "spiking_vgg16-plain": 4.0}  # their inputs decay; there is no batch norm


def their_module(build, dtype, gain=1.0, seed=0):
    """Theirs over sequences and without dropout; batch norms and time constants are random, so that neurons fire."""
    torch.manual_seed(seed)
    net = build()
    functional.set_step_mode(net, "m")
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.7, 1.5)
            torch.nn.init.uniform_(module.bias, 0.0, 0.5)
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, neuron.ParametricLIFNode):
            torch.nn.init.uniform_(module.w, -0.5, 0.5)
        if isinstance(module, layer.Dropout):
            module.p = 0.0
    if gain != 1.0:
        with torch.no_grad():
            for module in net.modules():
                if hasattr(module, "weight"):
                    module.weight *= gain
    return net.to(dtype)


def spikes_of(net):
    """A dict that a forward pass fills: the spikes of each neuron by its name."""
    found = {}
    for name, module in net.named_modules():
        if isinstance(module, neuron.BaseNode):
            module.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out.detach()))
    return found


def both(name, dtype, train, cases=None):
    """Spikes, outputs and gradients of theirs and of ours with their weights, by our names."""
    theirs, ours, shape = (cases or NARROW)[name]
    net = their_module(theirs, getattr(torch, dtype), GAINS.get(name, 1.0)).train(train)
    network, engine = ours(), sc.get_engine("torch", dtype=dtype)
    model = sc.Model(network, engine, input_shape=shape)
    zoo.load_spikingjelly(model, net.state_dict())
    network = model.network  # whose neurons fire at the threshold, as theirs do
    like, state = shapes_of(network, shape), model.state()
    draw = np.random.default_rng(1)
    x = draw.random((STEPS, BATCH, *shape)).astype(dtype)
    weights = torch.as_tensor(draw.standard_normal((STEPS, BATCH, *model.output_shape)).astype(dtype))

    def function(held, buffers):
        result = network.run(Pass(engine, train=train, record=True), held.params, buffers, None, held.x)
        seen = flatten(result.recorded)
        spikes = {key[: -len(".spikes")]: value for key, value in seen.items() if key.endswith(".spikes")}
        return engine.xp.sum(result.outputs * weights), (result.outputs, spikes, result.buffers)

    params, buffers = (unflatten(state[part], getattr(like, part)) for part in ("params", "buffers"))
    held, buffers = (map_leaves(engine.asarray, tree) for tree in (Tree(params=params, x=x), buffers))
    _, (out, spikes, moved), grads = engine.value_and_grad(function, held, buffers)
    mine = Found(out.detach(), spikes, {"x": grads.x, **flatten(grads.params)}, flatten(moved))

    table = zoo.card(name.partition("-")[0]).spikingjelly
    fired = spikes_of(net)
    inputs = torch.as_tensor(x).requires_grad_()
    if isinstance(net, ms_resnet.MSResNet):  # its forward ends in a mean over time
        net.head.register_forward_hook(lambda _, __, out: fired.__setitem__("out", out))
        net(inputs)
        out = fired.pop("out")
    else:
        out = net(inputs)
    (out * weights).sum().backward()
    keys = placed(table, net.state_dict()).keys
    of = dict(net.named_parameters())
    gradients = {own: of[key].grad * (-1 if key.endswith(".w") else 1) for own, key in keys.items() if key in of}
    names = {own.rpartition(".")[0]: key for own, key in placed(table, (f"{key}.weight" for key in fired)).keys.items()}
    by_name = {own: fired[key.rpartition(".")[0]] for own, key in names.items()}
    after = {own: net.state_dict()[key] for own, key in keys.items() if "running" in own}
    return mine, Found(out.detach(), by_name, {"x": inputs.grad, **gradients}, after)


def check(mine, theirs, limit):
    assert mine.spikes.keys() == theirs.spikes.keys()
    for name, spikes in theirs.spikes.items():
        assert torch.equal(mine.spikes[name].detach(), spikes), name
    rates = [float(spikes.mean()) for spikes in theirs.spikes.values()]
    assert 0.02 < np.mean(rates) < 0.9
    assert_close(mine.outputs, theirs.outputs, limit)
    assert mine.grads.keys() == theirs.grads.keys()
    largest = max(float(abs(grad).max()) for grad in theirs.grads.values())
    for name, grad in theirs.grads.items():
        assert float(abs(mine.grads[name] - grad).max()) <= limit * largest, name
    for name, value in theirs.statistics.items():
        assert_close(mine.statistics[name], value, limit)


def assert_close(a, b, limit):
    assert float(abs(a - b).max()) <= limit * max(1.0, float(abs(b).max()))


def quickly(*names):
    """All narrow ones; those that are not among ``names`` are slow."""
    slow = pytest.mark.slow
    each = [pytest.param(name, marks=() if name in names else slow) for name in NARROW]
    return pytest.mark.parametrize("name", each)


@quickly(*(name for name in NARROW if name not in ("sew_resnet34", "spiking_vgg16-plain")))
def test_training_in_float64(name):
    check(*both(name, "float64", True), 1e-10)


@quickly("sew_resnet18-add", "plif_net")
def test_evaluation_in_float64(name):
    check(*both(name, "float64", False), 1e-10)


@quickly("sew_resnet18-add", "ms_resnet18")
def test_training_in_float32(name):
    check(*both(name, "float32", True), 1e-5)


# ---- the loader ------------------------------------------------------------------------------------------------------


def loaded(name, change):
    theirs, ours, shape = NARROW[name]
    weights = change(dict(their_module(theirs, torch.float32).state_dict()))
    model = sc.Model(ours(), "numpy", input_shape=shape)
    before = model.params()
    try:
        zoo.load_spikingjelly(model, weights)
    finally:
        assert all(np.array_equal(value, before[key]) for key, value in model.params().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: {**w, "layer1.0.conv3.weight": w["fc.weight"]},
            r"As zoo\.\w+, layer1\.0\.conv3\.weight has no place",
        ),
        (
            lambda w: {**w, "layer9.0.conv1.weight": w["fc.weight"]},
            r"layer9\.0\.conv1\.weight has no place: the network",
        ),
        (
            lambda w: {k: v for k, v in w.items() if k != "layer2.1.bn2.bias"},
            r"2\.1\.body\.4\.bias of the network has no",
        ),
        (
            lambda w: {**w, "fc.bias": w["fc.bias"][:2]},
            r"fc\.bias has shape \(2,\), 5\.1\.bias of the network has \(5,\)",
        ),
        (lambda w: {f"module.{key}": value for key, value in w.items()}, r"module\.conv1\.weight has no place"),
        (lambda w: {f"module.{key}": value for key, value in w.items()}, r"DataParallel adds; pass module\.module\."),
        (lambda w: {f"_orig_mod.{key}": value for key, value in w.items()}, r"compile adds; pass module\._orig_mod\."),
        (lambda w: {"epoch": 3, "model": w}, r"\['model'\] is a dict, not an array; .* e\.g\. checkpoint\['model'\]"),
        (lambda w: {}, r"state_dict is empty; pass module\.state_dict\(\)"),
        (lambda w: {**w, 0: w["fc.bias"]}, r"has the key 0; keys must be names"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        loaded("sew_resnet18-add", change)


def test_a_network_of_another_architecture_is_refused():
    theirs, _, _ = NARROW["spiking_vgg11"]
    model = sc.Model(zoo.sew_resnet18(CLASSES, width=4, stem="cifar"), "numpy", input_shape=(3, 16, 16))
    with pytest.raises(ValueError, match="the network is not that of the state dict"):
        zoo.load_spikingjelly(model, their_module(theirs, torch.float32).state_dict())


def test_bottlenecks_that_invert_the_shortcut_are_refused():
    weights = their_module(NARROW["sew_resnet50"][0], torch.float32).state_dict()
    network = zoo.sew_resnet50(CLASSES, width=2, stem="cifar", join="iand")
    with pytest.raises(ValueError, match=r"sew_resnet50 with cnf='IAND' invert the shortcut"):
        zoo.load_spikingjelly(sc.Model(network, "numpy", input_shape=(3, 16, 16)), weights)


@pytest.mark.parametrize("name", NARROW)
def test_every_name_of_a_table_is_one_of_theirs(name):
    """Neurons without weights are modules, too; a table names each module once, and nothing else."""
    table = zoo.card(name.partition("-")[0]).spikingjelly
    net = their_module(NARROW[name][0], torch.float32)
    keys = [f"{key}.weight" for key, _ in net.named_modules()]
    by_row = {theirs: placed({theirs: ours}, keys).keys for theirs, ours in table.items()}
    assert [theirs for theirs, found in by_row.items() if not found] == []
    own = [key for found in by_row.values() for key in found]
    assert len(own) == len(set(own))
    assert placed(table, net.state_dict()).unknown == []


# ---- the papers' widths ----------------------------------------------------------------------------------------------


def whole(build, **options):
    return lambda: build(num_classes=CLASSES, **options)


WHOLE = {  # theirs, ours, shape of a sample
    "sew_resnet18": (
        whole(sew_resnet.sew_resnet18, cnf="ADD", **IF), lambda: zoo.sew_resnet18(CLASSES), (3, 224, 224),
    ),
    "sew_resnet34": (
        whole(sew_resnet.sew_resnet34, cnf="AND", **IF), lambda: zoo.sew_resnet34(CLASSES, join="and"), (3, 64, 64),
    ),
    "sew_resnet50": (
        whole(sew_resnet.sew_resnet50, cnf="ADD", **IF), lambda: zoo.sew_resnet50(CLASSES), (3, 64, 64),
    ),
    "spiking_resnet18": (
        whole(spiking_resnet.spiking_resnet18, **IF), lambda: zoo.spiking_resnet18(CLASSES), (3, 224, 224),
    ),
    "ms_resnet18": (whole(ms_resnet.ms_resnet18), lambda: zoo.ms_resnet18(CLASSES), (3, 224, 224)),
    "spiking_vgg11": (
        whole(spiking_vgg.spiking_vgg11_bn, **IF), lambda: zoo.spiking_vgg11(CLASSES, dropout=0.0), (3, 224, 224),
    ),
    "spiking_vgg16": (
        whole(spiking_vgg.spiking_vgg16_bn, **IF), lambda: zoo.spiking_vgg16(CLASSES, dropout=0.0), (3, 224, 224),
    ),
    "plif_net": (
        lambda: parametric_lif_net.DVSGestureNet(128, neuron.ParametricLIFNode, init_tau=2.0, **PAPER),
        lambda: zoo.plif_net(11, 2, 128, 128, (1, 1, 1, 1, 1), hidden=512, dropout=0.0),
        (2, 128, 128),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_the_papers_width(name):
    """Forwards, in float64: in float32 a few of millions of membranes come closer to the threshold than rounding."""
    theirs, ours, shape = WHOLE[name]
    torch.manual_seed(0)
    net = their_module(theirs, torch.float64, GAINS.get(name, 1.0)).eval()
    model = sc.Model(ours(), "torch", dtype="float64", input_shape=shape)
    zoo.load_spikingjelly(model, net.state_dict())
    x = torch.rand(STEPS, BATCH, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected = net(x)
    spikes = model(x).spikes
    assert_close(spikes.mean(0) if name == "ms_resnet18" else spikes, expected, 1e-10)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_membranes_that_meet_the_threshold_exactly_fire_on_both_sides(dtype):
    """Weights and inputs are multiples of 1/8, so that sums meet a threshold of 1 everywhere, and often."""
    theirs, ours, shape = NARROW["spiking_vgg16-plain"]
    net, draw = their_module(theirs, getattr(torch, dtype)).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.randint(-1, 4, value.shape, generator=draw) / 8.0)
    x = torch.randint(0, 9, (STEPS, BATCH, *shape), generator=draw).to(getattr(torch, dtype)) / 8.0
    fired = spikes_of(net)
    net(x)
    functional.reset_net(net)
    model = sc.Model(ours(), sc.get_engine("torch", dtype=dtype), input_shape=shape)
    differing = []
    for own in (True, False):  # with the thresholds as they are, and as ``load_spikingjelly`` leaves them
        zoo.load_spikingjelly(model, net.state_dict())
        if own:
            plain = sc.Model(ours(), model.engine, input_shape=shape)
            plain.load_state(model.state())
        out = (plain if own else model)(x, record=True)
        keys = placed(zoo.card("spiking_vgg16").spikingjelly, (f"{key}.weight" for key in fired)).keys
        names = {key.rpartition(".")[0]: own_name.rpartition(".")[0] for own_name, key in keys.items()}
        differing.append(sum(int((out.states[names[key]].spikes != value).sum()) for key, value in fired.items()))
    assert differing[0] > 100
    assert differing[1] == 0
