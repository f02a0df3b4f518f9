"""``snn.run`` against the loop on networks as programs write them: where they keep states, and what they note down."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from tests.nn.run_rig import HIDDEN, B, T, graded, loop, same  # noqa: E402

N = 6


class InAList(nn.Module):
    """Blocks in a list of Python's, so that the network does not know their neurons."""

    def __init__(self):
        super().__init__()
        self.blocks = [nn.Sequential(nn.Linear(N, N), snn.Leaky(0.9, **HIDDEN)) for _ in range(2)]
        self.head = nn.Linear(2 * N, 3)

    def forward(self, x):
        seen = []
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        return self.head(torch.cat(seen, 1))

    def begin(self):
        for block in self.blocks:
            utils.reset(block)


class Noting(nn.Module):
    """It keeps potentials beside the neurons, and notes down inputs as arrays and spikes as a number."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1, self.fc2, self.lif2 = nn.Linear(N, N), snn.Leaky(0.9), nn.Linear(N, 3), snn.Leaky(0.9)
        self.begin()

    def begin(self):
        self.mems, self.inputs, self.count = [self.lif1.init_leaky(), self.lif2.init_leaky()], [], 0.0

    def forward(self, x):
        spk, self.mems[0] = self.lif1(self.fc1(x), self.mems[0])
        out, self.mems[1] = self.lif2(self.fc2(spk), self.mems[1])
        self.inputs.append(x.squeeze(0).detach().numpy())
        self.count += float(spk.detach().sum())
        return out, self.mems[1]


class ByKind(nn.Module):
    """Layers of many kinds, walked by their classes; the rates of neurons are returned, too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Flatten(), nn.Linear(N, N), snn.Leaky(torch.rand(N), learn_beta=True, **HIDDEN), nn.Linear(N, N),
            snn.Lapicque(0.8, **HIDDEN), nn.Linear(N, N), snn.Alpha(0.9, 0.8, threshold=0.3, **HIDDEN),
            nn.Linear(N, 3), snn.Synaptic(0.9, 0.8, output=True, reset_mechanism="zero", **HIDDEN),
        ])  # fmt: skip

    def begin(self):
        pass

    def forward(self, x):
        rates = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, (snn.Leaky, snn.Lapicque, snn.Alpha)):
                rates.append(x.mean(1))
        return x[0], x[2], torch.stack(rates, 1)


class NeuronsNote(ByKind):
    """What a neuron returns is written to attributes of it, one of which nobody else knows."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(N, 4), snn.Synaptic(0.9, 0.8, output=True, **HIDDEN)

    def forward(self, x):
        self.lif.spk1, self.lif.syn1, self.lif.mem = self.lif(self.fc(x))
        return self.lif.spk1, self.lif.mem


@pytest.mark.parametrize(("kind", "at_once"), [(InAList, False), (Noting, False), (ByKind, True), (NeuronsNote, False)])
def test_equal_to_the_loop_call_after_call(kind, at_once):
    nets = []
    for _ in range(2):
        torch.manual_seed(1)
        nets.append(kind())
    for call in range(3):
        x = 2 * torch.rand(T, B, N, generator=torch.Generator().manual_seed(call))
        for net in nets:
            net.begin()
        said = []
        found, wanted = snn.run(nets[0], x, explain=said.append), loop(nets[1], x)
        found = found if isinstance(found, tuple) else (found,)
        assert said[0].startswith("the network: step by step") is not at_once
        assert any(part.any() for part in wanted)
        for a, b in zip(found, wanted):
            same(a, b)
        gradients = [graded(net, outputs) for net, outputs in zip(nets, (found, wanted))]
        assert gradients[0].keys() == gradients[1].keys()
        scale = max(float(g.abs().max()) for g in gradients[1].values())
        for name, gradient in gradients[1].items():
            same(gradients[0][name], gradient, scale)
    if kind is Noting:
        assert len(nets[0].inputs) == T
        assert nets[0].count == nets[1].count > 0
