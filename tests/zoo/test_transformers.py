"""Spiking transformers of the zoo against SpikingJelly's modules, and without it: both engines, files, the IPU."""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore import zoo
from spikecore.api.core.layer import shapes_of
from spikecore.api.core.tree import leaves
from spikecore.zoo.spikingjelly import placed
from spikecore.zoo.transformer_parts import ATTENTION_TAU_2

torch = pytest.importorskip("torch", reason="the zoo's transformers are compared through torch")
snn = pytest.importorskip("spikecore.nn")

DETACHED = {"detach_reset": True}
NARROW = {  # ours with options, SpikingJelly's with the same, whether theirs returns the mean over time
    "spikformer": (
        lambda **o: zoo.spikformer(2, 32, 4, 5, patch_size=4, **o),
        lambda theirs: theirs.spikformer.Spikformer(4, 3, 16, 16, 4, 5, 32, 4, 4.0, 2),
    ),
    "qkformer": (
        lambda **o: zoo.qkformer((1, 1, 1), 32, (2, 2, 1), 5, **o),
        lambda theirs: theirs.qkformer.QKFormer(4, 3, 5, 32, (2, 2, 1), (1, 1, 1), **DETACHED),
    ),
    "qkformer-channel": (
        lambda **o: zoo.qkformer((1, 1, 1), 32, (2, 2, 1), 5, over="channel", **o),
        lambda theirs: theirs.qkformer.QKFormer(
            4, 3, 5, 32, (2, 2, 1), (1, 1, 1), qka_type="channel", **DETACHED
        ),
    ),
    "spike_driven_transformer": (
        lambda **o: zoo.spike_driven_transformer(2, 32, 5, patch_size=4, **o),
        lambda theirs: theirs.spike_driven_transformer.SpikeDrivenTransformer(
            4, 3, 5, 32, 4, 2, 4.0, "0011", **DETACHED
        ),
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", NARROW)
SPIKING = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "channel" in name else ()) for name in NARROW]
)


@pytest.fixture(scope="module")
def theirs():
    """SpikingJelly's models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
        from spikingjelly.activation_based import model
        from spikingjelly.activation_based.model import qkformer, spike_driven_transformer, spikformer  # noqa: F401
    return model


def lively(module, x):
    """Random weights, scales and shifts; running statistics that are those of x, so that neurons fire throughout."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.named_parameters():
            drawn = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            scaled = 4.0 * (drawn - 0.5) / value[0].numel() ** 0.5 if value.dim() > 1 else 1.6 * drawn
            value.copy_(1.0 + drawn if value.dim() == 1 and name.endswith("weight") else scaled)
        norms = [one for one in module.modules() if hasattr(one, "running_var")]
        for one in norms:
            one.momentum = 1.0
        module.train()(x)
        for one in norms:
            one.momentum = 0.1
    return module


def spikes_of(module, x):
    """Their outputs, averaged over time, and the spikes of all neurons in the order in which they fire."""
    from spikingjelly.activation_based import functional, neuron

    seen = []
    hooks = [
        one.register_forward_hook(lambda one, _, out: seen.append(out))
        for one in module.modules()
        if isinstance(one, neuron.BaseNode)
    ]
    functional.reset_net(module)
    out = module(x)
    for hook in hooks:
        hook.remove()
    return out, [each.detach() for each in seen]


def both(name, theirs, dtype, train=False):
    """A module and a model with its weights, and a batch."""
    (make, module_of), size = NARROW[name], 32 if "qkformer" in name else 16
    exact = {"attention_neuron": replace(ATTENTION_TAU_2, threshold=1.0)} if dtype == "float64" else {}
    x = torch.rand(4, 2, 3, size, size, dtype=getattr(torch, dtype), generator=torch.Generator().manual_seed(1))
    module = lively(module_of(theirs).to(x.dtype), x)
    model = sc.Model(make(**exact), sc.get_engine("torch", dtype=dtype, fused=False), input_shape=(3, size, size))
    zoo.load_spikingjelly(model, module.state_dict())
    return module.train(train), model, x


def of_time(outputs):
    """Outputs averaged over time; some of SpikingJelly's modules do so themselves."""
    return outputs.mean(0) if outputs.dim() == 3 else outputs


@EACH
@pytest.mark.filterwarnings("ignore")
def test_spikes_and_outputs_are_spikingjellys(name, theirs):
    module, model, x = both(name, theirs, "float32")
    expected, spikes = spikes_of(module, x)
    out = model(x, record=True)
    assert float((of_time(out.spikes) - of_time(expected)).abs().max()) <= 1e-5 * float(expected.abs().max())
    ours = [flat(state.spikes) for state in out.states.values()]
    for place in {name.rpartition(name.split(".body.0.")[-1])[0] for name in out.states if ".body.0." in name}:
        parts = [out.states.get(f"{place}{branch}.2") for branch in ("query", "key", "value", "gate", "body")]
        ours.append(torch.cat([flat(part.spikes) for part in parts if part is not None], dim=2))
    for each in map(flat, spikes):
        assert float(each.mean()) > 0.01, "too few spikes to show anything"
        assert any(torch.equal(each, one) for one in ours if one.shape == each.shape)


def flat(spikes):
    """(time, batch, neurons): with or without an axis of heads, and with one of positions or two, in the same order."""
    return spikes.flatten(2)


@EACH
@pytest.mark.parametrize(("dtype", "limit", "least"), [("float64", 1e-10, 1e-3), ("float32", 1e-5, 1.0)])
@pytest.mark.filterwarnings("ignore")
def test_gradients_are_spikingjellys(name, theirs, dtype, limit, least):
    """In training, with the statistics of the batch; float32 with the default neurons, whose threshold is lower.

    A bias before a batch norm has no gradient but rounding, so errors are relative to the largest gradient, too.
    """
    module, model, x = both(name, theirs, dtype, train=True)
    weights = torch.rand(2, 5, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    expected, _ = spikes_of(module, x)
    value = (of_time(expected) * weights).sum()
    value.backward()
    loss, grads = model.value_and_grad(x, weights, loss=lambda out, targets: (out.spikes.mean(0) * targets).sum())
    assert loss == pytest.approx(float(value), rel=1e-12 if dtype == "float64" else 1e-5)
    known = placed(zoo.card(name.partition("-")[0]).spikingjelly, module.state_dict())
    theirs_by_name = {key: parameter.grad for key, parameter in module.named_parameters()}
    assert set(grads) == {own for own in known.keys if not own.rpartition(".")[2].startswith("running")}
    largest = max(float(grad.abs().max()) for grad in grads.values())
    for own, grad in grads.items():
        error = abs(known.read(own, theirs_by_name, grad.ndim) - grad.numpy()).max()
        assert error <= limit * max(float(grad.abs().max()), least * largest), own


# ---- without SpikingJelly ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def firing(name):
    """A model with random weights and running statistics of its input, so that neurons fire throughout; a batch."""
    size = 32 if "qkformer" in name else 16
    draw = np.random.default_rng(0)
    x, labels = draw.random((2, 3, size, size), dtype=np.float32), np.array([0, 1])
    engine = sc.get_engine("torch", fused=False)  # these are too small for kernels
    model = sc.Model(NARROW[name][0](), engine, seed=0, input_shape=(3, size, size))
    state = model.state()
    for key, value in state["params"].items():
        scale = 4.0 / np.prod(value.shape[1:]) ** 0.5 if value.ndim > 1 else 1.6
        shift = -0.5 * scale if value.ndim > 1 else float(key.endswith("weight"))
        state["params"][key] = (shift + scale * draw.random(value.shape)).astype("float32")
    model.load_state(state)
    for _ in range(10):
        model.value_and_grad(x, labels, num_steps=2)
    return model, x, labels


@SPIKING
def test_gradients_are_verified(name):
    model, x, labels = firing(name)
    report = sc.verify(model, x, labels, num_steps=2, differences=False)
    assert report.ok, str(report)
    assert report.worst <= 1e-11
    assert "nothing fires" not in str(report)


@SPIKING
def test_as_a_module_and_from_a_file(name, tmp_path):
    model, x, _ = firing(name)
    expected = model(x, num_steps=4, record=True)
    assert min(float(state.spikes.mean()) for state in expected.states.values()) > 0.0
    net = snn.to_torch(model).eval()
    torch.testing.assert_close(snn.run(net, torch.as_tensor(x), num_steps=4), expected.spikes)
    model.save(tmp_path / "model.safetensors")
    again = sc.load(tmp_path / "model.safetensors", engine="numpy")
    np.testing.assert_allclose(again(x, num_steps=4).spikes, expected.spikes.detach(), atol=1e-5)
    assert again.network == model.network
    report = F.activity(model, x, num_steps=4)
    kinds = {row.kind for row in report.synapses}
    assert ("SpikingSelfAttention" in kinds) == (name != "spike_driven_transformer")
    assert {row.kind for row in report.synapses if not row.binary} <= {"Conv2d", "Linear"}


def test_every_product_of_a_spike_driven_transformer_has_a_spike_as_a_factor():
    """But for the image, which is real, and the head, whose input is a mean over positions that has passed a neuron."""
    model, x, _ = firing("spike_driven_transformer")
    rows = F.activity(model, x, num_steps=4).synapses
    assert [row.name for row in rows if not row.binary] == ["0.0.0"]


BAD = [
    (lambda: zoo.spikformer(dim=36), r"spikformer: dim=36 must be divisible by 8"),
    (lambda: zoo.spikformer(patch_size=3), r"patch_size=3 must be one of 1, 2, 4, 8, 16"),
    (lambda: zoo.qkformer(depths=(1, 2)), r"qkformer: depths=\(1, 2\) must be three ints"),
    (lambda: zoo.qkformer(num_heads=(1, 2, 0)), r"qkformer: num_heads=\(1, 2, 0\) must be three ints"),
    (lambda: zoo.qkformer(over="head"), r"qkformer: over='head'|unknown over"),
    (lambda: zoo.spikformer(mlp_ratio=0.001), r"spikformer: mlp_ratio=0\.001 must be at least 1 / 512"),
    (lambda: zoo.qkformer(mlp_ratio=-1.0), r"qkformer: mlp_ratio=-1\.0 must be at least 1 / 96"),
    (lambda: zoo.qkformer(dim=12), r"qkformer: dim=12 must be divisible by 8"),
    (lambda: zoo.spike_driven_transformer(mlp_ratio=1.0), r"mlp_ratio=1.0 must be > 1"),
    (lambda: zoo.spike_driven_transformer(dim=12), r"dim=12 must be divisible by 8"),
    (lambda: zoo.spikformer(neuron=3), r"neuron=3"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_options(call, says):
    with pytest.raises((ValueError, TypeError), match=says):
        call()


def test_heads_that_do_not_divide_the_channels_are_named():
    with pytest.raises(sc.errors.ShapeError, match=r"num_heads=5 must divide the 32 channels of query"):
        sc.Model(zoo.spikformer(1, 32, 5), "numpy", input_shape=(3, 32, 32))


def test_sizes_of_the_papers():
    """Numbers of parameters that the papers give, in millions."""
    published = [
        (zoo.spikformer(8, 512), 29.68),
        (zoo.spike_driven_transformer(8, 512), 29.68),
        (zoo.qkformer(), 16.47),
    ]
    for network, millions in published:
        params = shapes_of(network, (3, 224, 224)).params
        assert sum(math.prod(value.shape) for _, value in leaves(params)) / 1e6 == pytest.approx(millions, rel=2e-2)


WIDE = {
    "spikformer": (
        lambda: zoo.spikformer(4, 384, 12, 10, patch_size=4),
        lambda theirs: theirs.spikformer.spikformer_cifar10(),
        32,
    ),
    "qkformer": (lambda: zoo.qkformer(), lambda theirs: theirs.qkformer.qkformer_10_384(**DETACHED), 64),
    "spike_driven_transformer": (
        lambda: zoo.spike_driven_transformer(8, 384),
        lambda theirs: theirs.spike_driven_transformer.sdt_8_384(**DETACHED),
        64,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
@pytest.mark.filterwarnings("ignore")
def test_spikes_at_the_width_of_the_papers(name, theirs):
    """In float64: in float32 one of some million membranes is rounded to the other side of its threshold."""
    make, module_of, size = WIDE[name]
    x = torch.rand(4, 2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        module = lively(module_of(theirs).double(), x).eval()
        model = sc.Model(make(), sc.get_engine("torch", dtype="float64"), input_shape=(3, size, size))
        zoo.load_spikingjelly(model, module.state_dict())
        expected, spikes = spikes_of(module, x)
        out = model(x, record=True)
    fired = sum(int(each.sum()) for each in spikes)
    assert fired == sum(int(state.spikes.sum()) for state in out.states.values()) > 100_000
    assert float((of_time(out.spikes) - of_time(expected)).abs().max()) <= 1e-10 * float(expected.abs().max())
