"""The gradient of a network's loss on any engine, and its check by finite differences."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Key, Layer, Pass
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, rebuild
from spikecore.api.layers.network import Output, objective
from spikecore.api.training.optimizers import SGD

STEP_LR = 2.0**16  # a power of two, so that dividing by it is exact


@dataclass(frozen=True)
class Problem:
    """A loss to differentiate: network, weights and batch, all as NumPy arrays.

    Args:
        network: the layers.
        loss: callable ``(out, targets) -> scalar``.
        params, buffers: the weights and buffers, trees of NumPy arrays.
        x: the inputs, (time or 1, batch, *features).
        targets: the targets, a NumPy array.
        steps: number of steps of an input constant in time; None takes it from ``x``.
        seed: names the random draws of dropout.
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; None, the default: full BPTT.
        lengths: number of steps of each sample that count; None, the default: all.
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
    lengths: Optional[List[int]] = None

    def training_pass(self, engine: Engine) -> Pass:
        """The settings of a training pass that records every layer."""
        return Pass(engine, self.steps, True, Key((self.seed, "verify")), True, self.window, repeating=True)

    def on(self, engine: Engine) -> Tuple[Tree, Tree, Any]:
        """On an engine: a tree of parameters and input, the buffers, and the targets."""
        float_targets = "float" in str(self.targets.dtype)
        argument = Tree(params=map_leaves(engine.asarray, self.params), inputs=engine.asarray(self.x))
        targets = engine.asarray(self.targets, dtype=None if float_targets else "int64")
        return argument, map_leaves(engine.asarray, self.buffers), targets

    def function(self, engine: Engine) -> Callable[..., Any]:
        """The loss as a function (Tree(params, inputs), buffers, targets) -> (loss, output)."""
        run = self.training_pass(engine)

        def loss_of(at: Tree, buffers: Tree, targets: Any) -> Any:
            value, (out, _) = objective(
                self.network, self.loss, run, at.params, buffers, at.inputs, targets, lengths=self.lengths
            )
            return value, out

        return loss_of


@dataclass(frozen=True)
class LossGradient:
    """Loss, gradients and the network's output, as NumPy arrays."""

    loss: float
    grads: Dict[str, Any]  # by parameter name; "inputs" is None if the engine cannot compute it
    out: Optional[Output]  # None if the engine does not return it


def gradient(engine: Engine, problem: Problem) -> LossGradient:
    """Loss and gradients on an engine: directly, or else from the change that one step of SGD makes to the weights."""
    host = engine.to_numpy
    try:
        with engine.isolated():
            value, out, grads = engine.value_and_grad(problem.function(engine), *problem.on(engine))
    except NotImplementedError as error:
        if "no derivative rule" in str(error):
            raise
        return _by_one_step(engine, problem)
    by_name = {name: host(g) for name, g in flatten(grads.params).items()}
    states = {name: map_leaves(host, state) for name, state in out.states.items()}
    output = Output(host(out.spikes), states, Tree(), out.readout)
    return LossGradient(float(host(value)), {**by_name, "inputs": host(grads.inputs)}, output)


def _by_one_step(engine: Engine, problem: Problem) -> LossGradient:
    if problem.lengths is not None:
        raise NotImplementedError(
            f"engine {engine.name!r} compiles losses of whole sequences, without lengths: verify on numpy or torch"
        )
    weights = problem.params, problem.buffers
    with engine.isolated():
        executor = engine.compile(problem.network, *weights, problem.loss, SGD(lr=STEP_LR), window=problem.window)
        before = executor.state()["params"]
        key = problem.training_pass(engine).key
        loss, _ = executor.step(problem.x, problem.targets, steps=problem.steps, key=key)
        after = executor.state()["params"]
        executor.close()
    grads = {name: (before[name] - after[name]) / STEP_LR for name in before}
    return LossGradient(loss, {**grads, "inputs": None}, None)


# ---- finite differences --------------------------------------------------------------------------------------------

STEPS = (1e-3, 1e-4, 1e-2, 1e-5, 1e-6, 1e-7)  # those at which truncation and rounding are mostly small come first
NEAR = 1e-9  # a relative error at which no other step is tried


@dataclass(frozen=True)
class Slope:
    """The slope of the loss along a direction of one parameter, from the gradient and from finite differences."""

    name: str
    shape: Tuple[int, ...]
    analytic: float
    numeric: float
    scale: float  # typical size of a slope along such a direction
    limit: float  # of a right gradient's ``error``: DIFFERENCE_LIMIT, or what the rounding of the loss explains
    beside: bool = False  # whether it was taken beside the given values
    blurred: bool = False  # whether rounding of the loss explains the difference at a step that is not tiny

    @property
    def error(self) -> float:
        """The difference of both slopes relative to their typical size."""
        size = max(self.scale, abs(self.numeric))
        return abs(self.analytic - self.numeric) / size if size > 0 else 0.0


def slopes(smooth: Any, problem: Problem) -> Iterator[Slope]:
    """Check every parameter, and the input, by central differences in smooth mode.

    Each is checked along the gradient itself, which reveals a wrong scale, and along a random direction, which reveals
    a wrong entry. The difference quotient is computed at several step sizes, until one is near, and the closest one
    counts: for a right gradient, truncation and rounding errors balance at one of them; a wrong one is close to none.

    At a kink of the loss (the maximum of equal numbers, the edge of a clamp) or close to one, quotients prove nothing.
    A parameter on which they do not agree with the gradient is therefore checked at two points beside it, where all
    parameters and inputs are moved by a little noise and by its opposite: a wrong rule is as wrong there. Two, because
    outside a clamp all slopes are zero, which shows nothing.

    Args:
        smooth: a smooth engine in float64, see ``variants.smooth``.
        problem: what to differentiate.
    """
    argument, *constants = problem.on(smooth)
    here = _Point(smooth, problem.function(smooth), argument, constants)
    beside: List[_Point] = []
    for index, (path, _) in enumerate(leaves(argument)):
        name = path[len("params.") :] if path.startswith("params.") else path
        found = list(here.slopes(index, name))
        if any(slope.error > slope.limit for slope in found):
            beside = beside or [here.beside(sign) for sign in (1.0, -1.0)]
            second = [replace(slope, beside=True) for point in beside for slope in point.slopes(index, name)]
            if all(slope.error <= slope.limit for slope in second):
                found = second
        yield from found


class _Point:
    """Values of all parameters, where the loss is differentiated."""

    def __init__(self, smooth: Any, function: Callable[..., Any], argument: Tree, constants: Sequence[Any]) -> None:
        self.smooth, self.function, self.argument, self.constants = smooth, function, argument, constants
        _, _, grads = smooth.value_and_grad(function, argument, *constants)
        self.grads = [g for _, g in leaves(grads)]
        self.floor = smallest_scale(smooth, self.grads)

    def moved(self, index: int, value: Any) -> Tree:
        """All parameters, one of them with another value."""
        values = (value if i == index else x for i, (_, x) in enumerate(leaves(self.argument)))
        return rebuild(self.argument, values)

    def beside(self, sign: float) -> _Point:
        """A point near this one, where no two values are equal by intention; ``sign`` is 1 or -1, for either side."""
        smooth, host = self.smooth, self.smooth.to_numpy
        noisy = []
        for path, x in leaves(self.argument):
            noise = 2.0 * smooth.uniform(("verify", "beside", path), tuple(x.shape)) - 1.0
            largest = float(host(smooth.xp.max(abs(x)))) if math.prod(x.shape) else 0.0
            noisy.append(x + sign * BESIDE * (largest or 1.0) * noise)
        return _Point(smooth, self.function, rebuild(self.argument, iter(noisy)), self.constants)

    def slopes(self, index: int, name: str) -> Iterator[Slope]:
        """The slopes along directions of one parameter."""
        smooth, (_, x), g = self.smooth, leaves(self.argument)[index], self.grads[index]
        with smooth.record():  # what the gradient holds fixed, such as resets
            smooth.evaluate(self.function, self.argument, *self.constants)

        def loss(value: Any) -> float:
            with smooth.replay():
                return float(smooth.evaluate(self.function, self.moved(index, value), *self.constants)[0])

        for direction in directions(smooth, name, g):
            yield slope_along(smooth, name, x, g, direction, loss, self.floor)


def directions(engine: Any, name: str, g: Any) -> Iterator[Any]:
    """Directions for the slope of one parameter: along its gradient, and along a random direction."""
    norm = _norm(engine, g)
    if norm > 0:
        yield g / norm
    yield 2.0 * engine.uniform(("verify", name), tuple(g.shape)) - 1.0


def smallest_scale(engine: Any, grads: Iterable[Any]) -> float:
    """The size of an entry below which a gradient counts as zero, beside the largest of several gradients."""
    return 1e-4 * max(_norm(engine, g) / math.sqrt(max(1, math.prod(g.shape))) for g in grads)


def _norm(engine: Any, x: Any) -> float:
    return math.sqrt(float(engine.to_numpy(engine.xp.sum(x * x))))


def slope_along(
    engine: Any, name: str, x: Any, g: Any, direction: Any, loss: Callable[[Any], float], floor: float
) -> Slope:
    """The slope of ``loss`` at ``x`` along a direction, by the gradient ``g`` and by the best difference quotient."""
    analytic = float(engine.to_numpy(engine.xp.sum(g * direction)))
    length = _norm(engine, direction)
    root = math.sqrt(max(1, math.prod(g.shape)))
    scale = max(_norm(engine, g) / root, floor) * length  # for a zero gradient, the size of the other gradients
    unit = direction / length
    quotients: List[float] = []
    while len(quotients) < len(STEPS) and not any(abs(q - analytic) <= NEAR * max(scale, abs(q)) for q in quotients):
        quotients.append(length * _difference(lambda h: loss(x + h * unit), STEPS[len(quotients)]))
    numeric = min(quotients, key=lambda q: abs(q - analytic))
    limit, size, blurred = DIFFERENCE_LIMIT, max(scale, abs(numeric)), False
    if abs(numeric - analytic) > DIFFERENCE_LIMIT * size > 0:
        rounding = ROUNDING * abs(loss(x)) * length
        within = [h for q, h in zip(quotients, STEPS) if abs(q - analytic) <= rounding / h]
        blurred = any(h >= SMALL for h in within)
        levels = (rounding / (h * size) for h in within)
        limit = min([level for level in levels if DIFFERENCE_LIMIT < level <= COARSEST], default=DIFFERENCE_LIMIT)
    return Slope(name, tuple(g.shape), analytic, numeric, scale, limit, blurred=blurred)


ROUNDING = 16 * 2.0**-53  # of a difference quotient, times |loss| / step: some roundings of the loss in float64
SMALL = 1e-6  # from this step size on, rounding is small enough to tell a wrong slope from a right one
BESIDE = 0.05  # the size of the noise, relative to the largest value of a parameter
DIFFERENCE_LIMIT = 1e-6  # largest relative error of a slope,
COARSEST = 1e-4  # and up to which rounding of the loss may take its place: a coarser slope shows nothing


def _difference(f: Callable[[float], float], h: float) -> float:
    """Central difference of fourth order."""
    return (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
