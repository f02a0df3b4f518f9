"""Networks with a ``forward`` of their own, as users of snnTorch, SpikingJelly and Norse write them: equal spikes and
verified gradients after ``from_torch``, or a refusal that names the call."""

from __future__ import annotations

import functools
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

H = {"init_hidden": True}


class ConstantLoop(nn.Module):
    """A constant sample, states as local variables, spikes and membranes as lists."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 10), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(10, 3), snn.Leaky(beta=0.8, threshold=0.4)

    def forward(self, x):
        x = x.view(x.size(0), -1).to(x.device)
        mem1, mem2 = self.lif1.init_leaky().to(x.device), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(6):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


class TimeFirst(nn.Module):
    """A sequence with time first; the sum of the spikes, and a list of records beside it."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 8), snn.Leaky(beta=0.95, learn_beta=True, threshold=0.5)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.9, learn_threshold=True, threshold=0.3, output=True)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        first, last = [], []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t].view(x[t].size(0), -1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            first.append(spk1)
            last.append(spk2)
        return torch.stack(last).sum(0), [torch.stack(first)]


class TwoBranches(nn.Module):
    """A sequence with the batch first, two branches side by side, the mean of the currents."""

    def __init__(self):
        super().__init__()
        self.entry, self.left, self.right = nn.Linear(12, 8), nn.Linear(8, 5), nn.Linear(8, 4)
        self.lif_left, self.lif_right = snn.Leaky(beta=0.9, threshold=0.2), snn.Leaky(beta=0.6, threshold=0.1)
        self.mid, self.lif_mid, self.out = nn.Linear(9, 6), snn.Leaky(beta=0.9, threshold=0.2), nn.Linear(6, 3)

    def forward(self, x):
        left, right, mid = self.lif_left.init_leaky(), self.lif_right.init_leaky(), self.lif_mid.init_leaky()
        logits = []
        for t in range(x.shape[1]):
            current = self.entry(x[:, t, :])
            one, left = self.lif_left(self.left(current), left)
            two, right = self.lif_right(self.right(current), right)
            spk, mid = self.lif_mid(self.mid(torch.cat([one, two], dim=1)), mid)
            logits.append(self.out(spk))
        return torch.stack(logits, dim=0).mean(dim=0)


class Convolutions(nn.Module):
    """Functions for what has no weights, in a loop with a number of steps as an argument."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm, self.lif1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), snn.Leaky(0.9, **H)
        self.conv2, self.lif2 = nn.Conv2d(4, 3, 3), snn.Leaky(0.8, threshold=0.2, **H)
        self.fc, self.lif3 = nn.Linear(12, 3), snn.Leaky(0.8, threshold=0.1, **H)

    def forward(self, x, num_steps=5):
        utils.reset(self)
        out = []
        for _ in range(num_steps):
            y = self.lif1(F.max_pool2d(self.norm(self.conv1(x)), 2))
            y = F.dropout(self.lif2(self.conv2(y)), 0.3, training=self.training)
            out.append(self.lif3(self.fc(y.flatten(1))))
        return torch.stack(out)


class Block(nn.Module):
    """A residual block of its own."""

    def __init__(self, ins, outs):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(ins, outs, 3, padding=1), snn.Leaky(0.9, threshold=0.3, **H)
        self.conv2, self.lif2 = nn.Conv2d(outs, outs, 3, padding=1), snn.Leaky(0.9, threshold=0.3, **H)
        self.side = nn.Conv2d(ins, outs, 1) if ins != outs else None

    def forward(self, x):
        identity = x if self.side is None else self.side(x)
        out = self.conv2(self.lif1(self.conv1(x)))
        out += identity
        return self.lif2(out)


class Residuals(nn.Module):
    """Blocks within a Sequential, one step at a time."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), snn.Leaky(0.7, **H))
        self.blocks = nn.Sequential(Block(3, 3), Block(3, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


class Conductances(nn.Module):
    """A neuron with two states, one step at a time, states as arguments."""

    def __init__(self):
        super().__init__()
        self.fc1, self.syn = nn.Linear(12, 8), snn.Synaptic(alpha=0.7, beta=0.8, threshold=0.4)
        self.fc2, self.lif = nn.Linear(8, 3), snn.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x, syn1=None, mem1=None, mem2=None):
        spk, syn1, mem1 = self.syn(self.fc1(x), syn1, mem1)
        spk, mem2 = self.lif(self.fc2(spk), mem2)
        return spk, syn1, mem1, mem2


class Recurrent(nn.Module):
    """A recurrent neuron whose spikes are handed on, and steps that are iterated over."""

    def __init__(self):
        super().__init__()
        self.fc1, self.rlif = nn.Linear(12, 8), snn.RLeaky(beta=0.8, linear_features=8, threshold=0.3)
        self.fc2, self.lif = nn.Linear(8, 3), snn.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x):
        spk1, mem1 = self.rlif.init_rleaky()
        mem2, out = self.lif.init_leaky(), []
        for step in x.permute(1, 0, 2):
            spk1, mem1 = self.rlif(self.fc1(step), spk1, mem1)
            spk2, mem2 = self.lif(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out, dim=1)


class Written(nn.Module):
    """A learned factor, a skip over two layers, and spikes that are written into a tensor."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1, self.lif2 = nn.Linear(12, 6), snn.Leaky(0.9, threshold=0.3), snn.Leaky(0.8, threshold=0.5)
        self.gain, self.fc2, self.fc3 = nn.Parameter(torch.rand(6) + 0.5), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        mem1 = mem2 = None
        out = torch.zeros(x.shape[0], x.shape[1], 3)
        for t in range(x.shape[0]):
            one, mem1 = self.lif1(self.fc1(x[t]) * self.gain, mem1)
            two, mem2 = self.lif2(self.fc2(one), mem2)
            out[t] = self.fc3(one + two * 0.5)
        return out


class Counter(nn.Module):
    """Spikes are counted, and their rate returned."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 8), snn.Leaky(0.9, threshold=0.4, **H), nn.Linear(8, 3),
                                 snn.Leaky(0.9, threshold=0.2, **H))  # fmt: skip

    def forward(self, x):
        utils.reset(self.net)
        counts = 0
        for _ in range(7):
            counts += self.net(x)
        return counts / 7


IMAGES = (1, 8, 8)
READ = {  # network: shape of a sample, the axis of time, what forward returns of the steps
    ConstantLoop: ((12,), None, "all"),
    TimeFirst: ((12,), 0, "sum"),
    TwoBranches: ((12,), 1, "mean"),
    Convolutions: (IMAGES, None, "all"),
    Residuals: (IMAGES, "outside", "all"),
    Conductances: ((12,), "outside", "all"),
    Recurrent: ((12,), 1, "all"),
    Written: ((12,), 0, "all"),
    Counter: ((12,), None, "mean"),
}
STEPS = {ConstantLoop: 6, Convolutions: 5, Counter: 7}


def made(kind):
    torch.manual_seed(1)
    net = kind()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    return net.eval()


def read(net, shape, engine="torch"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return snn.from_torch(net, shape, engine)


@functools.lru_cache(maxsize=None)
def pair(kind):
    """A network, and its model on torch."""
    net = made(kind)
    return net, read(net, READ[kind][0])


def first(out):
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("kind", READ)
def test_spikes_are_equal(kind):
    shape, axis, returns = READ[kind]
    net, model = pair(kind)
    x = 3.0 * torch.rand(8, 4, *shape, generator=torch.Generator().manual_seed(7))  # time first
    utils.reset(net)
    with torch.no_grad():
        if axis == "outside":
            wanted = torch.stack([first(net(step)) for step in x])
        else:
            wanted = first(net(x[0] if axis is None else x.movedim(0, axis)))
    if kind is Recurrent:
        wanted = wanted.movedim(1, 0)
    found = model(x[0], num_steps=STEPS[kind]).spikes if axis is None else model(x).spikes
    found = {"all": found, "sum": found.sum(0), "mean": found.mean(0)}[returns].detach()
    assert float((wanted != 0).float().mean()) > 0.03, "the case is too quiet to show anything"
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", READ)
def test_gradients_are_verified(kind):
    shape, axis, _ = READ[kind]
    x = torch.rand(4, 3, *shape, generator=torch.Generator().manual_seed(7)) * 2
    report = sc.verify(pair(kind)[1], x, torch.tensor([0, 1, 2]), differences=False)
    assert report.ok, str(report)


@pytest.mark.parametrize("kind", READ)
def test_every_weight_is_the_modules(kind):
    net, model = pair(kind)
    held = {name.replace(".", "_"): value for name, value in net.named_parameters()}
    for name, value in model.params().items():
        twin = held.get(name.replace(".", "_")) if name != "mul.V" else net.gain
        if twin is not None:
            assert torch.equal(torch.as_tensor(value).reshape(twin.shape), twin.detach()), name
    learned = sum(p.numel() for p in net.parameters())
    assert sum(value.size for value in model.params().values()) == learned


def test_the_first_layer_says_the_shape_of_a_sample():
    assert read(made(Conductances), None, "numpy").input_shape == (12,)


def test_what_becomes_of_the_steps_is_said():
    with pytest.warns(UserWarning, match=r"TimeFirst\.forward returns the sum over its steps: .*spikes\.sum\(0\)"):
        snn.from_torch(made(TimeFirst))


def test_a_free_forward_goes_everywhere_that_a_model_goes(tmp_path):
    model = pair(TwoBranches)[1].to_engine("numpy")
    x = torch.rand(5, 2, 12, generator=torch.Generator().manual_seed(0)).numpy()
    wanted = model(x).spikes
    model.save(tmp_path / "net.safetensors")
    assert (sc.load(tmp_path / "net.safetensors")(x).spikes == wanted).all()
    back = snn.to_torch(model)
    utils.reset(back)
    torch.testing.assert_close(snn.run(back, torch.as_tensor(x)).detach(), torch.as_tensor(wanted))
    assert "cat" in str(model.network) or "Concatenation" in str(model.network)
    rows = str(model.summary())
    assert "lif_mid" in rows


def test_the_network_stays_as_it_was():
    net = made(Residuals).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    drawn = torch.get_rng_state()
    read(net, IMAGES)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(not state.numel() for state in utils.get_state(net).values())
