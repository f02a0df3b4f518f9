"""The activity of a model's neurons for a few samples: states, firing rates, a raster and membranes as figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Set

import numpy as np

from spikecore import spikeplot
from spikecore.api.core.layer import Key, layer_name
from spikecore.api.core.parameters import Learn, values_of
from spikecore.api.layers.containers import walk
from spikecore.api.training.batching import Feed
from spikecore.base import Layer
from spikecore.installing import to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spikecore import Model

MOST_PANELS, MOST_TRACES, DPI = 4, 4, 130


@dataclass(frozen=True)
class RecordedActivity:
    """The neuron layers of a model and what they did for some samples.

    Args:
        model: the model.
        layers: the layers with a state, by dotted name, from input to output.
        spikes: outputs (time, batch, *features) of the layers that spike, by name.
        mem: membranes (time, batch, *features) of the layers that have one, by name.
        lengths: number of steps of each sample that count; None, the default: all.
    """

    model: Model
    layers: Dict[str, Layer]
    spikes: Dict[str, np.ndarray]
    mem: Dict[str, np.ndarray]
    lengths: Optional[Any] = None

    def rates(self) -> Dict[str, float]:
        """The firing rate of each layer that spikes, in spikes per neuron and step, over all samples."""
        return {name: float((spikes != 0)[self._counting(spikes)].mean()) for name, spikes in self.spikes.items()}

    def _counting(self, values: np.ndarray) -> Any:
        """The steps of each sample that count, as an index of (time, batch, *features)."""
        if self.lengths is None:
            return ...
        return np.arange(len(values))[:, None] < np.asarray(self.lengths)

    def _first(self, values: np.ndarray) -> np.ndarray:
        """The first sample (time, 1, *features), without padding behind it."""
        return values[: len(values) if self.lengths is None else int(self.lengths[0]), :1]

    def raster(self, title: str, classes: Sequence[str] = ()) -> Optional[Figure]:
        """A figure with the spikes of the last layers for the first sample; None if no layer spikes.

        Args:
            title: of the figure.
            classes: names of the neurons of an output layer with as many neurons.
        """
        spikes = {name: self._first(values) for name, values in [*self.spikes.items()][-MOST_PANELS:]}
        if not spikes:
            return None
        heights = [min(3.2, 1.1 + 0.018 * s[0, 0].size) for s in spikes.values()]
        figure = titled_figure(1.0 + sum(heights), title)
        panels = figure.subplots(len(spikes), 1, sharex=True, squeeze=False, height_ratios=heights).flat
        last = [*self.layers][-1]
        for ax, (name, values) in zip(panels, spikes.items()):
            own = name == last and len(classes) == values[0, 0].size
            spikeplot.raster(values, ax, batch_index=0, labels=classes if own else None, graded=True)
            ax.set_title(f"{self._titled(name)}: {ax.get_title()}", fontsize=10)
            ax.label_outer()
        return figure

    def membranes(self, title: str) -> Optional[Figure]:
        """A figure with the membranes of the most active neurons of the last layers for the first sample.

        Layers that spike are drawn with their thresholds and spikes. A readout such as ``LI`` has neither.

        Args:
            title: of the figure.

        Returns:
            the figure; None if no layer has a ``mem``.
        """
        names = [*self.mem][-MOST_PANELS:]
        if not names:
            return None
        shown = [(name, n) for name in names for n in self._most_active(name, MOST_TRACES // len(names))]
        figure = titled_figure(1.0 + 1.35 * len(shown), title)
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        handles: Dict[str, Any] = {}
        titled: Set[str] = set()
        for ax, (name, neuron) in zip(panels, shown):
            if name not in titled:  # once for all neurons of a layer
                ax.set_title(self._titled(name), fontsize=10)
            titled.add(name)
            spiking = name in self.spikes
            marks: Dict[str, Any] = (
                {"threshold": self._threshold(name), "spikes": self._first(self.spikes[name])} if spiking else {}
            )
            marks.update(axes=ax, neurons=[neuron], batch_index=0, graded=True)
            artists = spikeplot.traces(self._first(self.mem[name]), **marks)
            ax.label_outer()
            for label, lines in zip(("membrane", "threshold", "spike"), artists):
                handles.update((label, line) for line in lines)
        order = [label for label in ("threshold", "membrane", "spike") if label in handles]
        lines = [handles[label] for label in order]
        figure.legend(lines, order, frameon=False, fontsize=9, loc="outside lower center", ncols=3)
        return figure

    def _titled(self, name: str) -> str:
        return f"layer {name} ({layer_name(self.layers[name])})" if name else layer_name(self.layers[name])

    def _threshold(self, name: str) -> Any:
        field = getattr(self.layers[name], "threshold", None)
        if isinstance(field, Learn):
            return self.model.params()[f"{name}.threshold" if name else "threshold"]
        return None if field is None else values_of(field)

    def _most_active(self, name: str, count: int) -> List[int]:
        """The ``count`` neurons that start to fire most often; among equals those with the highest membrane."""
        mem = self._first(self.mem[name])
        fired = self._first(self.spikes.get(name, 0.0 * self.mem[name]))[:, 0].reshape(len(mem), -1) != 0
        onsets = fired[0] + (fired[1:] & ~fired[:-1]).sum(axis=0)
        peaks = mem[:, 0].reshape(len(mem), -1).max(axis=0)
        return sorted(np.lexsort((-peaks, -onsets))[:count].tolist())


def recorded(model: Model, inputs: Any, feed: Feed, lengths: Optional[Any] = None) -> RecordedActivity:
    """Run a model on some samples and record its neurons.

    Args:
        model: the model.
        inputs: the samples, as ``feed`` takes them.
        feed: how they become sequences.
        lengths: number of steps of each sample that count; None, the default: all.
    """
    x, steps = feed(model.engine, inputs, model.input_shape, Key((model.seed, "evaluate", "encoder")))
    states = model.trainer.executor.run(x, steps=steps, record=True).states
    layers = {name: layer for name, layer in walk(model.network) if layer.state and name in states}
    host = model.engine.to_numpy
    spikes = {name: host(states[name]["spikes"]) for name, layer in layers.items() if getattr(layer, "spiking", True)}
    mem = {name: host(states[name]["mem"]) for name in layers if "mem" in states[name]}
    return RecordedActivity(model, layers, spikes, mem, lengths)


def blank_figure(width: float, height: float) -> Figure:
    """A figure that pyplot does not know.

    Args:
        width, height: in inches.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"pictures need matplotlib: {to_install('plot')}") from error
    return Figure(figsize=(width, height), layout="constrained", dpi=DPI)


def titled_figure(height: float, title: str) -> Figure:
    """A blank figure, 7 inches wide, with a title."""
    figure = blank_figure(7.0, height)
    figure.suptitle(title, fontsize=11)
    return figure
