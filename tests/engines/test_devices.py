"""Devices of the torch engine: one that this torch does not have is named, with what there is."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch engine is made of torch ops")

import spikecore as sc
from spikecore.engines.torch import devices

ABSENT = [kind for kind in ("cuda", "cuda:7", "mps", "xpu", "hpu", "xla", "privateuseone") if not devices.works(kind)]


@pytest.mark.parametrize("device", ABSENT)
def test_a_device_that_is_not_here(device):
    """A: other accelerators go through the torch engine; the error names argument, value and what is available."""
    kind = device.partition(":")[0].upper()
    message = rf"device='{device}': this torch \(.*\) sees no such {kind} device; usable here: 'cpu'"
    with pytest.raises(ValueError, match=message):
        sc.get_engine("torch", device=device)


def test_words_that_are_no_device(monkeypatch):
    for device in ("neuron", "gpu", None):
        with pytest.raises(ValueError, match=rf"device={device!r} is not a torch device; .*Usable here: 'cpu'"):
            sc.get_engine("torch", device=device)
    with pytest.raises(ValueError, match="device='ipu': .*use engine='ipu'"):
        sc.get_engine("torch", device="ipu")
    monkeypatch.setitem(sys.modules, "poptorch", sys)
    assert sc.get_engine("torch", device="ipu:0").device == "ipu:0", "a loss that asks engine_of while it is traced"


@pytest.mark.parametrize("device", ["cpu", "cpu:0", *devices.available()])
def test_devices_that_are_here(device):
    engine = sc.get_engine("torch", device=device)
    out = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky()), engine)(np.ones((2, 3), "float32"), num_steps=3)
    assert out.spikes.device.type == device.partition(":")[0]


def test_an_accelerator_that_came_with_an_import(monkeypatch):
    """What makes tensors is a device, whoever has brought it."""
    monkeypatch.setattr(torch, "empty", lambda *shape, device: None)
    devices.check_device("hpu")
    assert "hpu" in devices.available()
