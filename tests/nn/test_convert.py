"""Torch modules as engine-agnostic networks and back: equal spikes, verified gradients, named refusals."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

H = {"init_hidden": True}
NEURONS = {
    "leaky": lambda: snn.Leaky(torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9]), learn_beta=True, threshold=0.7, **H),
    "leaky-zero": lambda: snn.Leaky(0.9, reset_mechanism="zero", learn_threshold=True, reset_delay=False, **H),
    "leaky-graded": lambda: snn.Leaky(0.9, graded_spikes_factor=2.0, spike_grad=sc.surrogate.fast_sigmoid(10.0), **H),
    "synaptic": lambda: snn.Synaptic(0.7, 0.8, learn_alpha=True, **H),
    "alpha": lambda: snn.Alpha(0.9, 0.8, threshold=0.2, learn_beta=True, **H),
    "lapicque": lambda: snn.Lapicque(0.8, threshold=0.2, **H),
    "rleaky": lambda: snn.RLeaky(0.9, linear_features=5, **H),
    "rleaky-one": lambda: snn.RLeaky(0.9, V=0.4, all_to_all=False, learn_beta=True, **H),
    "rleaky-fixed": lambda: snn.RLeaky(0.9, V=0.4, all_to_all=False, learn_recurrent=False, **H),
    "rsynaptic": lambda: snn.RSynaptic(0.8, 0.9, all_to_all=False, **H),
    "slstm": lambda: snn.SLSTM(5, 5, threshold=0.05, **H),
    "delta": lambda: snn.DeltaLeaky(0.2, beta=0.9, **H),
}


def vectors(neuron):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), NEURONS[neuron]()), torch.rand(6, 3, 4) * 2


def images():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, bias=False), snn.Leaky(0.8, **H))
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), snn.Leaky(0.9, **H), nn.Identity(),
        snn.Residual(block), snn.Residual(nn.Identity(), nn.Sequential(nn.Conv2d(3, 3, 1), snn.Leaky(0.8, **H)),
                                          "iand"),
        nn.MaxPool2d(2), snn.SConv2dLSTM(3, 2, 3, threshold=0.05, avg_pool=2, **H),
        nn.Flatten(), nn.Linear(2, 4), nn.LayerNorm(4), snn.GradedSpikes(4, None), snn.Leaky(0.9, **H),
    )  # fmt: skip
    net[1].running_mean.normal_()
    return net.eval(), torch.rand(5, 3, 2, 8, 8) * 2


def outputs(net, x):
    out = snn.run(net, x)
    return (out[0] if isinstance(out, tuple) else out).detach()


@pytest.mark.parametrize("engine", ["torch", "numpy"])
@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name, engine):
    net, x = vectors(name)
    model = snn.from_torch(net, engine=engine)
    spikes = torch.as_tensor(model.engine.to_numpy(model(x.numpy()).spikes))
    assert spikes.sum() > 0
    torch.testing.assert_close(spikes, outputs(net, x))
    back = snn.to_torch(model)
    torch.testing.assert_close(outputs(back, x), spikes)
    learned = {n for n, _ in net.named_parameters()}
    assert {n for n, _ in back.named_parameters()} == learned
    for key, value in net.state_dict().items():
        if key.startswith("1.lstm") or key in learned:
            assert torch.equal(back.state_dict()[key], value)


def test_a_network():
    net, x = images()
    model = snn.from_torch(net, input_shape=(2, 8, 8), engine="numpy")
    torch.testing.assert_close(torch.as_tensor(model(x.numpy()).spikes), outputs(net, x), rtol=1e-4, atol=1e-4)
    back = snn.to_torch(model).eval()
    torch.testing.assert_close(outputs(back, x), outputs(net, x))


def test_a_torch_network_can_be_verified():
    net, x = vectors("leaky")
    report = sc.verify(snn.from_torch(net), x.numpy(), torch.tensor([0, 1, 2]).numpy())
    assert report.ok, str(report)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_torch_module_is_verified_directly(dtype):
    net, x = vectors("leaky")
    net, x, before = net.to(dtype), x.to(dtype), copy.deepcopy(net.state_dict())
    utils.set_state(net, {name: torch.full_like(x[0, 0, 0], 0.3) for name in utils.get_state(net)})
    report = sc.verify(net, x, torch.tensor([0, 1, 2]))
    assert report.ok, str(report)
    assert str(dtype).rpartition(".")[2] in str(report)
    assert all(torch.equal(value.to(dtype), net.state_dict()[name]) for name, value in before.items())
    assert all(float(value) == pytest.approx(0.3) for value in utils.get_state(net).values())


def test_the_batch_says_the_shape_of_a_sample():
    net, x = images()
    assert sc.verify(net, x, torch.tensor([0, 1, 2]), differences=False).ok
    assert sc.verify(net, x[0], torch.tensor([0, 1, 2]), num_steps=2, differences=False).ok


WHOLE = {
    "state": lambda: snn.StateLeaky(torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9]), 5, learn_beta=True, threshold=0.7),
    "state-fixed": lambda: snn.StateLeaky(0.9, 5, graded_spikes_factor=2.0, learn_threshold=True),
    "linear": lambda: snn.LinearLeaky(0.9, 5, 3, bias=False),
    "parallel": lambda: snn.LeakyParallel(5, 3, torch.tensor([0.5, 0.6, 0.7]), threshold=0.3),
    "parallel-dense": lambda: snn.LeakyParallel(5, 3, weight_hh_enable=True, bias=False, threshold=0.1),
    "associative": lambda: snn.AssociativeLeaky(5, 3, 2),
    "associative-plain": lambda: snn.AssociativeLeaky(5, 3, 3, use_q_projection=False),
}


@pytest.mark.parametrize("name", WHOLE)
def test_modules_that_take_whole_sequences(name):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 5), WHOLE[name]()).double(), 6 * torch.rand(6, 3, 4, dtype=torch.float64)
    model = snn.from_torch(net, engine="numpy", dtype="float64")
    expected = net(x)
    expected = (expected[0] if isinstance(expected, tuple) else expected).detach()
    assert float(expected.abs().sum()) > 0
    torch.testing.assert_close(torch.as_tensor(model(x.numpy()).spikes), expected)
    assert sc.verify(net, x, torch.tensor([0, 1, 2]), differences=False).ok


def test_options_of_whole_sequences_without_counterpart_are_named():
    for module, message in [
        (snn.StateLeaky(0.9, 5, kernel_truncation_steps=3), r"StateLeaky: kernel_truncation_steps"),
        (snn.LeakyParallel(5, 3, dropout=0.5), r"LeakyParallel: dropout=0.5"),
        (snn.LinearLeaky(0.9, 5, 3, spike_grad=lambda u: u), r"LinearLeaky: spike_grad"),
    ]:
        with pytest.raises(ValueError, match=message):
            snn.from_torch(module)


def test_only_models_and_modules_are_verified():
    with pytest.raises(
        ValueError, match=r"layer 0 \(ReLU\): there is no such layer; known are .*Alpha, AssociativeLeaky"
    ):
        sc.verify(nn.Sequential(nn.ReLU()), torch.zeros(2, 1, 3), torch.tensor([0]))
    with pytest.raises(TypeError, match="must be a spikecore.Model or a module of torch"):
        sc.verify(abs, torch.zeros(2, 1, 3), torch.tensor([0]))


@pytest.mark.parametrize("join", [sc.Add, sc.Multiply])
def test_branches_stay_branches(join):
    parts = sc.Linear(4, 3), sc.Sequential(sc.Linear(4, 3), sc.Leaky(threshold=0.1)), sc.Linear(4, 3, bias=False)
    model = sc.Model(sc.Sequential(join(*parts), sc.Leaky(threshold=0.1)), "torch")
    x = torch.rand(6, 3, 4) * 2
    spikes = outputs(snn.to_torch(model), x)
    assert 0.05 < spikes.mean() < 0.95
    assert torch.equal(spikes, model(x).spikes)


def test_what_has_no_counterpart_is_named():
    for module, message in [
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU())), r"layer 1.0 \(ReLU\): there is no such layer"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="circular")), r"layer 0 \(Conv2d\): padding_mode='circular'"),
        (nn.Sequential(snn.Leaky(0.9, spike_grad=lambda u: u)), r"layer 0 \(Leaky\): spike_grad"),
        (nn.Sequential(nn.Conv2d(1, 1, 3)), r"pass input_shape"),
        (nn.RNN(2, 2), "RNN: there is no such layer"),
    ]:
        with pytest.raises(ValueError, match=message):
            snn.from_torch(module)
    norms = sc.Sequential(sc.Concat(sc.Leaky(), sc.BatchNormTT1d(2, 3)))
    with pytest.raises(ValueError, match=r"layer 0.1 \(BatchNormTT1d\): there is no such module"):
        snn.to_torch(sc.Model(norms, input_shape=(2,)))


def spikes(outs=8):
    return sc.Sequential(sc.Conv1d(8, outs, 1, bias=False), sc.BatchNorm1d(outs), sc.Leaky(threshold=0.2))


WORDS = {  # what torch has no module for
    "attention": sc.Sequential(sc.SpikingSelfAttention(spikes(), spikes(), spikes(), 2), sc.Leaky(threshold=0.4)),
    "softmax": sc.SoftmaxAttention(spikes(), spikes(), spikes(4), 4, scale=0.3),
    "gate": sc.HeadGate(sc.Sequential(spikes(), sc.HeadSum(2), sc.Leaky(threshold=1.9)), spikes()),
    "positions": sc.HeadGate(sc.Sequential(spikes(), sc.PositionSum(), sc.Leaky(threshold=1.9)), spikes()),
    "counts": sc.Sequential(spikes(), sc.CountMaxPool1d(3, 2, 1)),
    "concat": sc.Concat(spikes(), sc.Sequential(sc.Permute((1, 0)), sc.Reshape((-1, 6))), axis=0),
}


@pytest.mark.parametrize("name", WORDS)
def test_layers_that_torch_has_no_module_for(name):
    """Branches and arrangements compute in torch's words, step by step, over time, and as a model again."""
    x = torch.rand(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    model = sc.Model(sc.Sequential(WORDS[name], sc.Flatten()), "torch", seed=0, input_shape=(8, 6))
    expected = model(x).spikes.detach()
    assert 0.02 < float((expected != 0).float().mean()) < 0.98
    net = snn.to_torch(model).eval()
    utils.reset(net)
    torch.testing.assert_close(torch.stack([net(step) for step in x]).detach(), expected)
    torch.testing.assert_close(outputs(net, x), expected)
    back = snn.from_torch(net, input_shape=(8, 6))
    assert str(back.summary()) == str(model.summary())
    torch.testing.assert_close(back(x).spikes.detach(), expected)


def test_a_neuron_of_another_library_is_named_with_its_counterpart_here():
    theirs = type("Leaky", (nn.Module,), {"__module__": "snntorch._neurons.leaky", "forward": lambda self, x: x})()
    chain = nn.Sequential(nn.Linear(4, 3), theirs)
    message = r"layer 1 \(Leaky\): this is snntorch's Leaky: import Leaky from spikecore\.nn instead"
    with pytest.raises(ValueError, match=message):
        snn.from_torch(chain)
    with pytest.raises(ValueError, match=message):
        sc.verify(chain, torch.rand(2, 4), [0, 1], num_steps=2)


def test_a_class_of_the_users_own_is_read():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True)

        def forward(self, x):
            return self.lif(self.fc(x))

    net, x = Net(), 3 * torch.rand(5, 2, 4)
    assert torch.equal(snn.from_torch(net, input_shape=(4,))(x).spikes, outputs(net, x))


def test_a_layer_without_weights_may_stand_twice():
    """``named_children`` leaves out the second place; verify would verify another network."""
    pool, flat = nn.MaxPool2d(2), nn.Flatten()
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), pool, snn.Leaky(0.5, threshold=0.2, **H), nn.Conv2d(4, 4, 3), pool,
        snn.Leaky(0.5, threshold=0.2, **H), flat, nn.Linear(4, 3), flat, snn.Leaky(0.5, threshold=0.1, **H),
    )  # fmt: skip
    x, model = 3 * torch.rand(5, 2, 1, 12, 12), snn.from_torch(net, input_shape=(1, 12, 12))
    assert outputs(net, x).sum() > 0
    assert torch.equal(model(x).spikes, outputs(net, x))


@pytest.mark.parametrize("part", ["weights", "neuron", "tensor", "body"])
def test_what_is_shared_is_refused(part):
    fc, lif, place = nn.Linear(5, 5), snn.Leaky(0.9, **H), "layer 2 "
    layers = [nn.Linear(5, 5), snn.Leaky(0.9, **H), nn.Linear(5, 5), snn.Leaky(0.9, **H)]
    if part == "weights":
        layers[0] = layers[2] = fc
    elif part == "neuron":
        layers[1] = layers[3] = lif
        place = "layer 3 "
    elif part == "tensor":
        layers[2].bias = layers[0].bias
    else:
        layers, place = [snn.Residual(fc, fc)], "layer 0.shortcut "
    with pytest.raises(ValueError, match=f"{place}.* shares weights or a state with layer .*deepcopy"):
        snn.from_torch(nn.Sequential(*layers), input_shape=(5,))


def test_layers_of_a_class_are_verified_in_a_sequential():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.lif1, self.fc2, self.lif2 = nn.Linear(4, 5), snn.Leaky(0.9), nn.Linear(5, 3), snn.Leaky(0.9)

        def forward(self, x):
            mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
            for step in x:
                spk, mem1 = self.lif1(self.fc1(step), mem1)
                spk, mem2 = self.lif2(self.fc2(spk), mem2)
                spikes.append(spk)
            return torch.stack(spikes)

    torch.manual_seed(0)
    net, x, y = Net(), 3 * torch.rand(6, 4, 4), torch.tensor([0, 1, 2, 0])
    layers = nn.Sequential(net.fc1, net.lif1, net.fc2, net.lif2)
    assert sc.verify(layers, x, y, differences=False).ok
    assert torch.equal(snn.from_torch(layers)(x).spikes, net(x))
    own = type("Own", (snn.Leaky,), {"_base_state_function": lambda self, x: 0.5 * self.mem + x})
    with pytest.raises(ValueError, match=r"layer 0 \(Own\): its class has code .*write the neuron for all engines"):
        snn.from_torch(nn.Sequential(own(0.9, **H)), input_shape=(3,))
