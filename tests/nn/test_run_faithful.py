"""``snn.run`` on what is easily got wrong: it must equal the loop, whatever ``forward`` does besides."""

from __future__ import annotations

import copy
import threading

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402


def leaky(**options):
    return snn.Leaky(0.9, init_hidden=True, **options)


class Net(nn.Module):
    """A network with a given ``forward``."""

    def __init__(self, step, **attributes):
        super().__init__()
        self.step, self.fc, self.lif = step, nn.Linear(6, 6), leaky()
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.step(self, x)


def loop(net, x):
    utils.reset(net)
    return torch.stack([net(row) for row in x])


def told(net, x):
    """What ``run`` returns and what it says about it."""
    lines = []
    return snn.run(net, x, explain=lines.append), lines[0]


def gradients(net, x, how):
    net, x = copy.deepcopy(net), x.detach().requires_grad_()
    y = how(net, x)
    (y * torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    return [x.grad, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize("steps", [1, 2])
def test_batch_norm_of_maps_at_batch_size_one(steps, last, train):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), leaky()).train(train)
    plain = torch.randn(steps, 1, 3, 6, 6)
    x = plain.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3) if last else plain
    wanted = gradients(copy.deepcopy(net).double(), plain.double(), loop)
    scale = max(float(g.abs().max()) for g in wanted)
    for got, value in zip(gradients(net, x, snn.run), wanted):
        assert (got - value).abs().max() < 1e-4 * scale


@pytest.mark.parametrize("name", ["DataParallel", "TransformerEncoderLayer"])
def test_neurons_inside_of_torchs_own_modules(name):
    torch.manual_seed(0)
    if name == "DataParallel":
        net = nn.DataParallel(nn.Sequential(nn.Linear(6, 5), leaky()))
    else:
        layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, activation=leaky(), batch_first=True)
        net = nn.Sequential(nn.Linear(6, 6), layer)
    x = 3 * torch.randn(5, 4, 3, 6)
    first, said = told(net, x)
    second = snn.run(net, x)
    assert not said.startswith("the network: step by step")
    assert torch.equal(first, second)
    assert (first - loop(net, x)).abs().max() < 1e-5
    snn.run(net, x)
    assert all(value.grad_fn is None for value in utils.get_state(net).values())


def doubled(net, x):
    h = net.fc(x)
    skip = h
    h *= 2
    return net.lif(h) + skip


def raised_view(net, x):
    h = net.fc(x)
    part = h[:, :3]
    part += 1
    return net.lif(h)


def wrapped(net, x):
    h = x.abs() * 3
    same = h
    h %= 2
    return net.lif(same)


def transposed(net, x):
    h = net.fc(x)
    across = h.T
    across += 1
    return net.lif(h)


def data_set(net, x):
    h = net.fc(x)
    h.data = h.data + 1
    return net.lif(h)


def own_memory(net, x):
    h = net.fc(x)
    h *= 2
    return net.lif(h)


@pytest.mark.parametrize("step", [doubled, raised_view, wrapped, transposed, data_set, own_memory])
def test_augmented_assignment(step):
    torch.manual_seed(0)
    net, x = Net(step), 2 * torch.randn(7, 4, 6)
    got, said = told(net, x)
    assert (got - loop(net, x)).abs().max() < 1e-5
    assert said.startswith("the network: step by step") == (step is data_set), said


def edits_what_neurons_wait_for(net, x):
    h = x * 2
    spikes, mem = net.readout(h)
    y = net.fc(net.lif(spikes))
    h *= 0
    return y + spikes + mem + h


def test_neurons_that_wait_see_their_input_as_it_was_before_an_edit():
    torch.manual_seed(0)
    net, x = Net(edits_what_neurons_wait_for, readout=leaky(output=True)), torch.randn(5, 3, 6)
    got, said = told(net, x)
    assert (got - loop(net, x)).abs().max() < 1e-5
    assert got.any()
    assert not said.startswith("the network: step by step")


def edits_a_state(net, x):
    spikes, mem = net.readout(net.fc(x))
    mem *= 0.5
    return spikes + mem


def edits_what_a_neuron_returns(net, x):
    spikes = net.lif(net.fc(x))
    spikes *= 0.5
    return spikes


@pytest.mark.parametrize(
    ("step", "reason"), [(edits_a_state, "the state of a neuron"), (edits_what_a_neuron_returns, "")]
)
def test_a_neurons_state_that_is_edited_is_another_one_at_the_next_step(step, reason):
    torch.manual_seed(0)
    net, x = Net(step, readout=leaky(output=True)), 2 * torch.randn(7, 4, 6)
    got, said = told(net, x)
    assert torch.equal(got, loop(net, x))
    assert said.startswith("the network: step by step") == bool(reason)
    assert reason in said


def edits_its_input(net, x):
    x += 0.5
    return net.lif(net.fc(x))


def test_a_constant_input_that_is_edited_is_another_one_at_every_step():
    torch.manual_seed(0)
    net, x, said = Net(edits_its_input), torch.randn(4, 6), []
    mine, other = x.clone(), x.clone()
    got = snn.run(net, mine, 5, explain=said.append)
    utils.reset(net)
    assert torch.equal(got, torch.stack([net(other) for _ in range(5)]))
    assert torch.equal(mine, other)
    assert "works in place on the network's input" in said[0]


def interrupted(net, x):
    if type(x) is not torch.Tensor:
        net.seen = x
        raise KeyboardInterrupt
    return net.lif(net.fc(x))


def test_an_interrupt_leaves_the_network_as_it_was():
    net, x = Net(interrupted), torch.rand(3, 4, 6)
    wanted = loop(net, x)
    state = net.lif.mem
    with pytest.raises(KeyboardInterrupt):
        snn.run(net, x)
    assert net.lif.mem is state
    assert not hasattr(net, "seen")
    assert torch.equal(loop(net, x), wanted)


def test_other_threads_may_call_modules_meanwhile():
    x, plain, errors, found = torch.rand(3, 4, 6), nn.Linear(6, 6), [], []

    def slow(net, x):
        if type(x) is not torch.Tensor and others[0].ident is None:  # the first call is made several times
            for thread in others:
                thread.start()
            for thread in others:
                thread.join()
        return net.lif(net.fc(x))

    def called():
        try:
            found.append(plain(x[0]))
            found.append(told(other, x)[1])
        except Exception as error:  # noqa: BLE001  (whatever it is, it must not be)
            errors.append(error)

    others, net, other = [threading.Thread(target=called)], Net(slow), Net(own_memory)
    said = told(net, x)[1]
    assert not errors
    assert torch.equal(found[0], plain(x[0]))
    assert said.startswith("fc (Linear)")
    assert found[1].startswith("fc (Linear)")


def convolved(*middle):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *middle, leaky())


class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.drop, self.lif = nn.Conv2d(3, 4, 3), nn.Dropout(0.5), leaky()

    def forward(self, x):
        return self.lif(self.drop(self.conv(x).permute(0, 2, 3, 1)))


DRAWS = {
    "dropout": lambda: convolved(nn.Dropout(0.5)),
    "behind-spikes": lambda: convolved(nn.BatchNorm2d(4), leaky(), nn.MaxPool2d(2), nn.Dropout(0.5)),
    "by-channel": lambda: convolved(nn.Dropout2d(0.5)),
    "behind-flatten": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), leaky(), nn.Flatten(), nn.Dropout(0.5), leaky()),
    "permuted": Permuted,
}


@pytest.mark.parametrize("order", ["contiguous", "channels-last", "batch-first", "weights-last"])
@pytest.mark.parametrize("name", DRAWS)
def test_maps_are_dropped_as_in_the_loop(name, order):
    torch.manual_seed(0)
    net, x = DRAWS[name](), 4 * torch.randn(3, 2, 3, 6, 6)
    if order == "channels-last":
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    elif order == "batch-first":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    elif order == "weights-last":
        net = net.to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    got, said = told(net, x)
    torch.manual_seed(1)
    assert torch.equal(got, loop(net, x))
    assert got.any()
    assert got.shape == (3, *loop(net, x).shape[1:])
    if order == "contiguous" and name != "permuted":
        assert not said.startswith("the network: step by step")


class Locked:
    def __init__(self):
        self.lock, self.count, self.scale = threading.Lock(), 0, 2.0


def test_of_an_object_with_a_lock_the_attributes_are_compared():
    def counts(net, x):
        net.kept.count += 1
        return net.lif(net.fc(x) * net.kept.count)

    torch.manual_seed(0)
    x, kept = 2 * torch.randn(3, 4, 6), Locked()
    reads = Net(lambda net, x: net.lif(net.fc(x) * net.kept.scale), kept=kept)
    got, said = told(reads, x)
    assert not said.startswith("the network: step by step")
    assert torch.equal(got, loop(reads, x))
    assert reads.kept is kept
    one = Net(counts)
    two = copy.deepcopy(one)
    one.kept, two.kept = Locked(), Locked()
    got, said = told(one, x)
    assert torch.equal(got, loop(two, x))
    assert said.startswith("the network: step by step: forward changes the attribute 'count'")
    assert one.kept.count == two.kept.count == 3
