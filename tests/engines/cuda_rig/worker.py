"""Counts what training, evaluation, streams and ``snn.run`` do on the pretended device; writes it as JSON.

With it go the results of ``alike.py``.

Kernels are counted and not run: see ``networks.py``. What a step costs is the difference of a long and a short run.
"""

from __future__ import annotations

import json
import sys

from tests.engines.cuda_rig.device import logged

# ruff: isort: split
import numpy as np
import torch

import spikecore as sc
import spikecore.nn as snn
from tests.engines.cuda_rig.alike import cases
from tests.engines.cuda_rig.networks import BATCH, CLASSES, NETWORKS, STEPS, kernels_that_are_only_counted

SHORT, LONG = 2, 5  # batches
KINDS = ("launch", "wait", "upload", "download", "send", "fetch")


def counts(log):
    return {kind: log.count(kind) for kind in KINDS}


def difference(run):
    """What one more batch costs: the events of a long run less those of a short one, by kind."""
    found = []
    for batches in (SHORT, LONG):
        with logged() as log:
            run(batches)
        found.append(counts(log))
    short, long = found
    return {kind: (long[kind] - short[kind]) / (LONG - SHORT) for kind in KINDS}


def of_network(name):
    """The events of a step of each kind of run, by network."""
    shape, make = NETWORKS[name]
    model = sc.Model(make(), engine=sc.get_engine("torch", device="cuda"))
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH * LONG, *shape), dtype=np.float32), rng.integers(0, CLASSES, BATCH * LONG)
    there = torch.as_tensor(x).cuda()
    options = {"num_steps": STEPS, "batch_size": BATCH, "progress": False}
    model.fit(x, y, epochs=1, **options)  # weights and constants are on the device
    stream, one = model.stream(BATCH), there[:BATCH]
    stream.step(one)

    def streamed(steps):
        for _ in range(steps):
            stream.step(one)

    return {
        "fit": difference(lambda n: model.fit(x[: n * BATCH], y[: n * BATCH], epochs=1, **options)),
        "fit there": difference(lambda n: model.fit(there[: n * BATCH], y[: n * BATCH], epochs=1, **options)),
        "evaluate": difference(lambda n: model.evaluate(x[: n * BATCH], y[: n * BATCH], **options)),
        "model": difference(lambda n: [model(one, num_steps=STEPS) for _ in range(n)]),
        "stream": difference(streamed),
    }


def steps_of_training(name, batches=7):
    """The operators of each step of a training with their tensors' shapes, and how late each step was read."""
    shape, make = NETWORKS[name]
    model = sc.Model(make(), engine=sc.get_engine("torch", device="cuda"))
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH * batches, *shape), dtype=np.float32), rng.integers(0, CLASSES, BATCH * batches)
    with logged() as log:
        model.fit(x, y, epochs=1, num_steps=STEPS, batch_size=BATCH, progress=False)
    updates = [i for i, (_, operator, _) in enumerate(log.events) if operator.startswith("_fused_adam")]
    reads = [i for i, (kind, operator, _) in enumerate(log.events) if (kind, operator) == ("wait", "event")]
    parts = [log.shapes()[a:b] for a, b in zip(updates[1:], updates[2:])]
    before = [sum(update < read for update in updates) for read in reads]
    return {"equal": [parts[i] == parts[i + 1] for i in range(1, len(parts) - 1)], "updates before reads": before}


def of_snn_run():
    """A network of modules over time, forward and backward: after it has been checked, twice the same."""
    net = torch.nn.Sequential(torch.nn.Linear(20, 10), snn.Leaky(beta=0.9)).cuda()
    x = torch.rand(STEPS, BATCH, 20, device="cuda")
    for _ in range(3):
        with logged() as log:
            snn.run(net, x)[0].sum().backward()
    return counts(log)


def of_leaky():
    """``Leaky`` alone on ten neurons, through the engine."""
    engine = sc.get_engine("torch", device="cuda")
    neuron, x = sc.Leaky(beta=0.9), torch.rand(STEPS, BATCH, 10, device="cuda", requires_grad=True)
    params = neuron.prepare(engine, neuron.init(sc.base.Key((0,)), (10,)).params)
    state = sc.base.State(mem=torch.zeros(BATCH, 10, device="cuda"))
    for _ in range(2):
        with logged() as forward:
            spikes, *_ = engine.scan(neuron, params, state, x)
        with logged() as backward:
            spikes.backward(torch.ones_like(spikes))
    return {"forward": counts(forward), "backward": counts(backward)}


if __name__ == "__main__":
    both = {device: dict(cases(device)) for device in ("cpu", "cuda")}
    kernels_that_are_only_counted()
    found = {name: of_network(name) for name in NETWORKS}
    found["steps"] = {name: steps_of_training(name) for name in ("leaky", "maps", "residual")}
    found["snn.run"], found["leaky alone"] = of_snn_run(), of_leaky()
    json.dump({"counts": found, **both}, sys.stdout)
