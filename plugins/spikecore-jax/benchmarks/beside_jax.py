"""The JAX engine beside JAX by hand and beside Spyx, on workloads of `spikecore bench`.

Run it from the root of spikecore's repository: `python plugins/spikecore-jax/benchmarks/beside_jax.py --rounds 30`.
Sides run in turn in one process. A figure is the median in milliseconds, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # spikecore's benchmarks are no package that is installed

import jax
import numpy as np

import spikecore as sc
from benchmarks import clock
from benchmarks.peers import spyx
from benchmarks.plan import Run, Settings
from benchmarks.workloads import open_neuromorphic, tutorial5
from spikecore.api.core.layer import Key, Pass

Sides = dict[str, Run]


def training_step(settings: Settings) -> dict[str, Sides]:
    """Tutorial 5: forward, loss, backward and Adam."""
    task, leaky = tutorial5.problem(settings), sc.Leaky(beta=tutorial5.BETA)
    learned = spyx.SpyxLIF(beta=sc.learn(tutorial5.DYADIC)), sc.LI(beta=sc.learn(tutorial5.DYADIC))
    return {
        "tutorial 5, Leaky": {
            "JAX by hand, hoisted": tutorial5.with_jax(task, True),
            "JAX by hand": tutorial5.with_jax(task, False),
            "JAX engine": tutorial5.ours(task, "jax", leaky, leaky)(),
        },
        "tutorial 5, Spyx's LIF; LI": {
            "Spyx, hoisted": tutorial5.with_spyx(task, True),
            "Spyx": tutorial5.with_spyx(task, False),
            "JAX engine": tutorial5.ours(task, "jax", *learned)(),
        },
    }


def one_layer(settings: Settings, neurons: int) -> dict[str, Sides]:
    """Open Neuromorphic: a Linear and a layer of Spyx's LIF over 500 steps, with the gradient by the weight."""
    task = open_neuromorphic.Task(settings, settings.size(neurons, 16))
    engine = sc.get_engine("jax")
    net = sc.Sequential(sc.Linear(task.n, task.n, bias=False), spyx.SpyxLIF(beta=sc.learn(open_neuromorphic.DYADIC)))
    init = net.init(Key((0,)), (task.n,))
    params = jax.tree.map(engine.asarray, init.params)
    params = params.replace(**{"0": params["0"].replace(weight=engine.asarray(task.weight))})
    x, upstream = engine.asarray(task.x), engine.asarray(task.upstream)

    @jax.jit
    def both(params: sc.base.Params, x: jax.Array, upstream: jax.Array) -> tuple[jax.Array, sc.base.Params]:
        spikes, pull = jax.vjp(lambda p: net.run(Pass(engine), p, init.buffers, None, x).outputs, params)
        return spikes, pull(upstream)[0]

    def ours() -> object:
        with engine.isolated():
            spikes, grads = jax.block_until_ready(both(params, x, upstream))
        return lambda: {"spikes": np.asarray(spikes), "weight": np.asarray(grads["0"].weight)}

    return {f"Spyx's LIF, n={task.n}, forward and backward": {"Spyx": task.spyx(True), "JAX engine": ours}}


def main() -> None:
    """Measure all, and print a table for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--quick", action="store_true", help="tiny shapes: the times mean nothing")
    given = options.parse_args()
    settings = Settings(quick=given.quick)
    print(f"jax {jax.__version__}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {given.rounds} rounds")
    for title, sides in {**training_step(settings), **one_layer(settings, 512)}.items():
        evidence = {name: run()() for name, run in sides.items()}
        figures = clock.interleaved(sides, given.rounds, 3, clock.wall(lambda: None), lambda name: None)
        ours = statistics.median(figures["JAX engine"])
        print(f"\n{title}")
        for name, times in figures.items():
            middle = statistics.median(times)
            print(f"  {name:22}{middle:8.1f} ({min(times):.1f}-{max(times):.1f})  engine / side {ours / middle:.2f}")
        mine = evidence.pop("JAX engine")
        for name, other in evidence.items():
            worst = max(
                float(abs(mine[key] - other[key]).max() / (abs(other[key]).max() or 1.0))
                for key in mine
                if key in other
            )
            print(f"  largest difference from {name}: {worst:.1e}")


if __name__ == "__main__":
    main()
