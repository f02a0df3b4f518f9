"""How fast neuron kernels are beside a copy that moves as many bytes: what a GPU kernel of this kind can reach."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks.gpu.launches import Clock, Device, Launch, caught, cupy_device, torch_device
from benchmarks.gpu.record import Absent, Record

BAR = 0.7  # of the copy's speed
SHAPES = ((100, 64, 1024), (25, 128, 1000), (500, 16, 4096), (100, 64, 8192))
TINY = ((25, 2, 20),)
NEURONS: Dict[str, Any] = {
    "Leaky": sc.Leaky(beta=0.9),
    "Leaky, beta learned": sc.Leaky(beta=sc.learn(0.9)),
    "Leaky, half precision": sc.Leaky(beta=0.9),
    "Synaptic": sc.Synaptic(alpha=0.8, beta=0.9),
    "Alpha": sc.Alpha(alpha=0.9, beta=0.8),
    "ALIF": sc.ALIF(beta=0.9, rho=0.9, adaptation=0.5),
}


def bandwidth(record: Record) -> None:
    """A row for each kernel, neuron and size."""
    record.note(
        "A kernel alone, on buffers that exist, by the device's own clock; the median of seven runs, each behind a "
        "matrix product that empties the cache. The bytes are those of its arrays, each read or written once; the copy "
        f"moves as many. The bar is {100 * BAR:.0f} % of the copy's speed."
    )
    found = 0
    for make in (torch_device, cupy_device):
        try:
            device = make(record)
        except Absent as reason:
            record.note(str(reason))
            continue
        found += 1
        measure(record, device)
    if not found:
        raise Absent("neither triton nor cupy is installed: there are no GPU kernels")


def measure(record: Record, device: Device) -> None:
    """The rows of one language."""
    clock = Clock(device, record.rehearse)
    parts: List[Optional[float]] = []
    for shape in record.size(SHAPES, TINY):
        for name, layer in NEURONS.items():
            what = f"{device.name}: {name}, {shape}"
            with record.attempt(what):
                forward, backward, kernels = caught(device, layer, shape, half="half" in name)
                check(record, what, forward, backward)
                for launch in (forward, backward):
                    parts.append(timed(record, device, clock, name, shape, launch, partial(kernels.start, *launch)))
    if not record.rehearse:
        reached = sum(part is not None and part >= BAR for part in parts)
        record.note(f"{device.name}: {reached} of {len(parts)} kernels reach the bar.")


def timed(
    record: Record, device: Device, clock: Clock, neuron: str, shape: Tuple[int, ...], launch: Launch, start: Any
) -> Optional[float]:
    """Write the row of a kernel; returns its speed as a part of the copy's, None in a rehearsal."""
    ours, copy = clock(start), clock.copy(launch.moved)
    part = copy / ours if ours and copy else None
    record.row(
        f"{device.name} kernels",
        neuron=neuron,
        shape="T={} B={} N={}".format(*shape),
        kernel=launch.kernel.name,
        MB=float(f"{launch.moved / 1e6:.3g}"),
        ms=record.time(ours),
        **{"GB/s": record.time(launch.moved / ours / 1e6 if ours else None)},
        **{"copy GB/s": record.time(launch.moved / copy / 1e6 if copy else None)},
        **{"of copy": record.time(part), "bar met": None if part is None else str(part >= BAR)},
    )
    return part


def check(record: Record, what: str, forward: Launch, backward: Launch) -> None:
    """That the kernels did some work: there are spikes, and the gradient is finite and not zero."""
    spikes, gradient = on_host(forward, "out"), on_host(backward, "gx")
    rate = float(np.count_nonzero(spikes)) / spikes.size
    right = 0.0 < rate < 1.0 and bool(np.isfinite(gradient).all()) and bool(gradient.any())
    record.check(what, right, f"rate {rate:.3g}, gradient {np.abs(gradient).max():.3g}")


def on_host(launch: Launch, name: str) -> Any:
    """One of the kernel's arrays, as a NumPy array of float32."""
    array = launch.arrays[launch.kernel.arrays.index(name)]
    return array.detach().float().cpu().numpy() if hasattr(array, "detach") else array.get().astype("float32")
