"""Batches on their way to the GPU: through pinned memory, as the torch engine sends them, and straight."""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, List, Tuple

import numpy as np

from benchmarks.gpu.record import Record
from spikecore.engines.torch.devices import is_pinned_for, on_device

#: Name, shape and type of a batch: frames of events, images as bytes, sequences that a user has encoded.
BATCHES = (
    ("images, bytes", (256, 3, 32, 32), "uint8"),
    ("images, float32", (256, 3, 32, 32), "float32"),
    ("frames, float32", (25, 64, 2, 34, 34), "float32"),
    ("sequence, float64", (100, 128, 700), "float64"),
)
TINY = (("images, bytes", (2, 3, 32, 32), "uint8"), ("sequence, float64", (5, 4, 700), "float64"))
ROUNDS, BUSY = 15, 20  # measurements; matrix products that keep the GPU at work meanwhile


def copies(record: Record) -> None:
    """A row for each kind of batch: how long the process is held, and when the batch is there."""
    import torch

    record.note(
        f"Medians of {ROUNDS}. Held: until the call returns, while the GPU multiplies matrices. There: until the batch "
        "can be read, on an idle GPU. Straight is `tensor.to(device, dtype)` from memory that is not pinned."
    )
    busy = torch.rand(record.size(4096, 8), record.size(4096, 8), device=record.device)
    for name, shape, dtype in record.size(BATCHES, TINY):
        values = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
        host = torch.as_tensor(values)
        ways: Tuple[Tuple[str, Callable[[], Any]], ...] = (
            ("pinned", lambda host=host: on_device(host, record.device, torch.float32)),  # type: ignore[misc]
            ("straight", lambda host=host: host.to(device=record.device, dtype=torch.float32)),  # type: ignore[misc]
        )
        cells = {}
        with record.attempt(name):
            for way, send in ways:
                record.check(f"{name}, {way}", np.array_equal(send().cpu().numpy(), values.astype("float32")))
                held, there = measured(record, busy, send)
                cells.update({f"{way}: held, ms": record.time(held), f"{way}: there, ms": record.time(there)})
            record.check(f"{name}: pinned on a GPU alone", record.rehearse != is_pinned_for(host, record.device))
            record.row("Batches", batch=name, MB=float(f"{values.nbytes / 1e6:.3g}"), **cells)


def measured(record: Record, busy: Any, send: Callable[[], Any]) -> Tuple[float, float]:
    """Milliseconds until a call returns beside other work, and until its result is there without."""
    import torch

    def wait() -> None:
        if not record.rehearse:
            torch.cuda.synchronize()

    held: List[float] = []
    there: List[float] = []
    for _ in range(record.size(ROUNDS, 1)):
        wait()
        for _ in range(record.size(BUSY, 1)):
            busy @ busy
        begun = time.perf_counter()
        send()
        held.append(time.perf_counter() - begun)
        wait()
        begun = time.perf_counter()
        send()
        wait()
        there.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(held), 1e3 * statistics.median(there)
