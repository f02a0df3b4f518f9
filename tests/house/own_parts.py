"""Layers, neurons and losses of newcomers, each with one mistake."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import spikecore as sc
from spikecore.base import EMPTY, Init, Neuron, Param, Params, State, Stateless, cast


@dataclass(frozen=True)
class Own(Neuron):
    """A leaky neuron; what its mistake is given changes the membrane."""

    beta: Param = 0.9

    def step(self, engine, params, state, x):
        mem = self.mistake(engine, params, params.beta * state.mem + x)
        return self.fires(engine, params, mem), State(mem=mem)

    def mistake(self, engine, params, mem):
        return mem


def neuron(mistake, beta=0.9):
    """A neuron with a mistake in its step, ``mistake(self, engine, params, mem)``."""
    return dataclass(frozen=True)(type("Own", (Own,), {"mistake": mistake, "__module__": __name__}))(beta=beta)


class Free(Stateless):
    def init(self, key, shape):
        return Init(Params(), EMPTY, shape)

    def apply(self, engine, params, buffers, x, *, train, key):
        return x, buffers


def layer(**methods):
    """A layer of the user's own, with these methods in place of right ones."""
    return dataclass(frozen=True)(type("Own", (Free,), {**methods, "__module__": __name__}))()


def begins(init):
    """A layer whose ``init`` returns ``init(shape)``."""
    return layer(init=lambda self, key, shape: init(shape))


# ---- mistakes in a step ---------------------------------------------------------------------------------------------


def with_if(self, engine, params, mem):
    if mem > params.threshold:
        mem = 0.0 * mem
    return mem


def with_and(self, engine, params, mem):
    return mem * (mem > 0.0 and mem < 1.0)


def with_numpy(self, engine, params, mem):
    return np.tanh(mem)


def with_torch(self, engine, params, mem):
    import torch

    return torch.nn.functional.relu(mem)


def with_math(self, engine, params, mem):
    return math.exp(mem)


def with_float(self, engine, params, mem):
    return float(mem > 0.0)


def with_dim(self, engine, params, mem):
    return mem - engine.xp.mean(mem, dim=-1, keepdims=True)


def with_keepdim(self, engine, params, mem):
    return mem - engine.xp.mean(mem, keepdim=True)


def with_number(self, engine, params, mem):
    return mem * engine.xp.exp(params.beta)


def with_mask_first(self, engine, params, mem):
    return mem * cast(mem > 0.0, engine)


def with_mask_alone(self, engine, params, mem):
    return mem * cast(mem > 0.0)


def with_field(self, engine, params, mem):
    return self.beta * mem


def with_method(self, engine, params, mem):
    return mem.detach()


def with_engine(self, engine, params, mem):
    return engine.tanh(mem)


def with_torch_layer(self, engine, params, buffers, x, *, train, key):
    import torch

    return torch.tanh(x), buffers


def loss_with_numpy(out, targets):
    return np.exp(out.spikes).mean()


def network(own):
    return sc.Sequential(sc.Linear(5, 3), own)
