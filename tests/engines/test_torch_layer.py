"""``sc.Torch``: torch's own layers in a network of spikecore, on the torch engine."""

from __future__ import annotations

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402

T, B = 5, 8


def network(*middle):
    return sc.Sequential(sc.Linear(6, 10), *middle, sc.Leaky(beta=0.9, threshold=0.3), sc.Linear(10, 3),
                         sc.Leaky(beta=0.8))  # fmt: skip


def batches(count=3):
    draw = np.random.default_rng(0)
    return [(draw.random((T, B, 6), dtype="float32"), draw.integers(0, 3, B)) for _ in range(count)]


def fitted(*middle, epochs=2, **options):
    torch.manual_seed(0)
    model = sc.Model(network(*middle), "torch")
    model.fit(
        batches(), optimizer=sc.SGD(lr=1e-1), epochs=epochs, progress=False, **options
    )  # (Adam enlarges rounding)
    return model


def test_it_is_the_module_on_time_and_batch():
    torch.manual_seed(0)
    module = nn.Sequential(nn.LayerNorm(10), nn.Linear(10, 10))
    model = sc.Model(network(sc.Torch(module)), "torch")
    assert set(model.params()) >= {"1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias"}
    for name, values in module.named_parameters():
        assert np.array_equal(model.params()[f"1.{name}"], values.detach().numpy())
    ours = sc.Model(network(sc.LayerNorm(10), sc.Linear(10, 10)), "torch", seed=0)
    state = model.state()
    places = {"0": "0", "1.0": "1", "1.1": "2", "3": "4"}
    params = {name.rpartition("."): values for name, values in state["params"].items()}
    ours.load_state({**state, "params": {f"{places[layer]}.{name}": x for (layer, _, name), x in params.items()}})
    x = batches(1)[0][0]
    assert torch.equal(model(x).spikes, ours(x).spikes)


def test_batch_norm_trains_as_spikecores_own():
    theirs, ours = fitted(sc.Torch(nn.BatchNorm1d(10))), fitted(sc.BatchNorm1d(10))
    assert theirs.history[-1]["loss"] == pytest.approx(ours.history[-1]["loss"], rel=1e-5)
    buffers = theirs.state()["buffers"]
    assert buffers["1.num_batches_tracked"] == 6
    for name, values in ours.state()["buffers"].items():
        assert buffers[name] == pytest.approx(values, rel=1e-4, abs=1e-5)
    x = batches(1)[0][0]
    assert torch.equal(theirs(x).spikes, theirs(x).spikes)  # in evaluation mode nothing moves
    assert theirs.state()["buffers"]["1.num_batches_tracked"] == 6


def test_the_module_stays_as_it_was():
    module = nn.BatchNorm1d(10).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fitted(sc.Torch(module))
    assert not module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_frozen_parameters_stay():
    module = nn.Linear(10, 10)
    module.weight.requires_grad_(False)
    model = fitted(sc.Torch(module))
    assert "1.weight" not in model.params()
    assert np.array_equal(model.state()["buffers"]["1.weight"], module.weight.detach().numpy())
    assert not np.array_equal(model.params()["1.bias"], module.bias.detach().numpy())


def test_dropout_is_drawn_from_the_models_seed_alone(tmp_path):
    whole = fitted(sc.Torch(nn.Dropout(0.5)), epochs=4)
    half = fitted(sc.Torch(nn.Dropout(0.5)), epochs=2)
    half.save(tmp_path / "half.safetensors")
    again = sc.load(tmp_path / "half.safetensors", modules=[nn.Dropout(0.5)])
    torch.manual_seed(9)
    drawn = torch.rand(3)
    torch.manual_seed(9)
    again.fit(batches(), optimizer=sc.SGD(lr=1e-1), epochs=4, progress=False, resume=True)
    assert torch.equal(torch.rand(3), drawn)  # nobody else's draws are used up
    for name, values in whole.params().items():
        assert np.array_equal(again.params()[name], values)
    x = batches(1)[0][0]
    assert torch.equal(whole(x).spikes, again(x).spikes)


def test_a_file_names_what_it_needs(tmp_path):
    model, path = fitted(sc.Torch(nn.BatchNorm1d(10))), tmp_path / "model.safetensors"
    model.save(path)
    with pytest.raises(sc.errors.CheckpointError, match=r"layer 1: torch\.nn\..*BatchNorm1d\(10.*modules=\[\.\.\.\]"):
        sc.load(path)
    with pytest.raises(
        sc.errors.CheckpointError, match=r"layer 1: .*BatchNorm1d\(11.*but the file says .*BatchNorm1d\(10"
    ):
        sc.load(path, modules=[nn.BatchNorm1d(11)])
    with pytest.raises(sc.errors.CheckpointError, match=r"layer 1: .*module=3 must be an nn\.Module"):
        sc.load(path, modules=[3])
    for several in (3, nn.BatchNorm1d(10)):
        with pytest.raises(TypeError, match=r"load: modules=.* must be a list of modules"):
            sc.load(path, modules=several)
    again, x = sc.load(path, modules=[nn.BatchNorm1d(10)]), batches(1)[0][0]
    assert torch.equal(again(x).spikes, model(x).spikes)
    with pytest.raises(TypeError, match="layer 1: .*torch engine alone, not on 'numpy'"):
        sc.load(path, "numpy", modules=[nn.BatchNorm1d(10)])
    with pytest.raises(sc.errors.CheckpointError, match="modules=1 given, but the network has 0 sc.Torch layers"):
        fitted(sc.Flatten()).save(path) or sc.load(path, modules=[nn.ReLU()])


def test_summary_and_explain():
    model = sc.Model(network(sc.Torch(nn.Linear(10, 10))), "torch")
    row = next(line for line in model.summary().splitlines() if line.startswith("1 "))
    assert "Torch" in row
    assert "110" in row
    assert "Torch" in model.engine.explain(model.network)


@pytest.mark.parametrize("options", [{}, {"simulate": True}], ids=["numpy", "ipu"])
def test_other_engines_refuse_it_by_name(options):
    engine = "ipu" if options else "numpy"
    with pytest.raises(
        TypeError, match=rf"layer 1: Torch\(.*ReLU\(\)\) runs on the torch engine alone, not on '{engine}'"
    ):
        sc.Model(network(sc.Torch(nn.ReLU())), engine, **options)
    model = sc.Model(network(sc.Torch(nn.ReLU())), "torch")
    with pytest.raises(TypeError, match="layer 1: .*sc.Model"):
        model.to_engine(engine, **options)
    assert model.to_engine("torch", dtype="float64")(torch.rand(T, B, 6).double()).spikes.dtype == torch.float64


def test_verify_says_that_there_is_no_reference():
    x, y = batches(1)[0]
    with pytest.raises(TypeError, match="layer 1: .*not on 'numpy'"):
        sc.verify(sc.Model(network(sc.Torch(nn.ReLU())), "torch"), x, y)


def test_to_torch_gives_the_module_back():
    model = fitted(sc.Torch(nn.BatchNorm1d(10)))
    net, x = snn.to_torch(model).eval(), batches(1)[0][0]
    assert isinstance(net[1], nn.BatchNorm1d)
    assert np.array_equal(net[1].weight.detach().numpy(), model.params()["1.weight"])
    assert int(net[1].num_batches_tracked) == 6
    assert torch.equal(snn.run(net, torch.as_tensor(x)), model(x).spikes)


class Attends(nn.Module):
    """A module of the user's own, on maps, with a table of numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.arange(3).flip(0))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x[:, self.order], need_weights=False)[0]


def test_a_module_of_ones_own():
    torch.manual_seed(0)
    net = sc.Sequential(sc.Torch(Attends()), sc.Flatten(), sc.Linear(12, 3), sc.Leaky(beta=0.9))
    model, x = (
        sc.Model(net, "torch", input_shape=(3, 4)),
        np.random.default_rng(0).random((T, B, 3, 4), dtype="float32"),
    )
    before = model.params()
    model.fit([(x, np.arange(B) % 3)], loss=sc.functional.ce_rate_loss(), progress=False)
    assert not np.array_equal(before["0.attention.in_proj_weight"], model.params()["0.attention.in_proj_weight"])


@pytest.mark.parametrize(
    ("module", "error", "match"),
    [
        (3, TypeError, r"module=3 must be an nn\.Module"),
        (None, TypeError, "module=None"),
        (nn.ReLU, TypeError, r"must be an nn\.Module"),
        (nn.Linear(10, 10).half(), TypeError, r"torch\.float16; convert it, module\.float\(\)"),
        (nn.LazyLinear(10), ValueError, "call it once before"),
        (nn.Sequential(nn.Linear(10, 10), snn.Leaky(0.9)), TypeError, r"has a neuron, 1 \(Leaky\)"),
        (prune.identity(nn.Linear(10, 10), "weight"), TypeError, r"=Linear cannot be copied: .*prune\.remove"),
    ],
)
def test_what_is_no_layer_is_refused(module, error, match):
    with pytest.raises(error, match=match):
        sc.Torch(module)


class Keeps(nn.Module):
    """A module that keeps something, in one of several ways."""

    def __init__(self, what):
        super().__init__()
        self.what, self.mem, self.seen, self.count = what, None, [], 0
        self.kept = types.SimpleNamespace(mem=0.0)
        if what in ("buffer", "in place"):
            self.register_buffer("state", torch.zeros(1))

    def forward(self, x):
        if self.what == "neuron":
            self.mem = x + (0 if self.mem is None else 0.9 * self.mem.detach())
            return (self.mem > 1).to(x.dtype)
        if self.what == "mean":  # from the first value: an input that stays the same changes nothing
            self.mem = x.detach() if self.mem is None else 0.5 * self.mem + 0.5 * x.detach()
            return self.mem + 0 * x
        if self.what == "buffer":
            self.state = 0.9 * self.state + x.detach()
            return self.state + 0 * x
        if self.what == "in place":
            self.state.mul_(0.9).add_(x.detach().mean())
            return self.state + x
        if self.what == "number":
            self.count = 0.9 * self.count + x.detach()
            return self.count + x
        if self.what == "object":
            self.kept.mem = 0.9 * self.kept.mem + x.detach()
            return self.kept.mem + x
        if self.what == "drawn":
            self.mem = torch.rand(x.shape)
            return x + 0 * self.mem
        if self.what == "list":
            self.seen.append(x)
        elif self.what == "count":
            self.count += 1
        elif self.what == "shown":
            self.mem, self.seen = x.detach().log().sqrt(), [x.sum().item(), x.shape, x.detach().numpy()]  # NaN
            self.kept = types.SimpleNamespace(mem=x.detach())
        elif self.mem is None:
            self.mem = torch.ones(x.shape[-1])
        return x


@pytest.mark.parametrize(
    ("what", "name"), [("neuron", "mem"), ("mean", "mem"), ("buffer", "state"), ("in place", "state"),
                       ("number", "count"), ("object", "kept"), ("list", "seen"), ("count", "count"), ("shown", ""),
                       ("cache", ""), ("drawn", "")]
)  # fmt: skip
def test_a_module_with_a_memory_is_refused(what, name):
    """It would see all steps in one call: a neuron in it would be one without time."""
    network_of = sc.Sequential(sc.Torch(nn.Sequential(Keeps(what))), sc.Leaky())
    if name:
        with pytest.raises(TypeError, match=f"keeps '0.{name}' from call to call"):
            sc.Model(network_of, "torch", input_shape=(3,))
    else:
        x = torch.rand(5, 2, 3)
        model = sc.Model(network_of, "torch", input_shape=(3,))
        assert torch.equal(model(x).spikes, model(x).spikes)


def test_samples_that_do_not_fit_are_refused():
    with pytest.raises(sc.errors.ShapeError, match=r"layer 1: Torch\(.*Linear.*\) refuses samples of shape \(10,\)"):
        sc.Model(network(sc.Torch(nn.Linear(9, 10))), "torch")
    with pytest.raises(TypeError, match="returns tuple"):
        sc.Model(network(sc.Torch(nn.LSTM(10, 10))), "torch")
