"""``Sample``: what trackers look at beside the history, firing rates and pictures of some samples."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Dict, NamedTuple, Optional, Tuple

from spikecore.api.core.layer import Key
from spikecore.api.training.batching import Encoder, Feed, check_finite
from spikecore.api.training.data import lengths_of
from spikecore.api.training.history import Row
from spikecore.arguments import ArrayLike, Checked, Count, Size, argument_kind
from spikecore.base import engine_of
from spikecore.printing import Concise
from spikecore.tracking.layers import DPI, blank_figure, recorded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spikecore import Model

RATE = "rate/"  # in front of a layer's name: the column of its firing rate


class Seen(NamedTuple):
    """The results of a ``Sample`` after an epoch: firing rates by column, pictures (PNG) by name."""

    rates: Row
    pictures: Dict[str, bytes]


@dataclass(eq=False)
class Sample(Concise, Checked):
    """Samples that trackers run through the model after an epoch, for firing rates and pictures.

    Columns ``rate/NAME`` have the firing rate of each layer that spikes: spikes per neuron and step, averaged over all
    samples. The pictures "raster" and "membranes" show the first sample: spikes, and membranes with thresholds. Drawing
    both takes about half a second. Several trackers may share one ``Sample``, which then does its work once.

    Args:
        x: the samples, as ``Model.fit`` takes a batch; some 32 are enough. All states of all layers are kept for them.
        num_steps: number of time steps of samples without a time axis; None, the default, for sequences.
        encoder: as in ``Model.fit``; None, the default: a current that is constant in time.
        time_axis: the time axis of samples that have one; default 0.
        lengths: how many steps of each sample count, (batch,); None, the default: all.
        pictures_every: after which epochs to draw: the first, and the multiples of this number; default 10. 0 draws
            nothing; matplotlib is not needed then.
        title: of the pictures, before the epoch; default "first sample".

    Raises:
        ValueError: a sample holds NaN or infinity, or ``lengths`` does not fit the samples.
        ImportError: there are pictures to draw, and matplotlib is missing.
    """

    x: ArrayLike
    num_steps: Optional[Size] = None
    encoder: Optional[Encoder] = None
    time_axis: int = 0
    lengths: Optional[ArrayLike] = None
    pictures_every: Count = 10
    title: str = "first sample"
    _last: Tuple[Optional[Row], Seen] = field(default=(None, Seen({}, {})), init=False, repr=False)

    def __post_init__(self) -> None:
        engine = engine_of(self.x)
        check_finite(engine, engine.asarray(self.x), "")
        self.feed = Feed(self.num_steps, self.encoder, self.time_axis)
        if self.lengths is not None:
            x, steps = self.feed(engine, self.x, None, Key(("sample",)))
            self.lengths = lengths_of(engine, self.lengths, x, steps)
        if self.pictures_every:
            blank_figure(1.0, 1.0)

    def seen(self, model: Model, row: Row) -> Seen:
        """Rates, and perhaps pictures, after the epoch of ``row``."""
        if self._last[0] is not row:
            self._last = (row, self._look(model, row["epoch"]))
        return self._last[1]

    def _look(self, model: Model, epoch: int) -> Seen:
        layers = recorded(model, self.x, self.feed, self.lengths)
        rates = {f"{RATE}{name or 'network'}": rate for name, rate in layers.rates().items()}
        if not self.pictures_every or (epoch != 1 and epoch % self.pictures_every):
            return Seen(rates, {})
        title = f"{self.title}, epoch {epoch}"
        figures = {"raster": layers.raster(title), "membranes": layers.membranes(title)}
        return Seen(rates, {name: png_of(figure) for name, figure in figures.items() if figure is not None})


argument_kind(Sample)


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()
