"""Stages: what a network becomes on an engine.

``Sequential`` hands its layers to ``Stages.lower`` and runs what comes back, one stage after the other. A stage covers
some neighbouring layers and gives what they would give one by one, under their names; how it does that is the engine's
business. On an engine that knows nothing better every layer is a stage.
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
    """Collects what layers return by their names, leaving out what is empty."""

    def __init__(self) -> None:
        self.buffers: Dict[str, Any] = {}
        self.state: Dict[str, Any] = {}
        self.recorded: Dict[str, Any] = {}

    def add(self, name: str, result: Result) -> Any:
        """Take in what a layer returned; returns its outputs."""
        for kept, new in zip((self.buffers, self.state, self.recorded), result[1:]):
            if new:
                kept[name] = new
        return result.outputs

    def update(self, result: Result) -> Any:
        """Take in what several layers returned by their names; returns the outputs."""
        for kept, new in zip((self.buffers, self.state, self.recorded), result[1:]):
            kept.update(new)
        return result.outputs

    def result(self, outputs: Any) -> Result:
        """Everything so far, with these outputs."""
        return Result(outputs, Tree(self.buffers), State(self.state), Tree(self.recorded))


@dataclass(frozen=True)
class Alone(Stage):
    """A layer by itself."""

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
    """A layer's own part of a container's state; None is at rest."""
    return None if state is None or not layer.state else state[name]
