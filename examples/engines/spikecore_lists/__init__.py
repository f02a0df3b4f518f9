"""An engine on plain Python lists: slow, and for evaluation only.

docs/engine_on_lists.md explains this file and words.py.
"""

from __future__ import annotations

import numpy as np

from spikecore.api.core import host, random
from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineEntry
from spikecore.api.core.layer import not_by_steps
from spikecore.api.core.sizes import check_steps
from spikecore.api.core.tree import State, map_leaves
from spikecore.api.layers.containers import Container, stages_of
from spikecore.api.neurons.stepper import one_step
from spikecore.api.training.executor import NetworkExecutor
from spikecore_lists.words import Array, stack, words

ENGINE = EngineEntry("spikecore_lists:ListEngine", modules=("spikecore_lists",))  # what the entry point names


class ListEngine(Engine):
    """Arrays of Python's numbers in lists, in "float32" (the default) or "float64"."""

    name, device = "lists", "cpu"
    lacks = {"gradients": "engine 'lists' only evaluates"}

    def __init__(self, dtype="float32"):
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype={dtype!r} must be one of float32, float64")
        self.dtype, self.xp = dtype, words(dtype)

    def __repr__(self):
        return f"ListEngine(dtype={self.dtype!r})"

    def asarray(self, x, dtype=None):
        wanted = dtype or self.dtype
        if not isinstance(x, Array):
            x = np.asarray(host.to_numpy(x))
            return Array(x.ravel().tolist(), x.shape, wanted)
        if x.dtype != wanted and x.dtype.startswith("float") and wanted.startswith("float"):
            raise TypeError(f"an array of {x.dtype} came to an engine of {wanted}: convert it with xp.astype")
        return x if x.dtype == wanted else Array(x.data, x.shape, wanted)

    def to_numpy(self, x):
        return np.array(x.data, dtype=x.dtype).reshape(x.shape)

    def uniform(self, key, shape, *, sample_axis=None, first=0):
        layout, words = random.plan(tuple(shape), sample_axis, first), random.stream(key)
        blocks = range(layout.samples * layout.blocks)
        draws = [word for block in blocks for word in random.philox(random.counters(layout, block), words)]
        found = Array([(word >> 8) * 2.0**-24 for word in draws], (len(blocks), 4), self.dtype)
        return random.arrange(self.xp, layout, found)

    def scan(self, stepper, params, state, inputs, *, steps=None, record=(), window=None, repeating=False):
        steps = inputs.shape[0] if steps is None else steps
        check_steps(steps, inputs.shape[0])
        outputs, recorded = [], {name: [] for name in record}
        for t in range(steps):
            x = inputs[t if inputs.shape[0] > 1 else 0, ...]
            y, state = one_step(self, stepper, params, state, x)
            outputs.append(y)
            for name in record:
                recorded[name].append(state[name])
        stacked = {name: map_leaves(lambda *rows: stack(rows), *rows) for name, rows in recorded.items()}
        return stack(outputs), State(stacked), state

    def explain(self, stepper):
        if isinstance(stepper, Container):
            return stages_of(self, stepper)
        return not_by_steps(stepper) or f"loop: one {type(stepper).__name__}.step per time step, on lists"

    def value_and_grad(self, function, argument, *constants):
        raise NotImplementedError(self.lacks["gradients"])

    def compile(self, network, params, buffers, loss, optimizer, **options):
        return NetworkExecutor(self, network, params, buffers, loss, optimizer, **options)
