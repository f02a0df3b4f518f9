"""What mixes on the pretended CuPy though it must not, and a training there and on NumPy; writes it as JSON."""

from __future__ import annotations

import contextlib
import json
import sys

from tests.engines import cupy_rig  # noqa: F401  # CuPy, before anything looks for it

# ruff: isort: split
import numpy as np

import spikecore as sc
from tests.kernels.cuda_rig import GXX

RNG = np.random.default_rng(0)
X, Y = RNG.random((24, 6), dtype=np.float32), RNG.integers(0, 3, 24)


def mixed():
    """What raises no TypeError, by name."""
    xp = sc.get_engine("cupy").library
    there, here = xp.ones((2, 2), dtype=xp.float32), np.ones((2, 2), np.float32)
    tries = {
        "sum": lambda: there + here,
        "sum, the host's first": lambda: here + there,
        "sum in place": lambda: there.__iadd__(here),
        "comparison": lambda: there == here,
        "product": lambda: there @ here,
        "function": lambda: xp.maximum(there, here),
        "NumPy's function": lambda: np.concatenate([here, there]),
        "ufunc": lambda: np.add(here, there),
        "conversion": lambda: np.asarray(there),
        "assignment": lambda: there.__setitem__(0, here[0]),
        "index": lambda: there[np.array([0])],
    }
    found = {}
    for name, function in tries.items():
        with contextlib.suppress(TypeError):
            found[name] = repr(function())
    return found


def trained(engine):
    net = sc.Sequential(
        *(sc.Linear(6, 8, bias=False), sc.BatchNorm1d(8), sc.Leaky(beta=sc.learn(0.9), threshold=0.3), sc.Dropout(0.2)),
        *(
            sc.Linear(8, 8),
            sc.RLeaky(beta=0.8, linear_features=8, threshold=0.2),
            sc.Linear(8, 3),
            sc.Leaky(threshold=0.2),
        ),
    )
    model = sc.Model(net, engine=engine, seed=1)
    model.fit(X, Y, epochs=2, num_steps=6, batch_size=8, validation=(X, Y), progress=False)
    row = model.train_step(X[:8], Y[:8], num_steps=6)
    rows = [*model.history, row, model.evaluate(X, Y, num_steps=6), {"spikes": model(X, num_steps=6).spikes.sum()}]
    ends = {name: float(np.abs(value).sum()) for name, value in model.state()["params"].items()}
    kept = [{k: float(v) for k, v in row.items() if k not in ("seconds", "samples_per_s")} for row in (*rows, ends)]
    return [{k: round(v, 4) for k, v in row.items()} for row in kept]


if __name__ == "__main__":
    engines = {"numpy": sc.get_engine("numpy", fused=False), "cupy, loops": sc.get_engine("cupy", fused=False)}
    if GXX is not None:
        engines["cupy, kernels"] = sc.get_engine("cupy", fused=True)
    found = {name: trained(engine) for name, engine in engines.items()}
    json.dump({"mixed": mixed(), "trained": found}, sys.stdout)
