"""Neighbouring layers that the torch and NumPy engines run at once.

A neuron and the Linear behind it can be one kernel, which multiplies spikes where they are made. Layers over maps can
take some time steps at a time, so that what lies between them stays in the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Callable, List, Optional, Tuple

from spikecore.api.core.extras import Stages
from spikecore.api.core.layer import EMPTY, Params, Pass, Result, State, Stateless, Tree, linear
from spikecore.api.core.lowering import Alone, Stage, Trees, below
from spikecore.api.layers.containers import Chain, Container
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Spatial
from spikecore.api.neurons.stepper import Stepper
from spikecore.kernels.readout import MOST
from spikecore.kernels.sparse.product import highest_rate


@dataclass(frozen=True)
class Readout(Stage):
    """A neuron and the Linear behind it: the engine's ``readout_scan`` makes spikes and multiplies them in one."""

    names: Tuple[str, str]
    neuron: Stepper
    linear: Stateless  # one that ``dense`` takes

    @property
    def covers(self) -> Tuple[str, ...]:
        return self.names

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        (name, path), trees = self.names, Trees()
        child, ready = run.child(name), self.linear.prepare(run.engine, params[path])
        behind = self._dense.weight_and_bias(ready)
        begun = self.neuron.begin(child, params[name], below(name, self.neuron, state), x)
        product = None
        if begun.plain and not child.records:
            parts = self.neuron, begun.params, begun.state, begun.inputs, *behind
            option: Any = {"steps": run.steps, "window": run.window, "repeating": run.repeating}
            product = run.engine.readout_scan(*parts, **option)
        if product is not None:
            return Result(product[0], EMPTY, State({name: product[1]}))
        spikes = trees.add(name, self.neuron.over_time(child, begun))
        return trees.result(linear(run.engine.xp, spikes, *behind))

    @property
    def _dense(self) -> Linear:
        found = dense(self.linear)
        assert found is not None
        return found

    def explain(self, engine: Any) -> str:
        outs, how = self._dense.out_features, engine.explain(self.neuron)
        if engine.fused is False or how.startswith("loop"):
            return str(how)
        if outs <= MOST:
            return f"{how}; its spikes are multiplied where they are made"
        rate = 100.0 * highest_rate(self._dense.in_features, outs)
        return f"{how}; large runs multiply its spikes as lists where up to about {rate:.0f} % of the neurons fire"


@dataclass(frozen=True)
class Maps(Stage):
    """Layers over maps, some time steps at a time (the engine's ``in_pieces``)."""

    layers: Tuple[Tuple[str, Spatial], ...]

    @property
    def covers(self) -> Tuple[str, ...]:
        return tuple(name for name, _ in self.layers)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        shape, largest = tuple(x.shape[2:]), math.prod(x.shape[1:])
        for _, layer in self.layers:
            shape = layer.out_shape(shape)
            largest = max(largest, x.shape[1] * math.prod(shape))

        def through(part: Any) -> Any:
            for name, layer in self.layers:
                part = layer.run(run.child(name), params[name], EMPTY, None, part).outputs
            return part

        return Result(through(x) if x.shape[0] == 1 else run.engine.in_pieces(through, x, largest))

    def explain(self, engine: Any) -> str:
        return "some time steps at a time through all of these layers"


class Neighbours(Stages):
    """The stages of this file, for engines that inherit ``Scans``. A subclass that overrides ``scan`` does not get
    them (``instead_of``), because they would bypass its ``scan``: it runs each layer by itself.
    """

    instead_of = ("scan",)

    def lower(self, engine: Any, network: Container) -> Tuple[Stage, ...]:
        return tuple(stage for chain in network.chains for stage in self.lower_chain(engine, chain))

    def lower_chain(self, engine: Any, chain: Chain) -> Tuple[Stage, ...]:
        """The stages of layers in a row, each of which takes the output of the one before it."""
        return neighbours(chain)


class Scans:
    """Methods that ``Neighbours`` calls: an engine with these stages inherits this class before ``Engine``."""

    def in_pieces(self, function: Callable[[Any], Any], x: Any, elements: int) -> Any:
        """Apply a function that treats every step by itself to a sequence; an engine may do so some steps at a time.

        Args:
            function: (time, batch, ...) to (time, batch, ...).
            x: the sequence.
            elements: how many of one step lie between the operations of ``function``, at most.
        """
        return function(x)

    def readout_scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        weight: Any,
        bias: Any = None,
        *,
        steps: Optional[int] = None,
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Optional[Tuple[Any, State]]:
        """Run a neuron over time and multiply its spikes S with a weight: S W^T + b, without storing S.

        Args:
            stepper, params, state, inputs, steps, window, repeating: see ``Engine.scan``.
            weight: W (outs, neurons).
            bias: b (outs,); None is zero.

        Returns:
            products (time, batch, outs) and the state after the last step; None where ``scan`` and a product shall run.
        """
        return None


def dense(layer: Any) -> Optional[Linear]:
    """The ``Linear`` that a layer is once its parameters are prepared; None: it is something else."""
    inner = layer.once_prepared if isinstance(layer, Stateless) else layer
    return inner if type(inner) is Linear else None


def neighbours(chain: Chain) -> Tuple[Stage, ...]:
    """Layers in a row as stages: a neuron with the ``Linear`` after it, layers over maps, each other layer alone."""
    left: List[Any] = list(chain)
    stages: List[Stage] = []
    while left:
        maps = tuple(takewhile(lambda one: isinstance(one[1], Spatial), left))
        none: Tuple[str, Any] = ("", None)
        (name, layer), (path, behind) = left[0], left[1] if len(left) > 1 else none
        if len(maps) > 1:
            stages.append(Maps(maps))
        elif isinstance(layer, Stepper) and layer.scans and isinstance(behind, Stateless) and dense(behind):
            stages.append(Readout((name, path), layer, behind))
        else:
            stages.append(Alone(name, layer))
        left = left[len(stages[-1].covers) :]
    return tuple(stages)
