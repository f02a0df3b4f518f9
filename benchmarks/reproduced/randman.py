"""Randman: classes are smooth random curves in the space of spike times (Zenke and Vogels 2021).

A class is a curve: the time of each unit's only spike is a smooth random function of a position in [0, 1],

    f(x) = sum_k  a_k / k^alpha  sin(2 pi (k x b_k + c_k)),        a, b, c uniform in [0, 1],

scaled such that the samples of the class fill [0, 1]. The setting is that of stork's example 01: 10 classes, 20 units,
100 steps of 2 ms, spikes within the first half, alpha 1, 1,000 samples of a class, 8 : 1 : 1 for training, validation
and test, and 128 hidden neurons.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Dict, Tuple

import numpy as np

import spikecore as sc
from benchmarks.reproduced.row import Row
from spikecore import functional, schedule

CLASSES, UNITS, STEPS, FRACTION, SAMPLES, ALPHA, WAVES = 10, 20, 100, 0.5, 1000, 1.0, 1000
HIDDEN, DT, TAU_SYN, TAU_MEM = 128, 2.0, 10.0, 20.0  # ms
EPOCHS, LR, LOSS = 15, 5e-3, functional.ce_max_membrane_loss()


def curves(seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Times in [0, 1) of each unit's spike, (samples, units), and classes."""
    rng = np.random.default_rng(seed)
    order = np.arange(1, WAVES + 1)
    times, labels = [], []
    for label in range(CLASSES):
        size, stretch, phase = rng.random((3, UNITS, WAVES))
        place = rng.random(SAMPLES)
        values = np.stack(
            [
                np.sin(2 * np.pi * (np.outer(place, order * stretch[unit]) + phase[unit])) @ (size[unit] / order**ALPHA)
                for unit in range(UNITS)
            ],
            axis=1,
        )
        low, high = values.min(axis=0), values.max(axis=0)
        times.append((values - low) / (high - low))
        labels.append(np.full(SAMPLES, label))
    mixed = rng.permutation(CLASSES * SAMPLES)
    return np.concatenate(times)[mixed], np.concatenate(labels)[mixed]


def rasters(times: np.ndarray, units: np.ndarray, steps: int) -> np.ndarray:
    """Spikes (samples, steps, units) from step numbers (samples, spikes) and the units that fire then."""
    spikes = np.zeros((len(times), steps, UNITS), np.float32)
    sample = np.broadcast_to(np.arange(len(times))[:, None], times.shape)
    inside = times < steps
    np.add.at(spikes, (sample[inside], times[inside], np.broadcast_to(units, times.shape)[inside]), 1.0)
    return np.minimum(spikes, 1.0)


def read(folder: Path, seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Spikes and classes: of a file ``randman_*.npz`` with times, units and labels, else made from the seed."""
    files = sorted(folder.glob("randman_*.npz"))
    if files:
        with np.load(files[seed % len(files)], allow_pickle=False) as file:
            times, units, labels = (file[name] for name in ("times", "units", "labels"))
        return rasters(np.asarray(times, np.int64), np.asarray(units, np.int64), STEPS), labels.astype(np.int64)
    times, labels = curves(seed)
    return rasters((times * FRACTION * STEPS).astype(np.int64), np.arange(UNITS), STEPS), labels


def network() -> sc.Sequential:
    """20-128-10, with time constants of 10 and 20 ms."""
    alpha, beta = math.exp(-DT / TAU_SYN), math.exp(-DT / TAU_MEM)
    steep = sc.surrogate.fast_sigmoid(slope=20.0)
    return sc.Sequential(
        sc.Linear(UNITS, HIDDEN, weight_init=sc.init.normal(0.0, 0.3)),
        sc.Synaptic(alpha=alpha, beta=beta, surrogate=steep, reset_mechanism="zero"),
        sc.Linear(HIDDEN, CLASSES),
        sc.LI(beta=beta),
    )


def trained(x: np.ndarray, y: np.ndarray, seed: int) -> sc.Model:
    """The network after training."""
    model = sc.Model(network(), engine="numpy", seed=seed)
    model.fit(
        x,
        y,
        loss=LOSS,
        optimizer=sc.Adam(lr=LR),
        schedule=schedule.cosine(),
        epochs=EPOCHS,
        batch_size=64,
        time_axis=1,
        progress=False,
    )
    return model


def run(seed: int, folder: Path) -> Dict[str, float]:
    """Train on eight tenths, and say the accuracy on the last one."""
    x, y = read(folder, seed)
    train, valid = len(x) * 8 // 10, len(x) * 9 // 10
    model = trained(x[:train], y[:train], seed)

    def right(part: slice) -> float:
        best = model.engine.to_numpy(model(np.moveaxis(x[part], 1, 0)).membrane).max(axis=0).argmax(axis=-1)
        return 100.0 * float((best == y[part]).mean())

    return {"figure": right(slice(valid, None)), "validation": right(slice(train, valid))}


ROW = Row(
    title="Randman, 20-128-10",
    paper="stork, example 01 (Rossbroich, Gygax and Zenke 2022)",
    theirs="96.3",
    unit="% of test samples",
    run=run,
    differs="the data are made anew from the description for each seed; reset to zero, no regularisation of activity",
)
