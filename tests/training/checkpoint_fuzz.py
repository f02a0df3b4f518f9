"""Damage to what a checkpoint says, with a digest that fits: run as a process with little memory, reports as JSON.

python checkpoint_fuzz.py ENGINE FIRST COUNT
"""

from __future__ import annotations

import copy
import json
import random
import re
import resource
import sys
import tempfile
import traceback
import tracemalloc
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import save as to_bytes

import spikecore as sc
from spikecore.api.training import checkpoint

MEMORY = 2 << 30
SLACK = 1 << 20  # bytes of Python's own objects, which take more than their text: layers, lists of numbers


def _deep(levels, make=lambda x: [x]):
    data = 0.5
    for _ in range(levels):
        data = make(data)
    return data


NUMBERS = (
    0, 1, -1, 2, 7, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 0.0, -0.0, 0.5, 1.5, -1.5, 1e-320, 1e30, 1e300,
    float("nan"), float("inf"), -float("inf"), None, True, False,
)  # fmt: skip
TEXTS = ("", "x", "nan", "0.5", "__main__", "../../x", "é\x00", "\ud800", "x" * 10_000, "@300", "@3000", "@100000")
LISTS = ([], [0], [1, 2], [None], ["a"], [[]], [[1, 2], [3]], [0.5] * 1000, _deep(50))
LAYERS = (
    {"class": "Leaky"}, {"class": "Linear"}, {"class": 5}, {"class": ["Leaky"]}, {"class": None},
    {"class": "Sequential"}, {"class": "Sequential", "layers": 5}, {"class": "atan"}, {"class": "Adam"},
    {"class": "os.system"}, _deep(20, lambda x: {"class": "Residual", "body": x}),
)  # fmt: skip
PARAMETERS = (
    {}, {"x": 1}, {"array": "x"}, {"array": [[1], [2, 3]]}, {"array": []}, {"array": [0.5, 0.5, 0.5]}, {"array": 1e400},
    {"array": {"array": 1}}, {"learn": 0.5, "per": None, "dt": None}, {"learn": 0.5, "per": "neuron"}, {"learn": None},
    {"learn": "x", "per": None}, {"learn": {"learn": 1, "per": None}, "per": None}, {"learn": 2.0, "per": 5},
    {"learn": 2.0, "per": None, "dt": 1.0}, {"learn": 0.5, "per": None, "dt": "x"}, {"learn": [1], "per": "channel"},
    {"learn": 0.5, "per": None, "dt": 0.0}, {"number": "nan"}, {"number": "inf"}, {"number": "x"}, {"number": 5},
)  # fmt: skip
NASTY = (*NUMBERS, *TEXTS, *LISTS, *LAYERS, *PARAMETERS)
DEEP = re.compile(r'"@(\d+)"')  # so many levels, deeper than this process itself could write
DTYPES = "float16 float32 float64 int8 uint8 int32 int64 bool".split()


def models(engine):
    """Small trained models of every kind, each with one sample's batch."""
    nets = [
        (sc.Sequential(sc.Linear(3, 4), sc.BatchNorm1d(4), sc.Leaky(beta=sc.learn(0.5, per="neuron")), sc.Linear(4, 2),
                       sc.Leaky(threshold=np.array([0.5, 0.7]))), (3,), sc.Adam()),
        (sc.Sequential(sc.Conv2d(1, 2, 3, padding=1), sc.Leaky(reset_delay=False), sc.MaxPool2d(2), sc.Flatten(),
                       sc.Linear(8, 2), sc.LI(beta=sc.learn_tau(3.0))), (1, 4, 4), sc.SGD(momentum=0.9)),
        (sc.Sequential(sc.RLeaky(linear_features=3), sc.Recurrent(sc.Synaptic(), sc.Linear(3, 3)), sc.Dropout(0.2)),
         (3,), sc.RMSprop(momentum=0.1)),
        (sc.Sequential(sc.Residual(sc.Sequential(sc.Linear(3, 3), sc.ALIF())), sc.Concat(sc.IF(), sc.Alpha(alpha=0.9,
                       beta=0.8)), sc.LayerNorm(6)), (3,), sc.AdamW()),
        (sc.Sequential(sc.SLSTM(input_size=3, hidden_size=2, threshold=0.1), sc.Refractory(sc.Lapicque(beta=0.5), 2),
                       sc.GradedSpikes(2)), (3,), sc.SGD()),
        (sc.Sequential(sc.BatchNormTT1d(3, time_steps=3), sc.StateLeaky(beta=sc.learn(0.5, per="neuron")),
                       sc.Leaky(surrogate=sc.surrogate.fast_sigmoid(slope=5.0), state_quant=None)), (3,), None),
    ]  # fmt: skip
    for number, (net, shape, optimizer) in enumerate(nets):
        model = sc.Model(net, engine, number, input_shape=shape)
        if optimizer is not None:
            fit(model, 2, optimizer=optimizer)
        yield model


def loss(out, targets):
    xp = sc.base.engine_of(out.spikes).xp
    return xp.mean(out.spikes * out.spikes)


def fit(model, epochs, **options):
    x = np.linspace(0, 2, 4 * int(np.prod(model.input_shape))).reshape(4, *model.input_shape).astype("float32")
    return model.fit([(x, np.zeros(4, "int64"))], loss=loss, epochs=epochs, num_steps=3, progress=False, **options)


# ---- mutations -----------------------------------------------------------------------------------------------------


def places(data, path=()):
    """Every place of a tree of JSON data."""
    yield path
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield from places(value, (*path, key))


def at(data, path):
    for key in path:
        data = data[key]
    return data


def mutate_about(rng, about):
    """The JSON with one change somewhere; where it is the whole that changes, any value at all."""
    *above, last = path = rng.choice([path for path in places(about) if path] or [("seed",)])
    around, old = at(about, above), at(about, path)
    kind = rng.randrange(8)
    if kind == 0 and isinstance(around, dict):
        del around[last]
    elif kind == 1 and isinstance(around, dict):
        around[rng.choice(["x", "class", "learn", "array", "layers", "per", last * 2])] = around.pop(last)
    elif kind == 2:
        around[last] = copy.deepcopy(at(about, rng.choice(list(places(about)))))
    elif kind == 3 and isinstance(old, list):
        around[last] = rng.choice([old * 2, old[::-1], old[:-1], [*old, *old, 1], tuple(old)[1:]])
    elif kind == 4 and isinstance(old, (int, float)):
        around[last] = rng.choice([-old, old + 1, old * 1000, old / 3, str(old), [old], bool(old)])
    elif kind == 5 and isinstance(old, str):
        around[last] = rng.choice([old.upper(), old[1:], old + old, rng.choice(sorted(checkpoint.known_classes()))])
    elif kind == 6 and isinstance(old, dict) and "class" in old:
        old["class"] = rng.choice(sorted(checkpoint.known_classes()))
    else:
        around[last] = copy.deepcopy(rng.choice(NASTY))


def mutate_arrays(rng, arrays):
    """One array taken away, added, renamed, exchanged, or of another shape, dtype or content."""
    name = rng.choice(sorted(arrays))
    x, kind = arrays[name], rng.randrange(8)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[
            rng.choice([f"{name}_", f"params/{name}", "x", "", "params/", name.upper(), "é" * 50, "optimizer/0.x.y"])
        ] = x
    elif kind == 2:
        other = rng.choice(sorted(arrays))
        arrays[name], arrays[other] = arrays[other], x
    elif kind == 3:
        shapes = [(0,), (), (1,), x.shape[::-1], (*x.shape, 1), (1, *x.shape), (x.size,), (2, *x.shape), (7,), (0, 5)]
        arrays[name] = np.resize(x if x.size else np.zeros(1, x.dtype), rng.choice(shapes)).astype(x.dtype)
    elif kind == 4:
        with np.errstate(all="ignore"):
            arrays[name] = x.astype(rng.choice(DTYPES))
    else:
        x = arrays[name] = x.copy()
        values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, -1.0]
        places = slice(None) if kind == 5 else rng.randrange(x.size) if x.size else slice(0)
        if x.dtype.kind == "f":
            x.reshape(-1)[places] = rng.choice(values)


def mutated(rng, about, arrays):
    """Bytes of a file with one to three changes, and a digest of the rest."""
    about, arrays = copy.deepcopy(about), dict(arrays)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if arrays and rng.random() < 0.4:
            mutate_arrays(rng, arrays)
        else:
            mutate_about(rng, about)
    text = DEEP.sub(lambda found: "[" * int(found[1]) + "]" * int(found[1]), json.dumps(about))
    arrays = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    metadata = {"spikecore": text, "digest": checkpoint.digest_of(text, arrays)}
    if rng.random() < 0.02:
        metadata[rng.choice(sorted(metadata))] = rng.choice(
            ["", "{}", "[]", "5", "null", "\x00", "9" * 5000, "[" * 9999]
        )
    return to_bytes(arrays, metadata)


# ---- what comes of it ----------------------------------------------------------------------------------------------


class Report:
    """Counts outcomes, and keeps the first few of what must not happen."""

    def __init__(self):
        self.counts, self.examples, self.largest = Counter(), [], 0.0

    def bad(self, what, case, about):
        self.counts[what] += 1
        if len(self.examples) < 20:
            self.examples.append([what, case, about])

    def as_json(self):
        return json.dumps({"counts": self.counts, "examples": self.examples, "largest": self.largest})


def judge(report, path, data, engine, case):
    path.write_bytes(data)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        model = sc.load(path, engine=engine)
    except sc.errors.CheckpointError as error:
        report.counts["refused"] += 1
        if not str(error).startswith(f"{path}: "):
            report.bad("nameless", case, str(error))
        model = None
    except Exception:
        report.bad("raw", case, traceback.format_exc(limit=-3))
        model = None
    peak = tracemalloc.get_traced_memory()[1] - before
    report.largest = max(report.largest, peak / (3 * len(data) + SLACK))
    if peak > 3 * len(data) + SLACK:
        report.bad("memory", case, f"{peak} bytes for a file of {len(data)}")
    if model is not None:
        report.counts["accepted"] += 1
        go_on(report, model, path, case)


def go_on(report, model, path, case):
    """What is accepted must be finite, train on and be saved again."""
    state = model.state()
    if not all(np.isfinite(x).all() for part in checkpoint.ARRAYS for x in state[part].values()):
        report.bad("not finite", case, "")
    try:
        if np.prod(model.input_shape) < 10_000:
            fit(model, model.epochs_done + 1, resume=model.trainer.optimizer is not None)
        model.save(path)
    except sc.errors.DivergedError:
        report.counts["diverged"] += 1
    except Exception:
        report.bad("fails later", case, traceback.format_exc(limit=-3))


def main(name, first, count):
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")  # NumPy's, of overflow where numbers are huge
    engine, report = sc.get_engine(name, fused=False), Report()
    with tempfile.TemporaryDirectory() as folder:
        path, good = Path(folder) / "model", []
        for model in models(engine):
            model.save(path)
            good.append(checkpoint.content_of(path))
        tracemalloc.start()
        for case in range(first, first + count):
            rng = random.Random(case)
            judge(report, path, mutated(rng, *good[case % len(good)]), engine, case)
    print(report.as_json())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
