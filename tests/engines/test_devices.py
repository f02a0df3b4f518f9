"""Devices of the torch engine: one that this torch does not have is named, with what there is."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch engine is made of torch ops")

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

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


FROM_HOST = torch.ops.aten.lift_fresh.default


class InFloat32(TorchDispatchMode):
    """Refuses tensors of float64 as MPS does, but for NumPy's arrays on the host on their way to a device."""

    made = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        results = operator(*args, **(kwargs or {}))
        for x in tree_flatten(results)[0]:
            self.made += 1
            if isinstance(x, torch.Tensor) and x.dtype == torch.float64 and operator is not FROM_HOST:
                raise TypeError(f"{operator}: the MPS framework doesn't support float64")
        return results


def test_a_device_without_float64_verifies_and_trains_in_float32(monkeypatch):
    monkeypatch.setattr("spikecore.engines.torch.engine.has_doubles", lambda device: False)
    rng = np.random.default_rng(0)
    x, y = rng.random((6, 5), dtype="float32"), np.arange(6) % 3
    net = sc.Sequential(sc.Linear(5, 8), sc.Leaky(beta=sc.learn(0.9)), sc.Linear(8, 3), sc.Leaky())
    with InFloat32() as watch:
        model = sc.Model(net, "torch", seed=0, fused=False)
        report = sc.verify(model, x, y, num_steps=4)
        model.fit(x, y, num_steps=4, epochs=2, batch_size=3, progress=False)
        model.evaluate(x, y, num_steps=4)
    assert watch.made > 100
    assert report.ok, report.table()
    assert {row.check for row in report.rows} == {"finite differences", "float32"}
    assert any("has no float64: compared in float32 alone" in remark for remark in report.remarks)
    with pytest.raises(ValueError, match="dtype='float64': cpu computes in float32 alone; use dtype='float32' there"):
        sc.get_engine("torch", dtype="float64")


def test_a_device_is_asked_whether_it_has_float64(monkeypatch):
    refusals = {"mps": TypeError("no float64"), "xpu": RuntimeError("aspect fp64 is not supported")}

    def refuses(*shape, dtype, device):
        raise refusals[device]

    monkeypatch.setattr(torch, "ones", refuses)
    assert not any(map(devices.has_doubles, refusals))
    assert devices.has_doubles("cpu")  # which is not asked
    assert devices.has_doubles("cuda:1")
