"""Neurons alone."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks import bare, data
from benchmarks.differentiate import backward_run, layer_call, leaf
from benchmarks.peers import snntorch, spikingjelly
from benchmarks.plan import Bar, Group, Run, Settings, Side, Workload

TEXT = """\
Forward and backward in float32. All sides get the same input and the same contiguous gradient of the spikes. "fused" is
our kernel. "loop" is the same `step`, run step by step under autograd. snnTorch is called with `unbind`, SpikingJelly
in multi-step mode. Our zero reset is compared with SpikingJelly's hard, detached reset: the neurons are the same, but
SpikingJelly's fires at U ≥ 1. "kernel only" writes into buffers that exist already. "copy × 2.5" copies two and a half
arrays of this size into an array that exists already. This is the least possible time: forward reads one array and
writes one, backward reads two and writes one."""

SHAPES = {"a": ((100, 64, 1024), (6, 4, 32)), "b": ((400, 32, 256), (9, 3, 16))}
BETA, ALPHA, DYADIC = 0.9, 0.8, 0.9375
Pair = Tuple[Any, Optional[Side]]


def pairs(x: np.ndarray, upstream: np.ndarray, device: str) -> Dict[str, Pair]:
    """Our neurons, each with the side of a peer that has the same neuron."""

    def torch_peer(name: str, key: str, call: Callable[[], Any]) -> Side:
        return Side(name, lambda: run_of(call(), x, upstream, device), peer=key)

    def snn(kind: str, **options: Any) -> Side:
        return torch_peer(
            "snnTorch", "snntorch", lambda: snntorch.unrolled(snntorch.neuron(kind, **options).to(device))
        )

    def jelly() -> Any:
        layer = spikingjelly.lif(DYADIC)
        return lambda inputs: spikingjelly.afresh(layer, inputs)

    return {
        "Leaky": (sc.Leaky(beta=BETA), snn("Leaky", beta=BETA)),
        "Leaky, zero": (
            sc.Leaky(beta=DYADIC, reset_mechanism="zero"),
            torch_peer("SpikingJelly m", "spikingjelly", jelly),
        ),
        "Synaptic": (sc.Synaptic(alpha=ALPHA, beta=BETA), snn("Synaptic", alpha=ALPHA, beta=BETA)),
        "Alpha": (sc.Alpha(alpha=BETA, beta=ALPHA), snn("Alpha", alpha=BETA, beta=ALPHA)),
    }


def run_of(call: Callable[[Any], Any], x: np.ndarray, upstream: np.ndarray, device: str) -> Run:
    """A run of forward and backward of a function of a sequence."""
    import torch

    inputs, weights = leaf(x, device), torch.as_tensor(upstream, device=device)
    return backward_run(lambda: call(inputs), weights, {"input": inputs})


def own(layer: Any, x: np.ndarray, upstream: np.ndarray, device: str, fused: Any) -> Callable[[], Run]:
    """A run on the torch engine, with kernels (``fused=True``), without (False), or as the engine chooses ("auto")."""

    def make() -> Run:
        if fused is True:
            bare.check()
        return run_of(layer_call(layer, sc.get_engine("torch", device=device, fused=fused)), x, upstream, device)

    return make


def copies(x: np.ndarray, device: str) -> Run:
    """A run that copies x two and a half times."""
    import torch

    source = torch.as_tensor(x, device=device)
    target, half = torch.empty_like(source), source.shape[0] // 2

    def run() -> Any:
        target.copy_(source)
        target.copy_(source)
        target[:half].copy_(source[:half])
        return dict

    return run


def group(title: str, layer: Any, peer: Optional[Side], x: np.ndarray, upstream: np.ndarray, device: str) -> Group:
    """A group with the sides fused, loop, peer, kernel only and copy."""
    cpu = device == "cpu"
    sides = [
        Side("fused", own(layer, x, upstream, device, True if cpu else "auto")),
        Side("loop", own(layer, x, upstream, device, False)),
        *([peer] if peer is not None else []),
        *([Side("kernel only", lambda: bare.run(layer, x, upstream))] if cpu else []),
        Side("copy × 2.5", lambda: copies(x, device)),
    ]
    bars = (Bar("fused", "copy × 2.5", 2.6), Bar("kernel only", "copy × 2.5", 1.7)) if cpu else ()
    return Group(title, tuple(sides), own(layer, x, upstream, device, False), bars)


def groups(settings: Settings) -> Iterable[Group]:
    """A group for every neuron with each shape."""
    for full, tiny in SHAPES.values():
        shape, draw = settings.size(full, tiny), data.rng()
        if settings.batch:
            shape = (shape[0], settings.batch, shape[2])
        x, upstream = (draw.random(shape, dtype="float32") for _ in range(2))
        x *= 0.5
        for name, (layer, peer) in pairs(x, upstream, settings.device).items():
            steps, batch, neurons = shape
            yield group(f"{name}, T={steps} B={batch} N={neurons}", layer, peer, x, upstream, settings.device)


WORKLOAD = Workload("neurons", "Neurons alone", TEXT, groups)
