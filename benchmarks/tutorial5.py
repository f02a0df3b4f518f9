"""The training step of snnTorch's tutorial 5 (784-1000-10, T=25, batch 128, static input), against peers.

    python benchmarks/tutorial5.py [--rounds 15]

Medians of interleaved steps in one process. All sides start from equal weights; the loss of the first step is printed
as parity. Ours runs the first Linear once, since its input is constant in time; the peers' step loops do as their
tutorials do.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings

import numpy as np
import torch

import spikecore as sc

warnings.simplefilter("ignore")
STEPS, BATCH, BETA = 25, 128, 0.95


def network():
    return sc.Sequential(sc.Linear(784, 1000), sc.Leaky(beta=BETA), sc.Linear(1000, 10), sc.Leaky(beta=BETA))


def loss_of(out, targets):
    """Cross-entropy of the membrane, summed over the steps, as in the tutorial."""
    return sum(torch.nn.functional.cross_entropy(mem, targets) for mem in out.unbind(0))


class SumOverTime(sc.functional.Loss):
    """The tutorial's loss in the library's words."""

    reads = "membrane"

    def per_sample(self, engine, values, code, steps):
        return -engine.xp.sum(engine.xp.sum(code * engine.xp.log_softmax(values, axis=-1), axis=-1), axis=0)


def ours(engine):
    model = sc.Model(network(), engine=engine, seed=0)
    executor = model.engine.compile(network(), *_initial(model), SumOverTime(), sc.Adam(lr=5e-4))
    return lambda x, y: executor.step(x[None], y, steps=STEPS)[0]


def _initial(model):
    from spikecore.api.layer import Key

    init = model.network.init(Key((model.seed, "init")), (784,))
    return init.params, init.buffers


def snntorch():
    import snntorch as snn

    linears, weights = [torch.nn.Linear(784, 1000), torch.nn.Linear(1000, 10)], sc.Model(network(), "numpy").params()
    for linear, name in zip(linears, ("0", "2")):
        linear.weight.data = torch.from_numpy(weights[f"{name}.weight"])
        linear.bias.data = torch.from_numpy(weights[f"{name}.bias"])
    first, second = snn.Leaky(BETA), snn.Leaky(BETA)
    optimizer = torch.optim.Adam([p for linear in linears for p in linear.parameters()], lr=5e-4)

    def step(x, y):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        mem1, mem2, mems = first.reset_mem(), second.reset_mem(), []
        for _ in range(STEPS):
            spk1, mem1 = first(linears[0](x), mem1)
            _, mem2 = second(linears[1](spk1), mem2)
            mems.append(mem2)
        loss = loss_of(torch.stack(mems), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH, 784), dtype=np.float32), rng.integers(0, 10, BATCH)
    sides = {
        "torch, fused": ours(sc.get_engine("torch")),
        "torch, loop": ours(sc.get_engine("torch", fused=False)),
        "numpy, fused": ours(sc.get_engine("numpy")),
        "numpy, loop": ours(sc.get_engine("numpy", fused=False)),
        "snnTorch": snntorch(),
    }
    times, losses = {name: [] for name in sides}, {}
    for _ in range(options.rounds + 2):
        for name, step in sides.items():
            begun = time.perf_counter()
            loss = step(x, y)
            times[name].append(1e3 * (time.perf_counter() - begun))
            losses.setdefault(name, loss)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.rounds} rounds"
    )
    best = statistics.median(times["torch, fused"][2:])
    for name, values in times.items():
        ms = statistics.median(values[2:])
        spread = f"[{min(values[2:]):.1f}-{max(values[2:]):.1f}]"
        print(f"{name:14s} {ms:8.1f} ms  {spread:16s} {ms / best:5.1f} x   loss of the first step {losses[name]:.6f}")


if __name__ == "__main__":
    main()
