"""``snn.SynapticDelay`` among other modules: runs, conversion, and what it refuses. Its values: tests/core."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from spikecore import nn as snn  # noqa: E402


def test_it_belongs_to_a_network():
    """A reset, a run over time and a conversion see it as they see neurons; a constant delay is a buffer."""
    torch.manual_seed(0)
    for learned in (True, False):
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 6),
            snn.SynapticDelay(8, 2.5, channels=6, learn_delay=learned),
            snn.Leaky(beta=0.9, threshold=0.2, init_hidden=True),
        )
        assert [name for name, _ in net.named_parameters() if "delay" in name] == ["1.delay"] * learned
        x = torch.rand(9, 3, 4)
        found = torch.stack([net(step) for step in x])
        assert 0 < found.sum() < found.numel()
        torch.testing.assert_close(snn.run(net, x), found)
        snn.utils.reset(net)
        torch.testing.assert_close(torch.stack([net(step) for step in x]), found)
        model = snn.from_torch(net, input_shape=(4,))
        torch.testing.assert_close(model(x).spikes.detach(), found.detach())
        assert ("1.delay" in model.params()) == learned


def test_a_sequence_without_batch():
    delay, x = snn.SynapticDelay(4, torch.tensor([0.0, 2.0]), step_mode=False), torch.rand(6, 2)
    torch.testing.assert_close(delay(x), torch.stack([x[:, 0], torch.cat([torch.zeros(2), x[:4, 1]])], 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: snn.SynapticDelay(0), "SynapticDelay: max_delay=0 must be an int >= 1"),
        (lambda: snn.SynapticDelay(4, 5.0), r"SynapticDelay: delay=5.0 must be in \[0, 4\]"),
        (lambda: snn.SynapticDelay(4, -1.0), "SynapticDelay: delay=-1.0 must be in"),
        (lambda: snn.SynapticDelay(4, kernel="box"), "SynapticDelay: unknown kernel 'box'"),
        (lambda: snn.SynapticDelay(4, kernel="gaussian", sigma=0.0), "SynapticDelay: sigma=0.0 must be"),
        (lambda: snn.SynapticDelay(4, torch.zeros(3), 2), r"delay of shape \(3,\) must be one number, or one for each"),
        (lambda: snn.SynapticDelay(4, channels=2)(torch.zeros(1, 3)), r"input of shape \(1, 3\), .* with 2 channels"),
        (lambda: snn.SynapticDelay(4)(torch.zeros(5, 1, 3)), r"expected \(batch, channels\) .* step_mode=True"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
