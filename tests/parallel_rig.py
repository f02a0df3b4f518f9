"""Trains in several processes for ``test_parallel.py``: what each rank runs, and how they are started.

``python parallel_rig.py FOLDER`` in the environment of one rank (RANK, WORLD_SIZE) does all trainings of a world, so
that a world of processes is started once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.datasets import Loader

HERE = Path(__file__)
RNG = np.random.default_rng(0)
X, Y = 3.0 * RNG.random((90, 12)), RNG.integers(0, 4, 90)
MAPS = RNG.random((90, 2, 6, 6))
SEQUENCES, LENGTHS = 3.0 * RNG.random((7, 90, 12)), RNG.integers(3, 8, 90)
STEPS = 20  # batches of 22 or 23 samples, five in an epoch: parts of unequal size, and a last batch of 2 or so


def dense(*between):
    return (sc.Linear(12, 16), sc.Leaky(beta=sc.learn(0.9)), *between, sc.Linear(16, 4), sc.Leaky(beta=0.8))


def maps(norm, *first):
    return (
        sc.Conv2d(2, 4, 3, bias=False),
        norm,
        sc.Leaky(beta=0.5),
        *first,
        sc.Flatten(),
        sc.Linear(64, 4),
        sc.LI(beta=0.9),
    )


def rate(x, num_steps, seed, first):
    """Spikes, three times as large, so that small networks fire."""
    return 3.0 * spikegen.rate(x / 3.0, num_steps=num_steps, seed=seed, first=first)


RECURRENT = (
    sc.Linear(12, 8),
    sc.RLeaky(beta=0.7, linear_features=8),
    sc.Linear(8, 4),
    sc.Synaptic(alpha=0.8, beta=0.9),
)
RATE = {"encoder": rate, "num_steps": 5}
NETWORKS = {
    "dense": (dense(), X, {"num_steps": 6}),
    "batch norm": (maps(sc.BatchNorm2d(4)), MAPS, {"num_steps": 4}),
    "batch norm of each step": (maps(sc.BatchNormTT2d(4, time_steps=4)), MAPS, {"num_steps": 4}),
    "batch norm of rows": (
        (sc.Linear(12, 8, bias=False), sc.BatchNorm1d(8), *dense()[1:2], sc.Linear(8, 4), sc.LI()),
        X,
        RATE,
    ),
    "recurrent": (RECURRENT, X, RATE),
    "dropout": (dense(sc.Dropout(0.4)), X, {"num_steps": 6}),
    "rate code": (dense(), X, RATE),
    "accumulate": (dense(sc.Dropout(0.2)), X, {**RATE, "accumulate": 2}),
    "clipped": (dense(), X, {**RATE, "clip_norm": 0.05}),
    "lengths": (dense(), "lengths", {}),
    "time second": (dense(), "time second", {"time_axis": 1}),
}


def batches(data):
    """Batches of unequal size, as a loader would give them."""
    if data is X or data is MAPS:
        return Loader(data, Y, batch_size=22, seed=1)
    parts = [slice(start, start + 22) for start in range(0, 90, 22)]
    if data == "time second":
        return [(SEQUENCES[:, part].swapaxes(0, 1), Y[part]) for part in parts]
    return [(SEQUENCES[:, part], Y[part], LENGTHS[part].tolist()) for part in parts]


def trained(kind, drop_last=False, **options):
    """A model after 20 batches, with its history and what it evaluates to."""
    network, data, more = NETWORKS[kind]
    shape = (2, 6, 6) if data is MAPS else 12
    model = sc.Model(sc.Sequential(*network), engine="torch", dtype="float64", seed=3, input_shape=shape)
    given = [batch for batch in batches(data)] if drop_last else batches(data)
    given = given[:4] if drop_last else given
    epochs = 5 if drop_last else 4
    options = {**more, "validation": given, "progress": False, **options}
    model.fit(given, functional.ce_rate_loss(), sc.Adam(lr=1e-2), epochs, metric="accuracy_rate", **options)
    return model


def figures(model):
    """Everything of a trained model as numbers, by name."""
    state = model.state()
    flat = {f"{part}/{name}": x for part in ("params", "buffers", "optimizer") for name, x in state[part].items()}
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_s")} for row in model.history]
    return {**flat, "history": np.array([list(row.values()) for row in rows])}


def start(world, arguments, folder, **environment):
    """The processes of a world, which meet through a file."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(world), "PYTHONPATH": str(HERE.parents[1])}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    return [
        subprocess.Popen([sys.executable, *arguments], env={**env, **environment, "RANK": str(rank)}, **options)
        for rank in range(world)
    ]


def ended(processes, timeout=120):
    """Exit code, standard output and standard error of each."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said)]


def joined(folder):
    """Make the process group of this rank."""
    import torch.distributed as dist

    where = f"file://{Path(folder).resolve()}/store"
    dist.init_process_group("gloo", where, rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]))
    return dist.get_rank()


def main(folder):
    """Train each network, and write what came of it."""
    rank = joined(folder)
    for kind in NETWORKS:
        t = time.time()
        found = figures(trained(kind, drop_last=int(os.environ["WORLD_SIZE"]) > 2))
        np.savez(Path(folder) / f"{kind}-{rank}.npz", **found)
        print(kind, time.time() - t)


if __name__ == "__main__":
    main(sys.argv[1])
