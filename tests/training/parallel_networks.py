"""Networks and data for several processes that train one model, and what is compared of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.samples import Loader

RNG = np.random.default_rng(0)
X, Y = 3.0 * RNG.random((90, 12)), RNG.integers(0, 4, 90)
MAPS = RNG.random((90, 2, 6, 6))
SEQUENCES, LENGTHS = 3.0 * RNG.random((7, 90, 12)), RNG.integers(3, 8, 90)


def rate(x, num_steps, seed, first):
    """Spikes, three times as large, so that small networks fire."""
    return 3.0 * spikegen.rate(x / 3.0, num_steps=num_steps, seed=seed, first=first)


def dense(*between):
    return (sc.Linear(12, 16), sc.Leaky(beta=sc.learn(0.9)), *between, sc.Linear(16, 4), sc.Leaky(beta=0.8))


def maps(norm):  # a bias in front of normalisation has no effect: its gradient is rounding, which Adam makes large
    return (sc.Conv2d(2, 4, 3, bias=False), norm, sc.Leaky(beta=0.5), sc.Flatten(), sc.Linear(64, 4), sc.LI(beta=0.9))


RECURRENT = (sc.RLeaky(beta=0.7, linear_features=8), sc.Linear(8, 4), sc.Synaptic(alpha=0.8, beta=0.9))
ROWS = (sc.Linear(12, 8, bias=False), sc.BatchNorm1d(8), sc.Leaky(beta=0.9), sc.Linear(8, 4), sc.LI(beta=0.9))
OTHERS = (
    *(sc.Conv2d(2, 4, 3, bias=False), sc.ThresholdDependentBatchNorm2d(4, threshold=0.5), sc.Leaky(threshold=0.5)),
    *(sc.Conv2d(4, 4, 1, bias=False), sc.TemporalEffectiveBatchNorm2d(4, time_steps=4), sc.Leaky(beta=0.5)),
    *(sc.GroupNorm(2, 4), sc.Flatten(), sc.Linear(64, 4), sc.LI(beta=0.9)),
)
RATE = {"encoder": rate, "num_steps": 5}
KEEPING = {**RATE, "optimizer": sc.Adam(lr=1e-2, keep_zeros=True, clip_norm=0.05)}
KINDS = {
    "dense": (dense(), X, {"num_steps": 6}),
    "batch norm": (maps(sc.BatchNorm2d(4)), MAPS, {"num_steps": 4}),
    "batch norm in words": (maps(sc.BatchNorm2d(4)), MAPS, {"num_steps": 4}),  # as on devices but the CPU
    "batch norm computed again": (maps(sc.BatchNorm2d(4)), MAPS, {"num_steps": 4, "checkpoint_layers": 2}),
    "batch norm of each step": (maps(sc.BatchNormTT2d(4, time_steps=4)), MAPS, {"num_steps": 4}),
    "other norms": (OTHERS, MAPS, {"num_steps": 4}),
    "batch norm of rows": (ROWS, X, RATE),
    "recurrent": ((sc.Linear(12, 8), *RECURRENT), X, RATE),
    "dropout": (dense(sc.Dropout(0.4)), X, {"num_steps": 6}),
    "rate code": (dense(), X, RATE),
    "accumulate": (dense(sc.Dropout(0.2)), X, {**RATE, "compute": sc.Compute(accumulate=2)}),
    "clipped": (dense(), X, {**RATE, "optimizer": sc.Adam(lr=1e-2, clip_norm=0.05)}),
    "pruned": (
        dense(),
        X,
        {**KEEPING, "callbacks": (sc.compression.Pruning(0.5, start=1, end=9, every=2, each="step"),)},
    ),
    "rewired": (dense(), X, {**KEEPING, "callbacks": (sc.compression.Rewiring(0.5, start=3, every=4, each="step"),)}),
    "lengths": (dense(), "lengths", {}),
    "time second": (dense(), "time second", {"time_axis": 1}),
}
QUICK = (
    *("batch norm", "batch norm in words", "batch norm computed again", "other norms"),
    *("recurrent", "accumulate", "lengths", "rewired"),
)


def batches(data, whole_only):
    """Batches of 22 samples, so that parts differ in size, and a last one of 2 if it need not be divided by 4."""
    if isinstance(data, np.ndarray):
        return Loader(data, Y, batch_size=22, seed=1, drop_last=whole_only)
    parts = [slice(start, start + 22) for start in range(0, 88 if whole_only else 90, 22)]
    if data == "time second":
        return [(SEQUENCES[:, part].swapaxes(0, 1), Y[part]) for part in parts]
    return [(SEQUENCES[:, part], Y[part], LENGTHS[part].tolist()) for part in parts]


def model(layers, data=X, **options):
    shape = (2, 6, 6) if data is MAPS else 12
    return sc.Model(sc.Sequential(*layers), engine="torch", dtype="float64", seed=3, input_shape=shape, **options)


def trained(kind, world, parallel="data", **options):
    """A model after 20 batches, or 10 of two processes, validated after each epoch."""
    layers, data, more = KINDS[kind]
    options = {"validation": batches(data, False), "metric": "accuracy_rate", "progress": False, **more, **options}
    given, one = batches(data, world > 2), model(layers, data, checkpoint_layers=options.pop("checkpoint_layers", None))
    options.setdefault("optimizer", sc.Adam(lr=1e-2))
    options["compute"] = replace(options.get("compute", sc.Compute()), parallel=parallel)
    one.fit(given, loss=functional.ce_rate_loss(), epochs=5 if world > 2 else 2, **options)
    return one


def figures(one):
    """Everything of a trained model as numbers, by name."""
    state = one.state()
    flat = {f"{part}/{name}": x for part in ("params", "buffers", "optimizer") for name, x in state[part].items()}
    columns = [name for name in one.history[0] if name not in ("seconds", "samples_per_s")]
    return {**flat, "history": np.array([[row[name] for name in columns] for row in one.history])}


def gap(one, others):
    return max(float(np.abs(other[k] - v).max()) for other in others for k, v in one.items() if v.size)


def loaded(folder, kind, world=2):
    return [dict(np.load(folder / f"{kind}-{rank}.npz")) for rank in range(world)]
