"""One whole number of a checkpoint becomes 10^9, for every class and field: run as a process with little memory.

python checkpoint_sizes.py ENGINE
"""

from __future__ import annotations

import copy
import inspect
import json
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from safetensors.numpy import save as to_bytes

import spikecore as sc
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.layers.merges import Merge
from spikecore.api.training import checkpoint
from spikecore.api.training.description import classes_in, known_classes
from spikecore.conformance import cases
from tests.training import checkpoint_fuzz as fuzz

HUGE = 10**9
ROOM = 1 << 30  # bytes that the process may take beyond what it has
MOST = 16 << 20  # bytes that a file may take, which has 20 kilobytes at most
SECONDS = 2.0


def networks():
    """Networks that have every class between them, each with the shape of a sample."""
    for case in (*cases.LEAKY[:1], *cases.FAMILY, *cases.VARIANTS, *cases.LAYERS, *cases.DELAYS, *cases.NETWORKS):
        yield case.layer, case.shape
    for _, surrogate in cases.SURROGATES:
        yield sc.Leaky(surrogate=surrogate), (3,)
    per = {"per": "neuron"}
    yield sc.GLIF(**{name: sc.learn(0.5, **per) for name in "threshold alpha beta gamma conduct".split()}), (3,)
    yield sc.PLIF(beta=sc.learn(0.5, **per)), (3,)
    yield sc.Leaky(beta=sc.learn_tau(sc.init.gamma(20.0)), threshold=sc.learn(sc.init.normal(1.0))), (3,)
    yield sc.Leaky(state_quant=sc.functional.quant.state_quant(4), surrogate=sc.surrogate.SSO()), (3,)
    yield sc.CountMaxPool1d(2), (2, 4)
    for name, kind in known_classes().items():
        if issubclass(kind, Merge) and not inspect.isabstract(kind):
            merge = kind(**NEEDED.get(name, {}))
            sources = (("input",), ("input",), ("one", "two", *(("input",) if name.endswith("Scores") else ())))
            yield sc.Graph(("one", "two", "both"), (sc.Identity(), sc.Identity(), merge), sources, ("both",)), (2, 3)
        if issubclass(kind, Initialiser):
            yield sc.Linear(3, 3, weight_init=kind(**NEEDED.get(name, {}))), (3,)


NEEDED = {
    **dict.fromkeys(("SpikingScores", "SoftmaxScores"), {"num_heads": 1}),
    "uniform": {"low": 0.0, "high": 1.0},
    "gamma": {"mean": 1.0},
    "fluctuation": {"rate": 0.1},
}
OPTIMIZERS = (
    *(optimizer for _, optimizer in cases.OPTIMIZERS),
    sc.Adam(groups=(sc.Group("*", lr=0.5), sc.Group("0.*", weight_decay=0.5))),
)


def changes(about):
    """What the file says, with one of its whole numbers made huge, or all that are equal, or a None."""
    at = [path for path in fuzz.places(about) if path and path[0] in ("network", "optimizer", "input_shape")]
    numbers = [path for path in at if type(fuzz.at(about, path)) is int]
    for value in sorted({fuzz.at(about, path) for path in numbers}):
        same = [path for path in numbers if fuzz.at(about, path) == value]
        yield from [*([path] for path in same), *([same] if len(same) > 1 else ())]
    for path in at:
        if fuzz.at(about, path) is None:
            yield [path]


def main(engine):
    warnings.simplefilter("ignore")
    report, seen = fuzz.Report(), set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        for _ in range(2):  # what is imported and kept at the first one
            model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky()), engine, input_shape=(3,))
            fuzz.fit(model, 1, optimizer=sc.Adam())
            model.save(path)
            sc.load(path, engine=engine)
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))
        for number, (network, shape) in enumerate(networks()):
            model = sc.Model(network, "numpy", input_shape=shape)
            model.trainer.optimizer = None
            model.save(path)
            about, arrays = checkpoint.content_of(path)
            about["optimizer"] = checkpoint.describe(OPTIMIZERS[number % len(OPTIMIZERS)])
            seen |= set(classes_in([about["network"], about["optimizer"]]))
            for places in changes(about):
                changed = copy.deepcopy(about)
                for *above, last in places:
                    fuzz.at(changed, above)[last] = HUGE
                text = json.dumps(changed)
                path.write_bytes(to_bytes(arrays, {"spikecore": text, "digest": checkpoint.digest_of(text, arrays)}))
                judge(report, path, engine, f"{network}: {places}")
    print(json.dumps({**json.loads(report.as_json()), "unseen": sorted(set(known_classes()) - seen)}))


def judge(report, path, engine, case):
    """Load a file; neither memory nor time of the size that it names may be taken."""
    before, begin = largest(), time.perf_counter()
    try:
        sc.load(path, engine=engine)
        report.counts["accepted"] += 1
    except sc.errors.CheckpointError as error:
        report.counts["refused"] += 1
        if isinstance(error.__cause__, MemoryError):
            report.bad("memory", case, f"{type(error.__cause__).__name__}: {error}")
    except BaseException:
        report.bad("raw", case, traceback.format_exc(limit=-3))
    if largest() - before > MOST:
        report.bad("memory", case, f"{largest() - before} bytes")
    if time.perf_counter() - begin > SECONDS:
        report.bad("slow", case, f"{time.perf_counter() - begin:.1f} s")


def largest():
    """The most memory that the process has had at any time, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1])
