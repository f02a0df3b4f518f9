"""Small tools of the checks: data, comparing, running a layer on an engine."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, rebuild


def need(engine, what):
    """Skip a case that an engine cannot do, if its class says so and why."""
    if what in engine.lacks:
        pytest.skip(f"{engine.name} lacks {what}: {engine.lacks[what]}")


# ---- data ----------------------------------------------------------------------------------------------------------


def normal(*shape, seed=0, scale=1.0):
    """Standard normal numbers, float64."""
    return scale * np.random.default_rng((seed, *shape)).normal(size=shape)


def sixtyfourths(*shape, seed=0):
    """Multiples of 1/64 in [-1/2, 3/2]: with beta = 1/2 and up to 16 steps, float32 computes exactly on them."""
    return np.random.default_rng((seed, *shape)).integers(-32, 97, size=shape) / 64.0


# ---- comparing -----------------------------------------------------------------------------------------------------


def error(a, b):
    """max|a - b| / max|b|, the measure of every comparison of gradients."""
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    if not b.size:
        return 0.0
    size = abs(b).max()
    return float(abs(a.astype("float64") - b).max() / (size if size > 0 else 1.0))


def assert_close(a, b, limit=1e-12, what=""):
    """NaN fails."""
    found = error(np.asarray(a), np.asarray(b))
    assert found <= limit, f"{what}: relative error {found:.3g} > {limit:g}\n{a}\n{b}"


def assert_trees_close(a, b, limit=1e-12):
    a, b = flatten(a), flatten(b)
    assert list(a) == list(b), f"{list(a)} and {list(b)}"
    for name in a:
        assert_close(a[name], b[name], limit, name)


# ---- running -------------------------------------------------------------------------------------------------------


def host(engine, tree):
    """A tree of an engine's arrays as NumPy arrays."""
    return map_leaves(engine.to_numpy, tree)


def on(engine, tree):
    """A tree of NumPy arrays as an engine's arrays."""
    return map_leaves(engine.asarray, tree)


def run(engine, layer, x, *, params=None, buffers=None, state=None, train=False, key=None, **options):
    """``layer.run`` on NumPy arrays, with first parameters unless others are given; NumPy arrays back."""
    first = layer.init(Key((0, "weights")), tuple(x.shape[2:]))
    options.setdefault("record", True)
    passing = Pass(engine, train=train, key=key, **options)
    given = [on(engine, first.params if params is None else params)]
    given.append(on(engine, first.buffers if buffers is None else buffers))
    result = layer.run(passing, *given, None if state is None else on(engine, state), engine.asarray(x))
    return type(result)(*(host(engine, part) for part in result))


def cotangents(tree, seed=1):
    """Random cotangents in the shape of a tree of arrays, another draw for each leaf."""
    return rebuild(tree, iter([normal(*a.shape, seed=seed + i) for i, (_, a) in enumerate(leaves(tree))]))


def contracted(engine, tree, weights):
    """sum(weights * tree): a scalar whose gradient pulls the weights back as cotangents."""
    tree, weights, total = flatten(tree), flatten(weights), 0.0
    for name, weight in weights.items():
        total = total + engine.xp.sum(tree[name] * engine.asarray(weight))
    return total


def differentiate(engine, layer, x, *, weigh=None, params=None, state=None, train=False, key=None, **options):
    """Gradients of a random weighting of all that ``layer.run`` returns, by inputs, parameters and first state.

    ``weigh`` names what is weighted, of "outputs", "recorded", "state"; by default the first two.
    """
    first = layer.init(Key((0, "weights")), tuple(x.shape[2:]))
    options.setdefault("record", True)
    passing = Pass(engine, train=train, key=key, **options)
    held = Tree(inputs=x, params=first.params if params is None else params)
    held = on(engine, held if state is None else held.replace(state=state))
    parts = ("outputs", "recorded") if weigh is None else weigh

    def loss(held, buffers):
        result = layer.run(passing, held.params, buffers, held.get("state"), held.inputs)
        seen = Tree({part: getattr(result, part) for part in parts})
        return contracted(engine, seen, cotangents(seen)), ()

    value, _, grads = engine.value_and_grad(loss, held, on(engine, first.buffers))
    return float(engine.to_numpy(value)), host(engine, grads)


def differences(function, x, h=1e-6):
    """The gradient of a scalar function of a NumPy array by central differences, entry by entry."""
    found = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        found[index] = (function(up) - function(down)) / (2 * h)
    return found


def parameters(**values):
    """Parameters of one layer as NumPy arrays."""
    return Params({name: np.asarray(value, dtype="float64") for name, value in values.items()})
