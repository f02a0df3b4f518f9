"""Networks that the first call of ``snn.run`` cannot compare with the loop, and some that it can."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore.engines.torch.nn import self_check  # noqa: E402
from tests.nn.test_run_self_check import CALLS, Counted, inputs, told  # noqa: E402
from tests.nn.test_run_states import loop  # noqa: E402


class Silenced(nn.Module):
    """A layer that cannot fire, whatever its potential: what lies above the threshold is reset at first."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(8, 6), snn.Leaky(0.9, reset_mechanism="zero", init_hidden=True)
        self.quiet = -1e9

    def forward(self, x):
        CALLS.append(1)
        return self.lif(self.fc(x) + self.quiet)


def test_a_layer_that_does_not_fire_leaves_the_network_unchecked():
    net, x, tried = Silenced(), inputs(), []
    for call in range(1, 10):
        CALLS.clear()
        said = told(net, x)
        assert said == "compared with the loop: not yet, layer 'lif' fires nowhere, or everywhere, from drawn states"
        tried += [call] * (len(CALLS) > 1)
    assert tried == [1, 2, 4, 8]  # and ever more seldom
    net.quiet = 0.0
    assert told(net, x).startswith("compared with the loop: equal")


def test_a_forward_that_raises_in_drawn_states_is_left_alone():
    net, x = Counted(), inputs()

    def strict(spk):
        if type(spk) is torch.Tensor and not net.lif.mem.abs().max() < 2.5:
            raise ValueError("such a potential is not possible")
        return spk

    net.after = strict
    assert told(net, 0 * x).startswith("compared with the loop: not yet, such a potential")


def test_modules_that_wait_for_other_processes_are_not_compared(monkeypatch):
    monkeypatch.setattr(self_check, "_ranks", lambda: 2)
    net, x = Counted(), inputs()
    net.count()
    assert "other processes" in told(nn.DataParallel(net), x)
    assert net.count() == 1
    assert told(net, x).startswith("compared with the loop: equal")


def test_a_forward_that_waits_for_other_processes_is_not_compared(monkeypatch, tmp_path):
    """How often states are drawn depends on a rank's data: its collectives would meet other ones of the next rank."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("this torch has no torch.distributed")

    def summed(spk):
        mean = spk.detach().mean()
        distributed.all_reduce(mean)
        sums.append(1)
        return spk * (1 + mean)

    sums = []
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        assert told(Counted(summed), inputs()).startswith("compared with the loop: equal")
        alone = len(sums)
        sums.clear()
        monkeypatch.setattr(self_check, "_ranks", lambda: 2)
        net, x = Counted(summed).eval(), inputs()
        assert "forward waits for other processes" in told(net, x)
        assert len(sums) == 2 < alone  # every rank looks, and runs
        torch.testing.assert_close(snn.run(net, x), loop(net, x))
        assert told(Counted(), x).startswith("compared with the loop: equal")
    finally:
        distributed.destroy_process_group()
