"""The quickstart network of snnTorch with only the imports changed, and what its users do with it."""

from __future__ import annotations

import gc
import importlib
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

LIBRARIES = ["snntorch", "spikecore.nn"]
STEPS = 25


def quickstart(library):
    """Convolutions, pooling, leaky neurons; the loop over time in the user's hands."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snn = pytest.importorskip(library)
        top = library.partition(".")[0]
        surrogate, utils = (importlib.import_module(f"{top}.{name}") for name in ("surrogate", "utils"))
    grad = surrogate.fast_sigmoid(slope=25)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=0.9, spike_grad=grad, init_hidden=True),
        nn.Conv2d(8, 16, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=0.9, spike_grad=grad, init_hidden=True),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
        snn.Leaky(beta=0.9, spike_grad=grad, init_hidden=True, output=True),
    )

    def forward_pass(data):
        spikes, membranes = [], []
        utils.reset(net)
        for _ in range(STEPS):
            spk, mem = net(data)
            spikes.append(spk)
            membranes.append(mem)
        return torch.stack(spikes), torch.stack(membranes)

    return net, forward_pass, snn


data = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 3


@pytest.mark.filterwarnings("ignore")
def test_the_same_spikes_weights_and_gradients():
    found = {}
    for library in LIBRARIES:
        net, forward_pass, _ = quickstart(library)
        spikes, membranes = forward_pass(data)
        (spikes.sum() + membranes.mean()).backward()
        found[library] = net, spikes, membranes
    (a, s, m), (b, t, n) = found.values()
    assert s.sum() > 0
    assert torch.equal(s, t)
    torch.testing.assert_close(n, m)
    for (key, p), (other, q) in zip(a.named_parameters(), b.named_parameters()):
        assert key == other
        assert (p.grad - q.grad).abs().max() <= 1e-4 * p.grad.abs().max()
    fresh = quickstart("spikecore.nn")[0]
    fresh.load_state_dict(a.state_dict(), strict=True)
    a.load_state_dict(b.state_dict(), strict=True)
    assert list(a.state_dict()) == list(fresh.state_dict())


def test_run_equals_the_users_loop():
    net, forward_pass, snn = quickstart("spikecore.nn")
    net.double()  # products of other sizes add up in other orders, by which a spike in float32 may flip
    spikes, membranes = forward_pass(data.double())
    ours = snn.run(net, data.double(), num_steps=STEPS)
    assert spikes.sum() > 0
    assert torch.equal(ours[0], spikes)
    torch.testing.assert_close(ours[1], membranes)


def test_memory_is_flat():
    """Ten nets or three hundred, no more tensors are alive."""
    counts = []
    for repeats in (10, 300):
        for _ in range(repeats):
            net, _, _ = quickstart("spikecore.nn")
            net(data[:1])
        del net
        gc.collect()
        counts.append(sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()))
    assert counts[1] <= counts[0]
