"""Neurons alone, forward and backward, against peers: medians of interleaved runs in one process, parity beside each.

    python benchmarks/neurons.py [--rounds 15] [--shape a|b]

Shape a: T=100, batch 64, 1024 neurons. Shape b: T=400, batch 32, 256 neurons. All sides get the same float32 input and
the same contiguous upstream gradient; peers are called the fast way (unbind instead of x[t], multi-step mode). With
SpikingJelly our zero reset is compared with its hard, detached reset, which is identical; our default it has not.
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
from spikecore.api.layer import Pass
from spikecore.api.tree import Params, Tree

warnings.simplefilter("ignore")
SHAPES = {"a": (100, 64, 1024), "b": (400, 32, 256)}
BETA, ALPHA = 0.9, 0.8


def ours(layer, fused):
    engine = sc.get_engine("torch", fused=fused)

    def run(x):
        return layer.run(Pass(engine), Params(), Tree(), None, x).outputs

    return run


def snntorch(make, states):
    def run(x):
        neuron, state, spikes = make(), [None] * states, []
        for step in x.unbind(0):
            out = neuron(step, *state)
            spikes.append(out[0])
            state = list(out[1:])
        return torch.stack(spikes)

    return run


def spikingjelly():
    from spikingjelly.activation_based import neuron, surrogate

    def run(x):
        lif = neuron.LIFNode(
            tau=1.0 / (1.0 - BETA), decay_input=False, v_reset=0.0, detach_reset=True,
            surrogate_function=surrogate.ATan(2.0), step_mode="m",
        )  # fmt: skip
        return lif(x)

    return run


def rows():
    import snntorch as snn

    zero = sc.Leaky(beta=BETA, reset_mechanism="zero")
    synaptic, alpha = sc.Synaptic(alpha=ALPHA, beta=BETA), sc.Alpha(alpha=BETA, beta=ALPHA)
    yield "Leaky", sc.Leaky(beta=BETA), {"snnTorch": snntorch(lambda: snn.Leaky(BETA), 1)}
    yield "Leaky, zero", zero, {"SpikingJelly m": spikingjelly()}
    yield "Synaptic", synaptic, {"snnTorch": snntorch(lambda: snn.Synaptic(ALPHA, BETA), 2)}
    yield "Alpha", alpha, {"snnTorch": snntorch(lambda: snn.Alpha(BETA, ALPHA), 3)}


def timed(run, x, upstream):
    x = x.clone().requires_grad_()
    begun = time.perf_counter()
    spikes = run(x)
    spikes.backward(upstream)
    return 1e3 * (time.perf_counter() - begun), spikes.detach(), x.grad


def compare(name, layer, peers, shape, rounds):
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.rand(shape, generator=generator) for _ in range(2))
    x *= 0.5
    runs = {"fused": ours(layer, True), "loop": ours(layer, False), **peers}
    _, spikes, grad = timed(runs["loop"], x, upstream)
    times = {key: [] for key in (*runs, "copy")}
    parity = {}
    for _ in range(rounds + 2):
        for key, run in runs.items():
            ms, found, found_grad = timed(run, x, upstream)
            times[key].append(ms)
            error = float((found_grad - grad).abs().max() / grad.abs().max())
            parity[key] = f"{int((found != spikes).sum())} spikes differ, gradient error {error:.0e}"
        target = torch.from_numpy(np.empty(shape, "float32"))
        begun = time.perf_counter()
        target.copy_(x)
        times["copy"].append(1e3 * (time.perf_counter() - begun))
    medians = {key: statistics.median(values[2:]) for key, values in times.items()}
    for key, ms in medians.items():
        ratio = f"{ms / medians['fused']:6.1f} x" if key != "fused" else ""
        low, high = min(times[key][2:]), max(times[key][2:])
        print(f"{name:14s} {key:16s} {ms:8.1f} ms  [{low:.1f}-{high:.1f}] {ratio:9s} {parity.get(key, '')}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shape", choices=sorted(SHAPES), action="append")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for key in options.shape or sorted(SHAPES):
        print(f"shape {key}: T, batch, neurons = {SHAPES[key]}; forward and backward, float32")
        for name, layer, peers in rows():
            compare(name, layer, peers, SHAPES[key], options.rounds)


if __name__ == "__main__":
    main()
