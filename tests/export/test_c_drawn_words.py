"""Neurons drawn at random, word by word: shapes, borders, parts and states that move, in C as in the library."""

import random
from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

import spikecore as sc
from tests.export.c_rig import assert_same, in_c, needs_compiler
from tests.export.fixed_rig import assert_equal, in_fixed_point

pytestmark = needs_compiler
SHAPE, LARGEST = (2, 3, 4), 400
INPUTS = sc.compression.FixedPoint(8, 4)


def part(x, axis, key):
    return x[(*[slice(None)] * axis, key)]


def padded(xp, x, axis, draw):
    widths = [(0, 0)] * x.ndim
    widths[axis] = draw.randint(0, 1), draw.randint(1, 2)
    return xp.pad(x, tuple(widths), float(draw.randint(-1, 1)))


def turned(xp, x, axis, draw):
    return xp.permute_dims(x, (0, *draw.sample(range(1, x.ndim), x.ndim - 1)))


def doubled(xp, x, axis, draw):
    return xp.reshape(xp.stack([x, x * 0.5], axis=1), (x.shape[0], -1, *x.shape[2:]))


#: What a neuron does with an array ``x`` along ``axis``, and with ``y``, which has the shape of x.
MOVES = [
    lambda xp, x, y, axis, draw: x * 0.5 + 1.0,
    lambda xp, x, y, axis, draw: 2 - x,
    lambda xp, x, y, axis, draw: x - y,
    lambda xp, x, y, axis, draw: xp.maximum(x, y),
    lambda xp, x, y, axis, draw: xp.abs(x),
    lambda xp, x, y, axis, draw: xp.clip(x, -1.0, 1.5),
    lambda xp, x, y, axis, draw: xp.where(x > 0.25, x, -1.0),
    lambda xp, x, y, axis, draw: xp.astype(x > y, "float32"),
    lambda xp, x, y, axis, draw: xp.astype(xp.equal(xp.equal(x, y), x > 0.25), "float32"),
    lambda xp, x, y, axis, draw: xp.flip(x, axis=axis),
    lambda xp, x, y, axis, draw: padded(xp, x, axis, draw),
    lambda xp, x, y, axis, draw: part(x, axis, slice(draw.randint(0, min(1, x.shape[axis] - 1)), None)),
    lambda xp, x, y, axis, draw: part(x, axis, slice(None, None, 2)),
    lambda xp, x, y, axis, draw: xp.concat([x, y], axis=axis),
    lambda xp, x, y, axis, draw: turned(xp, x, axis, draw),
    lambda xp, x, y, axis, draw: doubled(xp, x, axis, draw),
    lambda xp, x, y, axis, draw: xp.reshape(x, (x.shape[0], -1)),
    lambda xp, x, y, axis, draw: xp.max(x, axis=axis, keepdims=True) + x,
    lambda xp, x, y, axis, draw: x - xp.sum(x, axis=axis, keepdims=True) * 0.25,
    lambda xp, x, y, axis, draw: xp.broadcast_to(xp.sum(x, axis=axis, keepdims=True) * 0.25, x.shape),
]


@dataclass(frozen=True)
class Drawn(sc.base.Neuron):
    """A neuron of words at random.

    Args:
        seed: which.
        bits: whether states are quantised, so that the neuron can be written in integers.
    """

    seed: int = 0
    bits: bool = False
    state: ClassVar[Tuple[str, ...]] = ("a", "b", "c")

    def step(self, engine, params, state, x):
        xp, draw, arrays = engine.xp, random.Random(self.seed), [x, state.a, state.b, state.c]
        for _ in range(draw.randint(4, 14)):
            one = draw.choice(arrays[-6:])
            like = draw.choice([each for each in arrays if each.shape == one.shape and each is not one] or [one * 0.5])
            new = draw.choice(MOVES)(xp, one, like, draw.randint(1, one.ndim - 1), draw)
            if np.prod(new.shape) <= LARGEST:
                arrays.append(new)
        out, a, c = (self.shaped(xp, draw.choice(arrays[-6:])) for _ in range(3))
        return out, sc.base.State(
            a=self.bounded(xp, a), b=draw.choice([state.a, state.b, state.c]), c=self.bounded(xp, c)
        )

    def shaped(self, xp, x):
        """Of any shape: as many of its numbers as a state has."""
        x, count = xp.reshape(x, (x.shape[0], -1)), int(np.prod(SHAPE))
        while x.shape[1] < count:
            x = xp.concat([x, x * 0.5], axis=1)
        return xp.reshape(x[:, :count], (x.shape[0], *SHAPE))

    def bounded(self, xp, x):
        """What a state keeps."""
        return xp.clip(xp.floor(x * 16.0 + 0.5), -64.0, 63.0) * 0.0625 if self.bits else x * 0.25


def models_of(seeds, **options):
    engine = sc.get_engine("numpy", fused=False)
    return {f"n{seed}": sc.Model(Drawn(seed=seed, **options), engine, input_shape=SHAPE) for seed in seeds}


def compare(seeds, folder):
    models, x = models_of(seeds), np.random.default_rng(0).normal(size=(6, 1, *SHAPE)).astype("float32")
    for name, net in in_c(models, folder).items():
        assert_same(net, models[name], x, exact=False)


def compare_integers(seeds, folder):
    models, x = models_of(seeds, bits=True), np.random.default_rng(0).integers(-128, 128, (6, *SHAPE)) / 16
    x[0], x[1] = -8, 127 / 16
    for name, net in in_fixed_point(models, folder, inputs=INPUTS).items():
        assert_equal(net, models[name], x.astype("float32"), inputs=INPUTS)


def test_drawn_words(tmp_path):
    compare(range(10), tmp_path)


def test_drawn_words_in_integers(tmp_path):
    compare_integers(range(5), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10, 410, 100))
def test_400_neurons_of_drawn_words(tmp_path, first):
    compare(range(first, first + 100), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(5, 105, 25))
def test_100_neurons_of_drawn_words_in_integers(tmp_path, first):
    compare_integers(range(first, first + 25), tmp_path)
