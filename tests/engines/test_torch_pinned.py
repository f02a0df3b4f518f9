"""Arrays of the host go to a CUDA device through pinned memory, in the order of its other work; nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import spikecore as sc  # noqa: E402
from spikecore.engines.torch import devices  # noqa: E402

PLENTY = 2049  # numbers in float64


@pytest.fixture
def calls(monkeypatch):
    """What is done with tensors on their way to a "CUDA device", which here is the CPU. Pinned memory is a copy."""
    made, to = [], torch.Tensor.to

    def pinned(x):
        made.append(("pin", x.dtype))
        return x.clone()

    def moved(x, *arguments, **options):
        if "cuda" in str(options.pop("device", "")):
            made.append(("to", x.dtype, options.pop("non_blocking", False)))
        return to(x, *arguments, **options) if arguments or options else x.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda x: False)
    monkeypatch.setattr(torch.Tensor, "to", moved)
    return made


@pytest.mark.parametrize(
    ("given", "fetched"),
    [(np.float64, torch.float32), (np.float32, torch.float32), (np.uint8, torch.uint8), (np.int64, torch.float32)],
)
def test_the_copy_is_pinned_first_and_as_small_as_it_can_be(calls, given, fetched):
    x = (np.arange(8 * PLENTY) % 100).astype(given)
    y = devices.on_device(torch.as_tensor(x), "cuda:0", torch.float32)
    assert calls == [("pin", fetched), ("to", fetched, True)]
    assert y.dtype == torch.float32
    wanted = x.astype(np.float32)
    x[:] = 0  # the caller's memory is free again
    assert np.array_equal(y.numpy(), wanted)


def test_the_engine_takes_this_way(calls, monkeypatch):
    engine = sc.get_engine("torch")
    engine.device = "cuda"  # as it would be there
    engine.asarray(np.ones(2 * PLENTY))
    engine.asarray(torch.ones(2 * PLENTY))
    engine.asarray(np.arange(PLENTY), dtype="int64")
    assert [call[0] for call in calls] == ["pin", "to"] * 3


@pytest.mark.parametrize("case", ["small", "pinned"])
def test_no_copy_is_too_small_to_go_without_waiting(calls, monkeypatch, case):
    x = torch.ones(2 if case == "small" else PLENTY, dtype=torch.float64)
    if case == "pinned":  # by the caller, who may change it
        monkeypatch.setattr(torch.Tensor, "is_pinned", lambda x: True)
    devices.on_device(x, "cuda", torch.float64)
    assert calls == [("pin", torch.float64), ("to", torch.float64, True)]


@pytest.mark.parametrize("case", ["large", "gradient"])
def test_what_goes_straight(calls, monkeypatch, case):
    x = torch.ones(PLENTY, dtype=torch.float64, requires_grad=case == "gradient")
    if case == "large":
        monkeypatch.setattr(devices, "MOST", x.nbytes - 1)
    devices.on_device(x, "cuda", torch.float64)
    assert calls == [("to", torch.float64, False)]  # and this process waits


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_other_devices_know_no_pinned_memory(device, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", None)
    x = torch.ones(PLENTY, dtype=torch.float64)
    assert devices.on_device(x, device, torch.float32).device.type == device
    sc.get_engine("torch").asarray(x.numpy())
