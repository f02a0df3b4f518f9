"""Which engines the suite runs on, and small tools for its checks."""

from __future__ import annotations

import sys

import numpy as np

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, rebuild

# The suite's own engines: what get_engine calls them, and with which options.
ENGINES = {
    "numpy": ("numpy", {}),
    "numpy-strict": ("numpy", {"namespace": "array_api_strict"}),
    "torch": ("torch", {}),
    "cupy": ("cupy", {}),
    "torch-cuda": ("torch", {"device": "cuda"}),
    "ipu": ("ipu", {"simulate": True, "host_gradients": True}),  # the ops on this machine, executors in the simulation
}


def absent(name):
    """Why an engine cannot run here; None if it can. numpy, strict and torch are required: without them tests fail."""
    if name == "numpy-strict" and sys.version_info < (3, 9):
        return "array-api-strict needs Python 3.9"
    if name == "cupy":
        try:
            import cupy
        except ImportError:
            return "cupy is not installed"
        return None if cupy.cuda.is_available() else "cupy finds no CUDA device"
    if name in ("ipu_model", "ipu-device"):
        return absent_ipu(device=name == "ipu-device")
    if name == "torch-cuda":
        import torch

        return None if torch.cuda.is_available() else "torch finds no CUDA device"
    return None


def absent_ipu(device):
    """Why PopTorch cannot run here, on an IPU (``device``) or on the IPU Model of its SDK."""
    try:
        import poptorch
    except ImportError:
        return "poptorch is not installed (it comes with Graphcore's Poplar SDK)"
    return None if not device or poptorch.ipuHardwareIsAvailable() else "PopTorch finds no IPU"


def selected(config):
    """The engines that run, and why the others do not."""
    if config.getoption("--engine"):
        return config.getoption("--engine"), {}
    missing = {name: reason for name in ENGINES for reason in [absent(name)] if reason}
    return [name for name in ENGINES if name not in missing], missing


def make(name, dtype="float64"):
    """An engine by the suite's name for it, or by get_engine's."""
    known, options = ENGINES.get(name, (name, {}))
    return sc.get_engine(known, dtype=dtype, **options)


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
