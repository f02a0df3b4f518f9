"""Torch modules as engine-agnostic networks and back: equal spikes, verified gradients, named refusals."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402

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
        snn.Residual(block), nn.MaxPool2d(2), snn.SConv2dLSTM(3, 2, 3, threshold=0.05, avg_pool=2, **H),
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
    with pytest.raises(ValueError, match=r"layer 0 \(ALIF\): there is no such module"):
        snn.to_torch(sc.Model(sc.Sequential(sc.ALIF()), input_shape=(2,)))
    with pytest.raises(ValueError, match="learn_tau"):
        snn.to_torch(sc.Model(sc.Leaky(beta=sc.learn_tau(5.0)), input_shape=(2,)))
