"""The gradient of a network's loss on any engine, and its check by finite differences."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Key, Layer, Pass
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, rebuild
from spikecore.api.layers.network import Output, objective
from spikecore.api.training.optimizers import SGD

STEP_LR = 2.0**16  # a power of two: dividing by it loses nothing


@dataclass(frozen=True)
class Problem:
    """A loss to be differentiated: network, weights and batch, all as NumPy arrays.

    Args:
        network: the layers.
        loss: callable ``(out, targets) -> scalar``.
        params, buffers: NumPy arrays.
        x: (time or 1, batch, *features).
        targets: NumPy array.
        steps: number of steps of an input constant in time.
        seed: names the random draws of dropout.
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...
    """

    network: Layer
    loss: Any
    params: Params
    buffers: Tree
    x: Any
    targets: Any
    steps: Optional[int]
    seed: int
    window: Optional[int] = None

    def training_pass(self, engine: Engine) -> Pass:
        """One pass as training makes it, kernels included, that records every layer."""
        return Pass(engine, self.steps, True, Key((self.seed, "verify")), True, self.window, repeating=True)

    def on(self, engine: Engine) -> Tuple[Tree, Tree, Any]:
        """Parameters and input as one tree, buffers, and targets on an engine."""
        float_targets = "float" in str(self.targets.dtype)
        held = Tree(params=map_leaves(engine.asarray, self.params), inputs=engine.asarray(self.x))
        targets = engine.asarray(self.targets, dtype=None if float_targets else "int64")
        return held, map_leaves(engine.asarray, self.buffers), targets

    def function(self, engine: Engine) -> Callable[..., Any]:
        """(Tree(params, inputs), buffers, targets) -> (loss, output)."""
        run = self.training_pass(engine)

        def loss_of(held: Tree, buffers: Tree, targets: Any) -> Any:
            value, (out, _) = objective(self.network, self.loss, run, held.params, buffers, held.inputs, targets)
            return value, out

        return loss_of


@dataclass(frozen=True)
class Gradient:
    """Loss, gradients and everything recorded, as NumPy arrays."""

    loss: float
    grads: Dict[str, Any]  # by parameter name; "inputs" is None where the engine cannot give it
    out: Optional[Output]  # None where the engine cannot give it


def gradient(engine: Engine, problem: Problem) -> Gradient:
    """Loss and gradients on an engine: directly, or else read off one step of SGD with a rate of 2**16."""
    host = engine.to_numpy
    try:
        with engine.isolated():
            value, out, grads = engine.value_and_grad(problem.function(engine), *problem.on(engine))
    except NotImplementedError as error:
        if "no derivative rule" in str(error):
            raise
        return _by_one_step(engine, problem)
    found = {name: host(g) for name, g in flatten(grads.params).items()}
    states = {name: map_leaves(host, state) for name, state in out.states.items()}
    shown = Output(host(out.spikes), states, Tree(), out.readout)
    return Gradient(float(host(value)), {**found, "inputs": host(grads.inputs)}, shown)


def _by_one_step(engine: Engine, problem: Problem) -> Gradient:
    weights = problem.params, problem.buffers
    with engine.isolated():
        executor = engine.compile(problem.network, *weights, problem.loss, SGD(lr=STEP_LR), window=problem.window)
        before = executor.state()["params"]
        key = problem.training_pass(engine).key
        loss, _ = executor.step(problem.x, problem.targets, steps=problem.steps, key=key)
        after = executor.state()["params"]
        executor.close()
    grads = {name: (before[name] - after[name]) / STEP_LR for name in before}
    return Gradient(loss, {**grads, "inputs": None}, None)


# ---- finite differences --------------------------------------------------------------------------------------------

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


@dataclass(frozen=True)
class Slope:
    """The slope of the loss along a direction of one parameter: from the gradient, and from finite differences."""

    name: str
    shape: Tuple[int, ...]
    analytic: float
    numeric: float
    scale: float  # typical size of a slope along such a direction
    at_kink: bool = False  # whether the loss has two slopes here, one to each side

    @property
    def error(self) -> float:
        """Difference relative to the typical size."""
        size = max(self.scale, abs(self.numeric))
        return abs(self.analytic - self.numeric) / size if size > 0 else 0.0


def slopes(smooth: Any, problem: Problem) -> Iterator[Slope]:
    """Check every parameter, and the input, by central differences in smooth mode.

    Each is checked along the gradient itself, which shows a wrong scale, and along a random direction, which shows a
    wrong entry. The quotient is taken at several step sizes and the closest one counts: a right gradient is met by one
    of them, where truncation and rounding balance; a wrong one by none.

    Args:
        smooth: a smooth engine in float64, see ``Engine.smooth``.
        problem: what to differentiate.
    """
    function = problem.function(smooth)
    held, buffers, targets = problem.on(smooth)
    _, _, grads = smooth.value_and_grad(function, held, buffers, targets)
    floor = 1e-4 * max(_norm(smooth, g) / math.sqrt(max(1, math.prod(g.shape))) for _, g in leaves(grads))
    with smooth.record():
        smooth.evaluate(function, held, buffers, targets)

    def loss_at(index: int, value: Any) -> float:
        moved = [value if i == index else x for i, (_, x) in enumerate(leaves(held))]
        with smooth.replay():
            return float(smooth.evaluate(function, rebuild(held, iter(moved)), buffers, targets)[0])

    for i, ((path, x), (_, g)) in enumerate(zip(leaves(held), leaves(grads))):
        name = path[len("params.") :] if path.startswith("params.") else path
        for direction in _directions(smooth, name, g):
            yield _slope(smooth, name, x, g, direction, partial(loss_at, i), floor)


def _directions(engine: Any, name: str, g: Any) -> Iterator[Any]:
    norm = _norm(engine, g)
    if norm > 0:
        yield g / norm
    yield 2.0 * engine.uniform(("verify", name), tuple(g.shape)) - 1.0


def _norm(engine: Any, x: Any) -> float:
    return math.sqrt(float(engine.to_numpy(engine.xp.sum(x * x))))


def _slope(engine: Any, name: str, x: Any, g: Any, direction: Any, loss: Callable[[Any], float], floor: float) -> Slope:
    analytic = float(engine.to_numpy(engine.xp.sum(g * direction)))
    length = _norm(engine, direction)
    root = math.sqrt(max(1, math.prod(g.shape)))
    scale = max(_norm(engine, g) / root, floor) * length  # a zero gradient is judged by the size of the others
    unit = direction / length
    quotients = [length * _difference(lambda h: loss(x + h * unit), h) for h in STEPS]
    numeric = min(quotients, key=lambda q: abs(q - analytic))
    slope = Slope(name, tuple(g.shape), analytic, numeric, scale)
    if slope.error <= KINK:
        return slope
    left, right = (s * length * (loss(x + s * 1e-6 * unit) - loss(x)) / 1e-6 for s in (-1.0, 1.0))
    one_sided = min(abs(left - analytic), abs(right - analytic)) / max(scale, abs(numeric))
    return replace(slope, at_kink=abs(left - right) > KINK * scale and one_sided < KINK)


KINK = 1e-3  # a relative difference of the slopes to both sides that no smooth function shows at steps of 1e-6


def _difference(f: Callable[[float], float], h: float) -> float:
    """Central difference of fourth order."""
    return (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
