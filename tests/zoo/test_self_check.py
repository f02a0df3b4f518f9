"""The check that ``snn.run`` makes of itself gives no alarm on the networks of the zoo."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore.errors import TrainingWarning  # noqa: E402
from tests.nn.test_run_self_check import told  # noqa: E402
from tests.zoo.test_zoo import NARROW, batch  # noqa: E402

#: Networks of the zoo in which, untrained and so narrow, some layer hears nothing, or is driven at every step.
QUIET = {"ms_resnet18", "qkformer", "sew_resnet18-and", "sew_resnet18-iand", "spiking_vgg16"}


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", sorted(NARROW))
def test_no_alarm_on_the_networks_of_the_zoo(name, train, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)  # oneDNN fails on maps that are so narrow
    description, shape = NARROW[name]
    net = snn.to_torch(sc.Model(description, "torch", input_shape=shape)).train(train)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        said = told(net, torch.as_tensor(batch(shape)))
    assert said.startswith("compared with the loop: equal") or name in QUIET and "not yet" in said


@pytest.mark.parametrize("name", ["delay_snn", "spiking_resnet18"])
def test_delays_integrators_and_resets_to_zero_do_not_keep_a_network_from_being_compared(name):
    """The first two give no spikes; a neuron with the third is reset before it fires where it starts too high."""
    description, shape = NARROW[name]
    net = snn.to_torch(sc.Model(description, "torch", input_shape=shape)).eval()
    assert told(net, torch.as_tensor(batch(shape))).startswith("compared with the loop: equal")
