"""A batch normalisation and the neuron behind it as one run over time: no normalised maps are made.

A normalisation with given moments is a line, scale x + shift, for each channel. The neuron's kernel takes what the
normalisation takes, and scale and shift as two parameters more. Backwards it sums their gradients, with which the
gradient through the moments is one pass over the maps. Of both layers, their input alone is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Params, Pass, Result, State, Tree
from spikecore.api.core.lowering import Alone, Stage, Trees, below
from spikecore.api.core.words import Array
from spikecore.api.layers.containers import Chain
from spikecore.api.layers.normalisation import RunningNorm
from spikecore.api.neurons.stepper import InputWrapper, Stepper
from spikecore.engines.torch.batch_norm import by_rows, through_moments
from spikecore.engines.torch.fusing import ScanOptions, fused_scan
from spikecore.engines.torch.layout import are_last, to_last
from spikecore.engines.torch.once import all_first_order, one_gradient
from spikecore.engines.torch.operators import run as run_kernels
from spikecore.engines.torch.operators import run_back
from spikecore.kernels.base import Kernels
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.moments import add_channel_line, channel_moments
from spikecore.kernels.recurrence import elementwise_part
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sizes import MAPS, has_numba, least_neuron_steps


@dataclass(frozen=True)
class Scaled(InputWrapper):
    """A neuron whose input is scale x + shift.

    Args:
        neuron: the neuron; its parameters are called ``neuron``, beside ``scale`` and ``shift``.
    """

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        return self.neuron.step(engine, params.neuron, state, x * params.scale + params.shift)


@Remembered
def scaled(norm: Any, neuron: Stepper) -> Scaled:
    """The neuron with scale x + shift in front, cached for the life of ``norm``, since kernels are found by it."""
    return Scaled(neuron)


def batch_moments(x: Any) -> Any:
    """Mean and biased variance (2, channels) of a sequence that ``by_rows`` takes."""
    use_threads(torch.get_num_threads())
    last = are_last(x)
    found = channel_moments(_samples(to_last(x, 2) if last else x), x.shape[2], last)
    return torch.from_numpy(np.stack(found))


def _samples(x: Any) -> Any:
    """The samples of all steps as an array (samples, values of one), which shares the memory of x without gaps."""
    return x.numpy(force=True).reshape(x.shape[0] * x.shape[1], -1)


class _How(NamedTuple):
    """The options of a ``NormalisedScan``, besides tensors."""

    eps: float
    last: bool  # whether the channels are the last axis of x
    kernels: Kernels
    steps: int
    window: int


LINE = "scale", "shift"  # parameters of ``Scaled``
FIRST = 5  # the arguments of ``NormalisedScan`` before the first states


class NormalisedScan(torch.autograd.Function):
    """A run over time, as ``FusedScanFunction``, of a neuron whose input is scale x + shift.

    Scale and shift are made of the moments of x and of weight and bias, each of which may be None.
    """

    @staticmethod
    def forward(ctx: Any, how: _How, moments: Any, weight: Any, bias: Any, x: Any, *operands: Any) -> Any:
        use_threads(torch.get_num_threads())
        tensors = run_kernels(how.kernels, x, operands, how.steps, any(ctx.needs_input_grad))
        count = 1 + len(how.kernels.record) + len(how.kernels.states)
        ctx.how, ctx.count = how, len(operands)
        ctx.save_for_backward(moments, weight, bias, x, *operands, *tensors[count:])
        ctx.set_materialize_grads(False)
        return tuple(tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        one_gradient(grads)
        how, kernels, ((mean, var), weight, bias, x, *rest) = ctx.how, ctx.how.kernels, ctx.saved_tensors
        operands, saved, wanted = rest[: ctx.count], rest[ctx.count :], ctx.needs_input_grad
        line, before = [kernels.params.index(name) for name in LINE], FIRST + len(kernels.states)
        by_params = [i for i in range(len(kernels.params)) if wanted[before + i] or i in line]
        with torch.no_grad():
            use_threads(torch.get_num_threads())
            options = how.steps, wanted[FIRST - 1], by_params, how.window
            gradients = iter(run_back(kernels, x, operands, saved, grads, *options))
            by_x = next(gradients) if wanted[FIRST - 1] else None
            by_states = [next(gradients) for _ in kernels.states]
            found = dict(zip(by_params, gradients))
            product, total = (found.pop(i).flatten() for i in line)
            inverse = 1.0 / torch.sqrt(var + how.eps)
            weighted = (product - mean * total) * inverse
            if by_x is not None:
                scale, samples = inverse if weight is None else inverse * weight, _samples(x)
                part = through_moments(total, weighted, mean, inverse, scale, samples.size // len(mean))
                constant, slope = (values.numpy() for values in part)
                add_channel_line(_samples(by_x), samples, slope, constant, how.last)
        by_line = (value if own else None for value, own in zip((weighted, total), wanted[2:4]))
        results = *by_line, by_x, *by_states, *map(found.get, range(len(kernels.params)))
        return None, None, *all_first_order(results, (*grads, weight, bias, x, *operands))


@dataclass(frozen=True)
class Normalised(Stage):
    """A batch normalisation and the neuron behind it."""

    names: Tuple[str, str]
    norm: RunningNorm
    neuron: Stepper

    @property
    def covers(self) -> Tuple[str, ...]:
        return self.names

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        (name, path), trees = self.names, Trees()
        found = self._at_once(run, params, buffers, state, x) if self._fits(run, x) else None
        if found is None:
            x = trees.update(Alone(name, self.norm).run(run, params, buffers, state, x))
            return trees.result(trees.update(Alone(path, self.neuron).run(run, params, buffers, state, x)))
        moved, result = found
        trees.add(name, Result(x, moved))
        return trees.result(trees.add(path, result))

    def _fits(self, run: Pass, x: Any) -> bool:
        """Whether the run is one for kernels, and the moments are those of this process."""
        engine, size = run.engine, math.prod(x.shape[1:]) * (x.shape[0] if run.steps is None else run.steps)
        large = engine.fused is True or size >= least_neuron_steps(run.repeating, repeated=MAPS)
        return large and has_numba() and not engine.batch_on_ranks and by_rows(x, (0, 1, *range(3, x.ndim)))

    def _at_once(
        self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any
    ) -> Optional[Tuple[Tree, Result]]:
        """The normalisation's buffers and what the neuron gives; None where layer by layer is to run."""
        (name, path), engine = self.names, run.engine
        own, weights = buffers.get(name, Tree()), params[name]
        if "running_mean" not in own:
            return None
        child = run.child(path)
        begun = self.neuron.begin(child, params[path], below(path, self.neuron, state), x)
        if not begun.plain:
            return None
        apply: Any = None
        if run.train:
            x, last = x if are_last(x) else x.contiguous(), are_last(x)  # kernels read maps without gaps
            with torch.no_grad():  # ``NormalisedScan`` has the gradient through the moments
                moments = batch_moments(x)
                moved = self.norm.moved(engine, own, moments, x)
                line = self.norm.line(engine.xp, weights, moments[0], moments[1])
            affine = weights.get("weight"), weights.get("bias")

            def apply(*how: Any) -> Any:
                return NormalisedScan.apply(_How(self.norm.eps, last, *how[:3]), moments, *affine, *how[3:])

        else:
            moved, line = own, self.norm.line(engine.xp, weights, own.running_mean, own.running_var)
        scale, shift = (v.reshape(-1, *[1] * (x.ndim - 3)) for v in line)
        given = Params(neuron=begun.params, scale=scale, shift=shift)
        record = tuple(self.neuron.state) if child.records else ()
        steps = x.shape[0] if run.steps is None else run.steps
        how = ScanOptions(steps, record, run.window, run.repeating), None, apply
        found = fused_scan(engine, scaled(self.norm, self.neuron), given, begun.state, x, *how)
        if found is None:
            return None
        spikes, recorded, final = found
        return moved, Result(spikes, Tree(), final, recorded.replace(spikes=spikes) if child.records else recorded)

    def explain(self, engine: Any) -> str:
        return f"{engine.explain(self.neuron)}; its kernels normalise what they read"


def normalised(stages: Sequence[Stage], chain: Chain) -> Tuple[Stage, ...]:
    """Stages in which each batch normalisation with a neuron behind it is one stage with it."""
    children: Dict[str, Any] = dict(chain)
    found: List[Stage] = []
    left = list(stages)
    while left:
        pair = [(stage.name, children[stage.name]) for stage in left[:2] if isinstance(stage, Alone)]
        if len(pair) == 2 and _is_line(pair[0][1]) and _takes(pair[1][1]):
            (name, norm), (path, neuron) = pair
            found.append(Normalised((name, path), norm, neuron))
            del left[:2]
        else:
            found.append(left.pop(0))
    return tuple(found)


def _is_line(layer: Any) -> bool:
    """Whether a layer is one line per channel, by moments over time, batch and space."""
    if not isinstance(layer, RunningNorm) or layer.axes != (0, 1):
        return False
    own = (getattr(type(layer), name) is getattr(RunningNorm, name) for name in ("run", "apply", "line"))
    return all(own) and _has_hash(layer)


def _takes(layer: Any) -> bool:
    """Whether a neuron's kernel has the loop over time inside, and reads the input as it is."""
    plain = isinstance(layer, Stepper) and layer.scans and not layer.projects
    return plain and not layer.parallel and _has_hash(layer) and elementwise_part(layer) is None


def _has_hash(layer: Any) -> bool:
    """Whether kernels can be found by a layer, which one with a list among its fields does not allow."""
    try:
        hash(layer)
    except TypeError:
        return False
    return True
