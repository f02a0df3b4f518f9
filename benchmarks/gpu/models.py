"""Whole models on the device: gradients verified, training, draws and files."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np

import spikecore as sc
from benchmarks.gpu.record import Record

STEPS = 20


def networks() -> Dict[str, Tuple[Any, Tuple[int, ...]]]:
    """Networks with the shape of a sample."""
    leaky = sc.Leaky(beta=sc.learn(0.9))
    return {
        "dense": (
            sc.Sequential(sc.Linear(64, 96), leaky, sc.Dropout(0.2), sc.Linear(96, 10), sc.Leaky(beta=0.9)),
            (64,),
        ),
        "convolutional": (
            sc.Sequential(
                *(sc.Conv2d(1, 8, 3), sc.BatchNorm2d(8), leaky, sc.MaxPool2d(2)),
                *(sc.Flatten(), sc.Linear(72, 10), sc.Leaky(beta=0.9)),
            ),
            (1, 8, 8),
        ),
        "recurrent": (
            sc.Sequential(
                *(sc.Linear(64, 48), sc.RLeaky(beta=0.9, linear_features=48)),
                *(sc.Linear(48, 10), sc.Leaky(beta=0.9)),
            ),
            (64,),
        ),
    }


def engines(record: Record) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Engines on the device, with their options."""
    yield "torch", {"device": record.device}
    if record.rehearse:
        yield "numpy", {}
    elif importlib.util.find_spec("cupy") is not None:
        yield "cupy", {}
    else:
        record.note("cupy is not installed (pip install cupy-cuda13x, or cupy-cuda12x): its engine is left out.")


def models(record: Record) -> None:
    """Every network on every engine of the device."""
    x, y = samples(record.size(1024, 48))
    for name, options in engines(record):
        for kind, (network, shape) in networks().items():
            inputs = x.reshape(-1, *shape)
            with record.attempt(f"{kind} on {name}"):
                row = tried(record, f"{kind} on {name}", network, inputs, y, name, options)
                record.row("Models", network=kind, engine=name, **row)


def samples(count: int) -> Tuple[np.ndarray, np.ndarray]:
    """Ten noisy patterns of 64 grey values, with their numbers."""
    draw = np.random.default_rng(0)
    patterns, labels = draw.random((10, 64), dtype="float32"), np.arange(count) % 10
    return 0.7 * patterns[labels] + 0.3 * draw.random((count, 64), dtype="float32"), labels


def drawn(engine: Any) -> Any:
    """Some random numbers of an engine, as a NumPy array."""
    return engine.to_numpy(engine.uniform((0, "draws"), (5, 7), sample_axis=1))


def tried(
    record: Record, what: str, network: Any, x: np.ndarray, y: np.ndarray, name: str, options: Dict[str, Any]
) -> Dict[str, Any]:
    """Verify, train, draw, save and load one network; returns the cells of its row."""
    model = sc.Model(network, engine=sc.get_engine(name, **options), seed=0)
    few, labels = x[:8], y[:8]
    report = sc.verify(model, few, labels, num_steps=STEPS)
    record.check(f"{what}: verify", report.ok, str(report))
    mine, cpu = (drawn(engine) for engine in (model.engine, sc.get_engine("numpy")))
    record.check(f"{what}: draws are those of the CPU", bool(np.array_equal(mine, cpu)))
    history = model.fit(
        x, y, optimizer=sc.Adam(lr=5e-3), epochs=record.size(8, 2), num_steps=STEPS, batch_size=record.size(128, 16)
    )
    losses = [row["loss"] for row in history]
    record.check(f"{what}: the loss falls", losses[-1] < losses[0], f"{losses}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        other = sc.load(path, engine="numpy")
    a, b = (np.asarray(m.engine.to_numpy(m(few, num_steps=STEPS).spikes)) for m in (model, other))
    differing = int((a != b).sum())
    record.check(f"{what}: a file gives the same spikes on NumPy", differing <= a.size // 200, f"{differing} differ")
    counts = {"first loss": float(f"{losses[0]:.4g}"), "last loss": float(f"{losses[-1]:.4g}")}
    return {
        "worst gradient error": float(f"{report.worst:.2g}"),
        **counts,
        "differing spikes": f"{differing} of {a.size}",
    }
