"""B1: neurons that override snnTorch's methods, as public code has them: the same class body on both libraries."""

from __future__ import annotations

import copy
import math
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as ours  # noqa: E402
from spikecore import utils  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("snntorch", reason="compared with snnTorch")

pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs


@pytest.fixture(autouse=True)
def forgotten():
    """snnTorch resets all neurons of the process, those of other tests, too, and fails on some."""
    theirs.SpikingNeuron.init()
    yield
    theirs.SpikingNeuron.init()


def linear_leaky(snn, **options):
    class LinearLeaky(snn.Leaky):
        """The membrane leaks by a constant and is never negative."""

        def _base_state_function(self, input_):
            return torch.relu(self.mem - self.beta + input_)

    return LinearLeaky(beta=0.1, threshold=0.8, **options)


def digital(snn, **options):
    class DigLIF(snn.Leaky):
        """Fixed-point arithmetic: a leak by a shift, rounded with a straight-through gradient."""

        def __init__(self, shift, bits, **options):
            super().__init__(beta=0.9, **options)
            self.shift, self.scale = shift, 2.0**bits

        def rounded(self, value):
            return value + (torch.floor(value * self.scale) / self.scale - value).detach()

        def _base_state_function(self, input_):
            return self.rounded(self.mem) - self.rounded(self.mem / 2.0**self.shift) + self.rounded(input_)

    return DigLIF(2, 4, **options)


def fractional(snn, **options):
    class FractionalLIF(snn.Leaky):
        """A fractional derivative, which remembers all membranes of the past."""

        def __init__(self, order, length, **options):
            super().__init__(beta=0.9, **options)
            weights = [1.0]
            for k in range(1, length):
                weights.append(weights[-1] * (1.0 - (order + 1.0) / k))
            self.register_buffer("weights", torch.tensor(weights[1:]), persistent=False)
            self.past = []

        def _base_state_function(self, input_):
            self.past = [self.mem, *self.past][: len(self.weights)]
            return (input_ - sum(w * mem for w, mem in zip(self.weights, self.past))) / 1.1

        def reset_mem(self):
            self.past = []
            return super().reset_mem()

    return FractionalLIF(0.6, 8, **options)


def adaptive(snn, **options):
    class Adaptive(snn.Leaky):
        """Every spike raises the threshold, which decays."""

        def __init__(self, **options):
            super().__init__(beta=0.85, **options)
            self.raised = 0.0

        def fire(self, mem):
            spk = self.spike_grad(mem - self.threshold - self.raised)
            self.raised = 0.9 * self.raised + 0.3 * spk
            return spk

    return Adaptive(**options)


def own_matrix(snn, **options):
    class Masked(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-0.5, 0.5, size * size).reshape(size, size))
            self.register_buffer("mask", 1.0 - torch.eye(size))

        def forward(self, spk):
            return spk @ (self.weight * self.mask)

    class OwnMatrix(snn.RLeaky):
        """Recurrence without self-connections."""

        def _init_recurrent_net(self):
            self.recurrent = Masked(self.linear_features)

    return OwnMatrix(beta=0.8, linear_features=4, **options)


def plif(snn, **options):
    class PLIF(snn.Leaky):
        """The decay is a sigmoid of what is learned."""

        def __init__(self, **options):
            super().__init__(beta=0.5, **options)
            self.w = nn.Parameter(torch.tensor(1.2))

        def _base_state_function(self, input_):
            return torch.sigmoid(self.w) * self.mem + input_

    return PLIF(**options)


def sine(snn, **options):
    class SinLIF(snn.Leaky):
        """A membrane that moves on a sine, and a threshold that does so in time."""

        def __init__(self, **options):
            super().__init__(beta=0.9, learn_beta=True, **options)
            self.steps = 0

        def _base_state_function(self, input_):
            return super()._base_state_function(torch.sin(self.mem) * 0.2 + input_)

        def forward(self, input_, mem=None):
            self.steps += 1
            self.threshold = torch.tensor(1.0 + 0.1 * math.sin(self.steps))
            return super().forward(input_, mem)

    return SinLIF(**options)


def soft_reset(snn, **options):
    class SoftReset(snn.Synaptic):
        """What exceeds the threshold stays, in part, and resets are sized like it."""

        def mem_reset(self, mem):
            return super().mem_reset(mem) * torch.sigmoid(mem).detach()

        def _base_sub(self, input_):
            syn, mem = self._base_state_function(input_)
            return syn, mem - 0.7 * self.reset * self.mem

    return SoftReset(alpha=0.6, beta=0.8, learn_alpha=True, **options)


def own_forward(snn, **options):
    class OwnForward(snn.Leaky):
        """snnTorch's step, spelled out by the user."""

        def forward(self, input_, mem=None):
            if mem is not None:
                self.mem = mem
            if self.mem.shape != input_.shape:
                self.mem = torch.zeros_like(input_)
            self.reset = self.mem_reset(self.mem)
            self.mem = self.state_function(input_)
            if self.reset_mechanism_val == 0 and self._reset_mechanism == "subtract":
                self.mem = self.mem + 0.01
            return self.fire(self.mem), self.mem

    return OwnForward(beta=0.8, learn_beta=True)


PUBLIC = [linear_leaky, digital, fractional, adaptive, own_matrix, plif, sine, soft_reset]
x = 1.5 * torch.rand(12, 3, 4, generator=torch.Generator().manual_seed(3))


def loop(module, inputs, **options):
    given, spikes, seen = {}, [], []
    for step in inputs.unbind(0):
        spk, *states = module(step, **given)
        spikes.append(spk)
        seen.append(torch.cat([state.reshape(-1) for state in states]))
    return torch.stack(spikes), torch.stack(seen)


def differentiated(module, inputs):
    inputs = inputs.clone().requires_grad_()
    spikes, seen = loop(module, inputs)
    weighed = spikes * torch.linspace(0.5, 1.5, spikes.numel()).reshape(spikes.shape)
    (weighed.sum() + 0.1 * seen.sum()).backward()
    return spikes, seen, inputs.grad, {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def equal(make, inputs=x, **options):
    torch.manual_seed(0)
    them, us = make(theirs, **options), make(ours, **options)
    us.load_state_dict(them.state_dict())
    (a, b, c, d), (e, f, g, h) = differentiated(them, inputs), differentiated(us, inputs)
    assert 0 < (a != 0).sum() < a.numel()
    assert torch.equal(a, e)
    torch.testing.assert_close(f, b, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(g, c, rtol=1e-4, atol=2e-5)
    assert set(d) == set(h)
    for name, value in d.items():
        torch.testing.assert_close(h[name], value, rtol=1e-4, atol=1e-4 * max(1.0, float(value.abs().max())))
    return us


@pytest.mark.parametrize("make", [*PUBLIC, own_forward], ids=lambda make: make.__name__)
def test_as_public_code_has_them(make):
    equal(make)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("make", [linear_leaky, adaptive, own_matrix, plif], ids=lambda make: make.__name__)
def test_with_every_reset(make, reset):
    equal(make, reset_mechanism=reset)


@pytest.mark.parametrize("make", [linear_leaky, adaptive, soft_reset, plif], ids=lambda make: make.__name__)
def test_with_an_immediate_reset(make):
    equal(make, reset_delay=False)


KINDS = {
    "Leaky": {"beta": 0.8, "learn_beta": True, "graded_spikes_factor": 2.0},
    "Synaptic": {"alpha": 0.6, "beta": 0.8, "learn_alpha": True, "learn_beta": True},
    "Alpha": {"alpha": 0.9, "beta": 0.8, "threshold": 0.2},
    "Lapicque": {"beta": 0.6, "threshold": 0.3},
    "RLeaky": {"beta": 0.8, "linear_features": 4},
    "RLeaky-one": {"beta": 0.8, "all_to_all": False, "V": 0.3},
    "RSynaptic": {"alpha": 0.5, "beta": 0.8, "linear_features": 4},
    "SLSTM": {"input_size": 4, "hidden_size": 4, "threshold": 0.05},
    "SConv2dLSTM": {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "threshold": 0.05, "max_pool": 2},
}
OVERRIDES = {
    "_base_state_function": lambda base: lambda self, x: base(self, 0.9 * x),
    "_base_sub": lambda base: lambda self, x: base(self, 0.9 * x),
    "_base_zero": lambda base: lambda self, x: base(self, 0.9 * x),
    "_base_int": lambda base: lambda self, x: base(self, 0.9 * x),
    "fire": lambda base: lambda self, mem: base(self, 1.1 * mem),
    "mem_reset": lambda base: lambda self, mem: 0.9 * base(self, mem),
}


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_of_every_neuron(kind, name, reset):
    def make(snn):
        base = getattr(snn, kind.partition("-")[0])
        return type("Own", (base,), {name: OVERRIDES[name](getattr(base, name))})(**KINDS[kind], reset_mechanism=reset)

    images = 2.0 * torch.rand(10, 2, 2, 4, 4, generator=torch.Generator().manual_seed(1)) - 0.3
    equal(make, images if kind == "SConv2dLSTM" else x)


@pytest.mark.parametrize("name", ["_base_state_function", "fire", "mem_reset", "state_function"])
def test_of_an_instance(name):
    def make(snn):
        lif = snn.Leaky(beta=0.8)
        lif(x[0])  # what was prepared for the next step does not count any more
        lif.mem = torch.zeros(0)
        whole = getattr(lif, name)
        setattr(lif, name, lambda value: whole(1.2 * value))
        return lif

    equal(make)


def test_of_a_class_that_is_patched(monkeypatch):
    def make(snn):
        fire = snn.Leaky.fire
        monkeypatch.setattr(snn.Leaky, "fire", lambda self, mem: fire(self, 1.3 * mem))
        return snn.Leaky(beta=0.8)

    equal(make)


def test_run_goes_through_the_loop_and_says_so():
    torch.manual_seed(0)
    for make in PUBLIC:
        net, said = nn.Sequential(nn.Linear(4, 4), make(ours, init_hidden=True)), []
        net[1].threshold.fill_(0.4)
        kept = copy.deepcopy(net)
        utils.reset(net)
        spikes = ours.run(net, x, explain=said.append)
        assert torch.equal(spikes, torch.stack([kept(step) for step in x]))
        assert spikes.sum() > 0
        if make is not sine:  # it has a forward of its own, too
            assert said[0].startswith("the network: step by step: layer '1' is made by snnTorch's protocol, for ")
    assert "for _base_state_function of its own" in _explained(plif(ours))
    assert "for fire of its own" in _explained(adaptive(ours))
    assert "for a connection of its own as recurrent" in _explained(own_matrix(ours))


def _explained(lif):
    said = []
    ours.run(lif, x, explain=said.append)
    return said[0]
