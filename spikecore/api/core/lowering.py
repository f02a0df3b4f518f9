"""Stages: groups of neighbouring layers that an engine runs in one go.

A container hands its layers to the engine (``Stages.lower`` in ``extras.py``) and runs the stages that this returns,
one after the other. A stage returns the same outputs, buffers and states as its layers one by one, under their names;
the engine chooses how it computes them. By default every layer is a stage of its own.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from spikecore.api.core.layer import Layer, Params, Pass, Result, State, Tree
from spikecore.api.core.words import Array

if TYPE_CHECKING:
    from spikecore.api.core.engine import Engine


class Stage(abc.ABC):
    """Some neighbouring layers of a container, run in one go."""

    @property
    @abc.abstractmethod
    def covers(self) -> Tuple[str, ...]:
        """Names of the layers, in order."""

    @abc.abstractmethod
    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        """Send a sequence through the layers.

        Args:
            run: the pass, as the container sees it.
            params, buffers, state: the container's, by the names of its layers.
            x: what enters the first layer.

        Returns:
            what leaves the last layer; buffers, states and records by the names of the layers.
        """

    def explain(self, engine: Engine) -> str:
        """Description of how the stage runs on an engine, in one line."""
        return "layer by layer"


class Trees:
    """Collects the results of layers: the trees of a container, by the layers' names; empty ones are left out."""

    def __init__(self) -> None:
        self.buffers: Dict[str, Any] = {}
        self.state: Dict[str, Any] = {}
        self.recorded: Dict[str, Any] = {}

    def add(self, name: str, result: Result) -> Any:
        """Add the result of one layer under its name; returns the layer's outputs."""
        for kept, new in zip((self.buffers, self.state, self.recorded), result[1:]):
            if new:
                kept[name] = new
        return result.outputs

    def update(self, result: Result) -> Any:
        """Add the result of a stage, which has its layers' names already; returns the outputs."""
        for kept, new in zip((self.buffers, self.state, self.recorded), result[1:]):
            kept.update(new)
        return result.outputs

    def result(self, outputs: Any) -> Result:
        """All that was added, as the result of a container with these outputs."""
        return Result(outputs, Tree(self.buffers), State(self.state), Tree(self.recorded))


@dataclass(frozen=True)
class Alone(Stage):
    """A stage of a single layer: it runs the layer as it is."""

    name: str
    layer: Layer

    @property
    def covers(self) -> Tuple[str, ...]:
        return (self.name,)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        trees = Trees()
        return trees.result(trees.add(self.name, run_child(run, self.name, self.layer, params, buffers, state, x)))

    def explain(self, engine: Engine) -> str:
        return str(engine.explain(self.layer))


def run_child(
    run: Pass, name: str, layer: Layer, params: Params, buffers: Tree, state: Optional[Tree], x: Any
) -> Result:
    """Run a child of a container with its own part of parameters, buffers and state."""
    return layer.run(run.child(name), params[name], buffers.get(name, Tree()), below(name, layer, state), x)


def below(name: str, layer: Layer, state: Optional[Tree]) -> Optional[Tree]:
    """The part of a container's state that belongs to its layer ``name``; None means at rest."""
    return None if state is None or not layer.state else state[name]
