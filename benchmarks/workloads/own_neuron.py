"""A neuron that a user wrote."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, Iterable, Tuple

from benchmarks import data
from benchmarks.plan import Bar, Group, Settings, Side, Workload
from benchmarks.workloads.neurons import own, run_of
from spikecore.api.core.layer import State
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params, cast

TEXT = """\
A neuron that the library does not have. It has two states: a synaptic current drives the membrane and raises the
threshold. T=100, batch 64, 1024 neurons, forward and backward. "fused" is the kernel that is made from its `step`,
"loop" is the `step` itself under autograd, and "eager torch" is the same neuron written in torch, with an autograd
function for the spike."""

THRESHOLD, ALPHA, BETA, KAPPA = 1.0, 0.8, 0.9, 0.5


@dataclass(frozen=True)
class Guarded(Neuron):
    """A leaky neuron whose threshold follows its synaptic current.

        I[t] = alpha I[t-1] + X[t],  level[t] = theta + kappa I[t]
        R[t] = Theta(U[t-1] - level[t])
        U[t] = beta (1 - R[t]) U[t-1] + I[t]
        S[t] = Theta(U[t] - level[t])

    R is not differentiated.
    """

    alpha: Param = ALPHA
    beta: Param = BETA
    kappa: Param = KAPPA

    state: ClassVar[Tuple[str, ...]] = ("syn", "mem")
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"alpha": DECAY, "beta": DECAY}

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        syn = params.alpha * state.syn + x
        level = params.threshold + params.kappa * syn
        reset = cast(engine, state.mem > level)
        mem = params.beta * ((1.0 - reset) * state.mem) + syn
        return self.graded(params, self.spike(engine, params, mem - level)), State(syn=syn, mem=mem)


Guarded()  # looks its annotations up while they belong to this module
Guarded.__module__ = "__main__"  # as in a user's script, where a step may change and is traced again in every run


def eager() -> Callable[[Any], Any]:
    """The same neuron, written by hand in torch."""
    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, u: Any) -> Any:
            ctx.save_for_backward(u)
            return (u > 0).to(u.dtype)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (u,) = ctx.saved_tensors
            return gradient / (1.0 + (math.pi * u) ** 2)

    def call(x: Any) -> Any:
        syn = mem = torch.zeros_like(x[0].detach())
        spikes = []
        for current in x.unbind(0):
            syn = ALPHA * syn + current
            level = THRESHOLD + KAPPA * syn
            reset = (mem > level).to(mem.dtype)
            mem = BETA * ((1.0 - reset) * mem) + syn
            spikes.append(Spike.apply(mem - level))
        return torch.stack(spikes)

    return call


def groups(settings: Settings) -> Iterable[Group]:
    """One group."""
    shape, draw = (settings.size(100, 6), settings.samples(64, 4), settings.size(1024, 32)), data.rng()
    x, upstream = (draw.random(shape, dtype="float32") for _ in range(2))
    x *= 0.5
    device = settings.device
    sides = (
        Side("fused", own(Guarded(), x, upstream, device, True if device == "cpu" else "auto")),
        Side("eager torch", lambda: run_of(eager(), x, upstream, device)),
        Side("loop", own(Guarded(), x, upstream, device, False)),
    )
    yield Group(
        "user's neuron, T={} B={} N={}".format(*shape),
        sides,
        own(Guarded(), x, upstream, device, False),
        (Bar("fused", "eager torch", 1 / 6),),
    )


WORKLOAD = Workload("own-neuron", "A user's own neuron", TEXT, groups)
