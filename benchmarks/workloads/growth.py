"""How time and peak memory of a training step grow with steps, neurons, batch, depth and rate."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import spikecore as sc
from benchmarks import data, training
from benchmarks.peers import jax, norse
from benchmarks.plan import Evidence, Group, Run, Settings, Side, Workload
from benchmarks.rates import rate
from benchmarks.report import Row, digits
from benchmarks.workloads.rates import BETA, Task, snntorch_leaky, spikingjelly_lif

TEXT = """\
A training step of `depth` layers of a `Linear` of N inputs and N outputs and a `Leaky(reset_mechanism="zero")` with β =
15/16: forward, cross-entropy of the spike counts, backward, Adam. Five sizes grow, one at a time: steps T, neurons N,
batch B, depth, and the rate of the input, which is about that of all layers. The learning rate is 1e-12, so that rates
stay what they are. Peak memory is the rise above the memory between steps; JAX keeps small buffers from step to step,
which this does not show. Each product of a peer is one call for all steps and samples. Norse has its own reset and
surrogate: it fires alike, but its gradients are not compared. The exponent of a size is the slope of the line through
the logarithms of time, or of peak memory, over that of the size: 1 is "as the size". The operations of a step grow with
T, B and depth to the power 1, with N to the power 2, and, where spikes are multiplied as lists, with the rate to the
power 1."""

LR = 1e-12  # Adam's step, which no weight but a zero feels
SMALL = 4.0  # MB: a smaller peak may hide in memory that the allocator has kept


class Point(NamedTuple):
    """The sizes of one measurement; the rate is in per cent."""

    steps: int
    neurons: int
    batch: int
    depth: int
    rate: float

    @property
    def title(self) -> str:
        """The title of its group."""
        return f"T={self.steps} N={self.neurons} B={self.batch} depth {self.depth}, {self.rate:g} %"


AXES = {  # the name of each size, for tables and picture
    "steps": "steps T",
    "neurons": "neurons N",
    "batch": "batch B",
    "depth": "depth",
    "rate": "rate of the input (%)",
}
FULL = Point(100, 512, 32, 1, 5.0)
SIZES: Dict[str, Tuple[float, ...]] = {
    "steps": (25, 100, 400, 1600, 3200),
    "neurons": (64, 256, 512, 1024, 2048, 4096),
    "batch": (1, 8, 32, 128, 256, 512),
    "depth": (1, 2, 8, 32),
    "rate": (0.5, 2, 5, 10, 20, 50),
}
QUICK = Point(4, 16, 2, 1, 10.0)
QUICK_SIZES: Dict[str, Tuple[float, ...]] = {
    "steps": (4, 8),
    "neurons": (16, 32),
    "batch": (2, 4),
    "depth": (1, 2),
    "rate": (10, 50),
}


def points(settings: Settings) -> Dict[str, List[Point]]:
    """The points of each size that grows, by its name."""
    base, sizes = settings.size((FULL, SIZES), (QUICK, QUICK_SIZES))
    return {axis: [base._replace(**{axis: value}) for value in values] for axis, values in sizes.items()}


class Growing:
    """The sides of one point."""

    def __init__(self, settings: Settings, point: Point) -> None:
        self.point, self.device = point, settings.device
        sized = replace(settings, quick=False, batch=point.batch)
        kinds = ("Linear", "Leaky") * point.depth
        self.task = Task(sized, kinds, point.rate / 100.0, point.steps, point.neurons)

    @property
    def classes(self) -> Any:
        """A label for every sample."""
        return data.rng(1).integers(0, self.point.neurons, self.point.batch)

    def ours(self, **options: Any) -> Run:
        """A training step on the torch engine."""
        engine, drawn = sc.get_engine("torch", **{"device": self.device, **options}), self.task.drawn
        loss = sc.functional.ce_count_loss()
        run = training.executor_run(engine, self.task.network(), drawn.weights, loss, drawn.x, self.classes, None, LR)
        return _with_spikes(run, lambda: self.task.ours(lambda: engine)[0](engine.asarray(drawn.x)))

    def torch(self, neuron: Callable[[], Any], scale: float = 1.0, gradients: bool = True) -> Run:
        """A training step in torch; ``neuron`` makes a peer's neurons, for a current that is ``scale`` times ours."""
        import torch

        call, leaves = self.task.torch(neuron)
        x, y = (torch.as_tensor(array, device=self.device) for array in (self.task.drawn.x, self.classes))
        with torch.no_grad():
            for tensor in leaves.values():
                tensor.mul_(scale)
        run = training.torch_run(lambda: torch.nn.functional.cross_entropy(call(x).sum(0), y), leaves, LR)
        return _with_spikes(run, lambda: call(x), gradients)

    def norse(self) -> Run:
        """A training step in Norse, whose gradients are others."""
        return self.torch(lambda: norse.box(BETA, self.device), 1.0 / (1.0 - BETA), gradients=False)

    def jax(self) -> Run:
        """A training step in plain JAX."""
        drawn = self.task.drawn
        return jax.trained(jax.spiking_layers(BETA, self.point.depth), drawn.weights, (drawn.x, self.classes), LR)

    def group(self) -> Group:
        """All sides."""
        sides = (
            Side("torch engine", self.ours, engine="torch"),
            Side("snnTorch", lambda: self.torch(lambda: snntorch_leaky(self.device)), peer="snntorch"),
            Side("SpikingJelly m", lambda: self.torch(spikingjelly_lif), peer="spikingjelly"),
            Side("Norse", self.norse, peer="norse"),
            Side("JAX by hand", self.jax, peer="jax"),
        )
        heavy = math.prod(self.point[:4]) * self.point.neurons > 4 * math.prod(FULL[:4]) * FULL.neurons
        rounds, warmup = 3 if heavy else 7, 1  # a first step compiles kernels, and asks the system for memory
        return Group(
            self.point.title,
            sides,
            partial(self.ours, fused=False, device="cpu"),
            rounds=rounds,
            warmup=warmup,
            rates=lambda: {"input": rate(self.task.drawn.x)},
            memory=True,
        )


def _with_spikes(run: Run, spikes: Callable[[], Any], gradients: bool = True) -> Run:
    """The same run, with the spikes of the last layer in its evidence, and without gradients if they are others."""

    def evidence(of_run: Callable[[], Evidence]) -> Evidence:
        import torch

        with torch.no_grad():
            fired = spikes().cpu().numpy()
        return {**(of_run() if gradients else {}), "spikes": fired}

    return lambda: partial(evidence, run())


def groups(settings: Settings) -> Iterable[Group]:
    """A group for every point; the one from which all sizes grow comes once."""
    for point in dict.fromkeys(point for line in points(settings).values() for point in line):
        yield Growing(settings, point).group()


Line = List[Tuple[float, Row]]


def lines(rows: Sequence[Row]) -> Dict[str, Dict[str, Line]]:
    """For each size that grows and each side that ran, its rows by the size."""
    found: Dict[str, Dict[str, Line]] = {}
    measured = {(row.group, row.side): row for row in rows if row.figures}
    for settings in (Settings(), Settings(quick=True)):
        for axis, line in points(settings).items():
            for side in dict.fromkeys(side for _, side in measured):
                shown = [
                    (float(getattr(p, axis)), measured[p.title, side]) for p in line if (p.title, side) in measured
                ]
                if shown:
                    found.setdefault(axis, {})[side] = shown
    return found


def exponent(pairs: Iterable[Tuple[float, float]]) -> float:
    """The slope of the line through the logarithms of pairs (least squares); NaN of fewer than two."""
    logs = [(math.log(x), math.log(y)) for x, y in pairs]
    if len(logs) < 2:
        return math.nan
    middle_x, middle_y = (sum(values) / len(logs) for values in zip(*logs))
    return sum((x - middle_x) * (y - middle_y) for x, y in logs) / sum((x - middle_x) ** 2 for x, _ in logs)


def summary(rows: Sequence[Row]) -> str:
    """Two tables: the exponents, and time and memory at every size."""
    found = lines(rows)
    sides = list(dict.fromkeys(row.side for row in rows if row.figures))
    if not sides:
        return ""
    head = " | ".join(sides)
    exponents = [f"| exponents of time; of memory | sizes | {head} |\n|---|--:|{'--:|' * len(sides)}"]
    sizes = [f"| size | {head} |\n|---|{'--:|' * len(sides)}"]
    for axis, line in found.items():
        first = next(iter(line.values()))
        cells = [_exponents(line.get(side, [])) for side in sides]
        exponents.append(f"| {AXES[axis]} | {first[0][0]:g}–{first[-1][0]:g} | {' | '.join(cells)} |")
        for value, _ in first:
            at = [dict(line.get(side, [])).get(value) for side in sides]
            sizes.append(f"| {AXES[axis]}: {value:g} | {' | '.join(map(_size, at))} |")
    return "\n".join(exponents) + "\n\n" + "\n".join(sizes)


def _exponents(line: Line) -> str:
    """The exponents of one side: of time, and of memory where there is enough of it."""
    memory = [(value, row.memory) for value, row in line if row.memory is not None and row.memory > SMALL]
    slopes = exponent((value, row.median) for value, row in line), exponent(memory)
    return "; ".join("–" if math.isnan(slope) else f"{slope:.2f}" for slope in slopes)


def _size(row: Optional[Row]) -> str:
    """Time, of a peer as a ratio, and memory."""
    if row is None or row.relative is None:
        return "–"
    time = f"{digits(row.median)} ms" if row.relative == 1.0 else f"{row.relative:.2g}×"
    if row.memory is None:
        return time
    return f"{time}, {digits(row.memory)} MB" if row.memory > SMALL else f"{time}, <{SMALL:g} MB"


WORKLOAD = Workload("growth", "How cost grows", TEXT, groups, summary)
