"""Networks with a ``forward`` of their own that ``from_torch`` refuses, by the name of the call."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import spikecore.nn as snn  # noqa: E402
from tests.nn.test_free_forward import made  # noqa: E402


class Policy(nn.Module):
    """What it gives is a membrane, through a function that no layer is."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1, self.fc2 = nn.Linear(12, 8), snn.Leaky(0.9), nn.Linear(8, 3)
        self.lif2 = snn.Leaky(0.9, reset_mechanism="none")

    def forward(self, x):
        mem1, mem2, total = self.lif1.init_leaky(), self.lif2.init_leaky(), 0.0
        for _ in range(5):
            spk, mem1 = self.lif1(self.fc1(x), mem1)
            _, mem2 = self.lif2(self.fc2(spk), mem2)
            total = total + mem2
        return torch.tanh(total / 5)


# ---- what is refused, by name --------------------------------------------------------------------------------------


class Calls(nn.Module):
    def __init__(self, forward, **layers):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9, threshold=0.2)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def steps(body):
    """A loop over three steps of a constant sample; ``body`` computes spikes and membrane from step and membrane."""

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(3):
            spk, mem = body(self, x, t, mem)
            out.append(spk)
        return torch.stack(out)

    return forward


def feeding_back(self, x):
    mem, spk, out = self.lif.init_leaky(), torch.zeros(len(x), 4), []
    for _ in range(3):
        spk, mem = self.lif(self.fc(x) + spk, mem)
        out.append(spk)
    return torch.stack(out)


def counting(self, x):
    self.calls = getattr(self, "calls", 0) + 1
    return self.lif(self.fc(x))[0]


REFUSED = {
    "relu": (lambda self, x: self.lif(torch.relu(self.fc(x)))[0], r"relu\(\) in forward.*: there is no such layer"),
    "unknown": (lambda self, x: self.lif(torch.sin(self.fc(x)))[0], r"sin\(\) in forward: no layer computes it"),
    "values": (lambda self, x: self.lif(self.fc(x) if x.sum() > 0 else x)[0], r"looks at values, by bool\(\)"),
    "clamped": (steps(lambda self, x, t, mem: self.lif(self.fc(x), mem.clamp(max=1.0) if t else mem)),
                r"layer lif \(Leaky\): its state mem comes from clamp\(\) in forward"),
    "detached": (steps(lambda self, x, t, mem: self.lif(self.fc(x), mem.detach() if t else mem)),
                 r"layer lif \(Leaky\): its state mem comes from detach\(\) in forward"),
    "start": (lambda self, x: self.lif(self.fc(x), torch.ones(len(x), 4))[0], r"layer lif .*first state is not zero"),
    "shared": (lambda self, x: self.lif(self.fc(self.fc(x)))[0], r"layer fc \(Linear\) shares weights"),
    "twice": (lambda self, x: self.lif(self.lif(self.fc(x))[0])[0], r"layer lif \(Leaky\): is used twice in a step"),
    "membrane": (lambda self, x: self.fc(self.lif(x)[1]), r"layer fc \(Linear\): takes a neuron's state"),
    "membrane out": (lambda self, x: self.lif(self.fc(x))[1], r"the output: takes a neuron's state"),
    "feedback": (feeding_back, r"layer lif \(Leaky\): .*gave at the step before: .*RLeaky"),
    "other step": (steps(lambda self, x, t, mem: self.lif(self.fc(x) if t == 1 else x, mem)),
                   r"does something else at step 1 than at step 0"),
    "noise": (lambda self, x: self.lif(self.fc(x) + torch.randn(len(x), 4))[0], r"takes a tensor \(2, 4\), which"),
    "counter": (counting, r"forward: it changes 'calls'"),
    "dropout": (lambda self, x: self.lif(F.dropout(self.fc(x)))[0], r"write training=self\.training"),
    "training": (lambda self, x: self.lif(self.fc(x) * (2.0 if self.training else 1.0) if self.training else
                                          self.fc(x))[0], r"something else in training than in evaluation"),
    "dict": (lambda self, x: {"spk": self.lif(self.fc(x))[0]}, r"returns a dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_layer_is_is_refused_by_name(name):
    forward, message = REFUSED[name]
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        snn.from_torch(Calls(forward))


def test_a_membrane_through_a_function_is_refused():
    with pytest.raises(ValueError, match=r"Policy: .*(add|tanh|div|truediv)\(\) in forward"):
        snn.from_torch(made(Policy))


def test_neurons_of_another_library_are_named():
    theirs = type("Leaky", (nn.Module,), {"__module__": "snntorch._neurons.leaky", "forward": lambda self, x: (x, x)})
    with pytest.raises(ValueError, match=r"layer lif \(Leaky\): this is snntorch's Leaky: import Leaky from"):
        snn.from_torch(Calls(lambda self, x: self.lif(self.fc(x))[0], lif=theirs()))
