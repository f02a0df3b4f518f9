"""Networks for ``snn.run``, and the loop over time to compare with."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

T, B = 7, 3
HIDDEN = {"init_hidden": True}


class Residual(nn.Module):
    """Functions, a shortcut, shapes, an unused state."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.lif1, self.lif2 = snn.Leaky(0.9, **HIDDEN), snn.Synaptic(0.8, 0.9, **HIDDEN)
        self.fc, self.out = nn.Linear(4 * 9, 5), snn.Leaky(0.9, learn_beta=True, learn_threshold=True)

    def forward(self, x):
        first = self.lif1(self.conv1(x))
        y = self.conv2(first)
        y += first
        y = F.max_pool2d(self.lif2(y), 2)
        spk, mem = self.out(self.fc(y.view(y.size(0), -1)) * 2.0)
        return torch.cat([spk, torch.sigmoid(mem)], dim=1), mem


class Peephole(nn.Module):
    """What one layer did at the last step feeds another one."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.back = nn.Linear(4, 4), snn.Leaky(0.9, **HIDDEN), None

    def forward(self, x):
        spk = self.lif(self.fc(x) + (0 if self.back is None else 0.5 * self.back))
        self.back = spk
        return spk


class Peek(Peephole):
    def forward(self, x):
        return self.fc(x) * self.lif.mem.sum() + self.lif(x)


class Counter(Peephole):
    """An attribute that counts the steps."""

    def forward(self, x):
        self.back = (self.back or 0) + 1
        return self.lif(self.fc(x) * self.back)


class Listed(Peephole):
    def __init__(self):
        super().__init__()
        self.kept = []

    def forward(self, x):
        self.kept.append(1)
        return self.lif(self.fc(x)) * len(self.kept)


class Branching(Peephole):
    def forward(self, x):
        return self.lif(self.fc(x)) if x.sum() > 0 else self.lif(x)


class Buffered(Peephole):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return self.lif(self.fc(x)) * float(self.count)


class Gambling(Peephole):
    def forward(self, x):
        return self.lif(self.fc(x) * random.random())


class Twice(Peephole):
    def forward(self, x):
        return self.lif(self.fc(self.lif(x)))


def sequential(*middle):
    return nn.Sequential(nn.Linear(4, 6), *middle, snn.Leaky(0.9, **HIDDEN), nn.Linear(6, 4),
                         snn.Leaky(0.8, **HIDDEN, output=True))  # fmt: skip


def image_net(*middle):
    return nn.Sequential(nn.Conv2d(2, 4, 3), *middle, snn.Leaky(0.9, **HIDDEN), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(16, 5), snn.Leaky(0.9, **HIDDEN))  # fmt: skip


VECTORS = {
    "plain": lambda: sequential(),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), sequential()),
    "dropout": lambda: sequential(nn.Dropout(0.5)),
    "dropout-twice": lambda: sequential(nn.Dropout(0.5), snn.Leaky(0.9, **HIDDEN), nn.Dropout(0.5)),
    "batchnorm": lambda: sequential(nn.BatchNorm1d(6)),
    "layernorm": lambda: sequential(nn.LayerNorm(6), nn.GELU()),
    "softmax": lambda: sequential(nn.Softmax(dim=1)),
    "inplace": lambda: sequential(nn.ReLU(inplace=True)),
    "inplace-on-spikes": lambda: sequential(snn.Leaky(0.9, **HIDDEN), nn.ReLU(inplace=True)),
    "rleaky": lambda: sequential(snn.RLeaky(0.9, linear_features=6, **HIDDEN)),
    "rsynaptic": lambda: sequential(snn.RSynaptic(0.8, 0.9, all_to_all=False, **HIDDEN)),
    "alpha": lambda: sequential(snn.Alpha(0.9, 0.8, threshold=0.2, **HIDDEN)),
    "lapicque": lambda: sequential(snn.Lapicque(0.8, threshold=0.2, learn_beta=True, **HIDDEN)),
    "slstm": lambda: sequential(snn.SLSTM(6, 6, threshold=0.05, **HIDDEN)),
    "delta": lambda: nn.Sequential(nn.Linear(4, 4), snn.DeltaLeaky(0.2, beta=0.9, **HIDDEN)),
    "rnncell": lambda: nn.Sequential(nn.Linear(4, 4), nn.RNNCell(4, 4), snn.Leaky(0.9, **HIDDEN)),
    "graded": lambda: sequential(snn.GradedSpikes(6, 1.5)),
    "feedback": Peephole, "peek": Peek, "counter": Counter, "listed": Listed, "branching": Branching,
    "buffered": Buffered, "gambling": Gambling, "twice": Twice,
    "neuron-alone": lambda: snn.Leaky(0.9, **HIDDEN),
}  # fmt: skip
MAPS = {
    "conv": lambda: image_net(),
    "conv-batchnorm": lambda: image_net(nn.BatchNorm2d(4)),
    "conv-dropout": lambda: image_net(nn.Dropout2d(0.5)),
    "sconv2dlstm": lambda: image_net(snn.SConv2dLSTM(4, 4, 3, threshold=0.05, **HIDDEN)),
    "residual": Residual,
}
STEPWISE = {"feedback", "peek", "counter", "listed", "buffered", "gambling", "twice", "dropout-twice"}
CASES = {**VECTORS, **MAPS}


def prepared(name, train=True):
    torch.manual_seed(1)
    module = CASES[name]().train(train)
    size = (2, 6, 6) if name in MAPS else (4,)
    return module, torch.rand(T, B, *size, generator=torch.Generator().manual_seed(2)) * 2


def loop(module, rows, state=None):
    """The loop that ``run`` must equal."""
    utils.reset(module)
    if state is not None:
        utils.set_state(module, state)
    made = [module(row) for row in rows]
    return tuple(torch.stack(c) for c in zip(*_flat(made)))


def _flat(made):
    def flatten(one):
        return [leaf for part in one for leaf in flatten(part)] if isinstance(one, tuple) else [one]

    return [flatten(one) for one in made]


def graded(module, outputs):
    module.zero_grad()
    total = sum((o * torch.linspace(0.5, 1.5, o.numel()).reshape(o.shape)).sum() for o in outputs)
    if total.requires_grad:
        total.backward()
    return {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def seeded():
    torch.manual_seed(3)
    random.seed(3)


def same(a, b, scale=1.0):
    bound = 1e-5 * max(scale, float(b.detach().abs().max()))
    assert (a - b).detach().abs().max() <= bound


def first(*layers):
    return nn.Sequential(*layers, snn.Leaky(0.9, **HIDDEN))
