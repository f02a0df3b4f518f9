"""B8: what ``forward`` makes of a neuron's return value, and samples without a batch axis, in ``run`` and in steps."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

HIDDEN = {"init_hidden": True}
NEURONS = {
    "spikes": lambda: snn.Leaky(0.9, **HIDDEN),
    "states": lambda: snn.Leaky(0.9, output=True, **HIDDEN),
    "two": lambda: snn.Synaptic(0.8, 0.9),
    "delta": lambda: snn.DeltaLeaky(0.2, beta=0.9, **HIDDEN),
}


def first_of_tuple(out):
    return out[0] if isinstance(out, tuple) else out


def if_tensor(out):
    return out if isinstance(out, torch.Tensor) else out[0]


def is_tensor(out):
    return 2.0 * out if torch.is_tensor(out) else out[0]


def by_length(out):
    return out[len(out) - 1] if isinstance(out, (tuple, list)) else out


def whole(out):
    return out


def tail(out):
    return out[1:] if isinstance(out, tuple) else (out,)


def starred(out):
    spk, *states = out if isinstance(out, tuple) else (out,)
    return [spk, *states]


class Net(nn.Module):
    def __init__(self, neuron, after):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.after = nn.Linear(4, 5), neuron(), after

    def forward(self, x):
        return self.after(self.lif(self.fc(x)))


def flat(value):
    return torch.utils._pytree.tree_flatten(value)


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("after", [first_of_tuple, if_tensor, is_tensor, by_length, whole, tail, starred],
                         ids=lambda after: after.__name__)  # fmt: skip
def test_the_type_of_a_return_value_may_be_asked(after, neuron):
    net, x, said = Net(NEURONS[neuron], after), 2 * torch.rand(6, 3, 4), []
    made, shape = flat(snn.run(net, x, explain=said.append))
    utils.reset(net)
    steps = [flat(net(step)) for step in x]
    assert shape == steps[0][1]
    for got, expected in zip(made, zip(*(leaves for leaves, _ in steps))):
        torch.testing.assert_close(got, torch.stack(expected))
    assert neuron == "delta" or not said[0].startswith("the network: step by step")


def test_forward_may_ask_whether_a_value_is_a_tensor_or_a_size_a_number():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9, **HIDDEN)

        def forward(self, x):
            y = self.fc(x) if isinstance(x, torch.Tensor) else self.fc(x[0]) * 0
            size = x.size(0)
            return self.lif(y) * (1 if isinstance(size, int) else 2)

    net, x, said = Asks(), 2 * torch.rand(6, 3, 4), []
    spikes = snn.run(net, x, explain=said.append)
    utils.reset(net)
    assert torch.equal(spikes, torch.stack([net(step) for step in x]))
    assert spikes.sum() > 0
    assert said[0].startswith("fc (Linear)")


SINGLE = {
    "SLSTM": (lambda lib, **o: lib.SLSTM(4, 5, threshold=0.05, **o), (4,)),
    "SConv2dLSTM": (lambda lib, **o: lib.SConv2dLSTM(2, 3, 3, threshold=0.05, max_pool=2, **o), (2, 6, 6)),
    "RLeaky": (lambda lib, **o: lib.RLeaky(0.8, conv2d_channels=2, kernel_size=3, **o), (2, 6, 6)),
    "RLeaky-dense": (lambda lib, **o: lib.RLeaky(0.8, linear_features=4, **o), (4,)),
    "RSynaptic": (lambda lib, **o: lib.RSynaptic(0.7, 0.8, conv2d_channels=2, kernel_size=3, **o), (2, 6, 6)),
    "Leaky": (lambda lib, **o: lib.Leaky(0.8, **o), (4,)),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_one_sample_without_a_batch_axis(kind):
    make, shape = SINGLE[kind]
    torch.manual_seed(0)
    module, x = make(snn, output=True, **HIDDEN), 2 * torch.rand(6, *shape)
    expected = [module(step.unsqueeze(0)) for step in x]
    utils.reset(module)
    steps = [module(step) for step in x]
    state = utils.get_state(module)
    for run in (lambda: snn.run(module, x), lambda: [torch.stack(one) for one in zip(*steps)]):
        for got, wanted in zip(run(), zip(*expected)):
            torch.testing.assert_close(got, torch.stack(wanted).squeeze(1))
    for name, value in utils.get_state(module).items():
        torch.testing.assert_close(value, state[name])
    goes_on = snn.run(module, x, state=state)
    utils.set_state(module, state)
    torch.testing.assert_close(goes_on[0], torch.stack([module(step)[0] for step in x]))
    recorded = snn.run(nn.Sequential(module), x, record=["0"])[1]["0"]
    torch.testing.assert_close(recorded["mem"], torch.stack([mem for *_, mem in steps]))


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
def test_maps_of_one_sample_equal_snntorch_s(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("snntorch", reason="compared with snnTorch")
    make, shape = SINGLE[kind]
    them, us, x = make(theirs), make(snn), 2 * torch.rand(6, *shape)
    us.load_state_dict(them.state_dict())
    given = [(), ()]
    for step in x:
        a, b = them(step, *given[0]), us(step, *given[1])
        given = [a, b]
        for one, other in zip(a, b):
            torch.testing.assert_close(other, one)
