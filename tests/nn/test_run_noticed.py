"""What ``snn.run`` notices: layers used twice, a loop within the loop over time, a batch that is read as time."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from spikecore.errors import TrainingWarning  # noqa: E402
from tests.nn.run_rig import HIDDEN, B, Peephole, T, first, loop, same  # noqa: E402


class Whole(nn.Module):
    """A forward that loops over time itself."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9)

    def forward(self, x):
        mem, spikes = self.lif.init_leaky(), []
        for step in x:
            spk, mem = self.lif(self.fc(step), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Resets(Whole):
    """The commonest way to write it: hidden states, and a reset at the beginning of ``forward``."""

    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(0.9, **HIDDEN)

    def forward(self, x):
        utils.reset(self)
        return torch.stack([self.lif(self.fc(step)) for step in x])


class ResetsIt(Resets):
    """The reset is of the neuron, and there are several steps of one input."""

    def forward(self, x):
        self.lif.reset_mem()
        return torch.stack([self.lif(self.fc(x)) for _ in range(3)])


class NormedTwice(Peephole):
    """Its running statistics depend on the order of all calls."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.lif(self.norm(self.fc(x))) + x)


def test_a_batch_norm_that_is_used_twice_in_a_step():
    torch.manual_seed(0)
    one, x, said = NormedTwice(), torch.rand(T, B, 4), []
    two = copy.deepcopy(one)
    snn.run(one, x, explain=said.append)
    loop(two, x)
    same(one.norm.running_var, two.norm.running_var)
    assert "a batch norm is used twice in one step" in said[0]


class Keeps(Whole):
    """The state in an attribute of its own, from zeros that forward makes."""

    mem = None

    def forward(self, x):
        current = self.fc(x)
        spk, self.mem = self.lif(current, torch.zeros_like(current) if self.mem is None else self.mem)
        return spk


class KeepsInList(Whole):
    """The state in a list, which stays the same list."""

    def __init__(self):
        super().__init__()
        self.mems = [None]

    def forward(self, x):
        self.mems[0] = self.lif.init_leaky() if self.mems[0] is None else self.mems[0]
        spk, self.mems[0] = self.lif(self.fc(x), self.mems[0])
        return spk


class KeepsElsewhere(Whole):
    """The state in no module."""

    def __init__(self):
        super().__init__()
        kept = []
        self.kept = lambda: kept

    def forward(self, x):
        spk, mem = self.lif(self.fc(x), self.kept()[-1] if self.kept() else self.lif.init_leaky())
        self.kept().append(mem)
        return spk


def test_a_loop_over_time_within_the_loop_over_time_is_noticed(recwarn):
    """It would run over the batch, and remember nothing from step to step: shapes are right, and the result is not."""
    for kind, shape in ((Whole, (T, B, 4)), (Resets, (T, B, 4)), (ResetsIt, (T, 3, B, 4))):
        said = rf"forward of {kind.__name__} gives layer 'lif' the same state .*call net\(x\)"
        net = kind()
        for _ in range(2):  # a refusal that is remembered warns as well
            with pytest.warns(TrainingWarning, match=said):
                assert snn.run(net, torch.rand(T, B, 4)).shape == shape
    recwarn.clear()
    for net in (Keeps(), KeepsInList(), KeepsElsewhere()):
        snn.run(net, torch.rand(T, B, 4))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: first(nn.Linear(4, 6)), (32, 4)),
        (lambda: first(nn.Conv1d(2, 3, 3)), (32, 2, 8)),
        (lambda: first(nn.Conv2d(2, 3, 3)), (32, 2, 8, 8)),
        (lambda: first(first(nn.Linear(4, 6), nn.Dropout(0.1))), (32, 4)),
    ],
)
def test_a_batch_that_is_read_as_time_is_noticed(net, shape, recwarn):
    """Samples would be steps: shapes are right, and the result is not."""
    net, x = net().eval(), torch.rand(shape)
    with pytest.warns(TrainingWarning, match=r"is read as 32 time steps of one sample.*num_steps=.*x.unsqueeze\(1\)"):
        snn.run(net, x)
    recwarn.clear()
    snn.run(net, x, num_steps=3)
    snn.run(net, x.unsqueeze(1))
    snn.run(snn.Leaky(0.9, **HIDDEN), x)
    assert not recwarn.list
