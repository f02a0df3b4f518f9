"""Agreement of a converted network with the network it was made of, by the number of time steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch

from spikecore.convert.batches import batches_of, parts_of, placed
from spikecore.convert.errors import ConversionError
from spikecore.convert.reading import observe
from spikecore.printing import columns, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from spikecore.convert.conversion import Conversion

SPAN = 8  # time steps of one pass, which keeps the outputs of all layers for so many
OUTPUT = "output"


@dataclass(frozen=True)
class LayerError:
    """The error of one layer.

    Args:
        place: the activation of the ANN, e.g. "layer 2 (ReLU)"; "output": the network's output.
        layer: dotted name of the neurons; "" for the output.
        rate: mean number of spikes per neuron and step; None for the output.
        errors: for each number of steps |mean over time - ANN| / |ANN|, with the norms over the first batch.
    """

    place: str
    layer: str
    rate: Optional[float]
    errors: Tuple[float, ...]


@dataclass(frozen=True)
class ConversionReport:
    """Accuracy and errors of a converted network by the number of time steps.

    Args:
        num_steps: the numbers of time steps.
        accuracy: the model's accuracy after each, in [0, 1]; empty without labels.
        ann_accuracy: the ANN's; None without labels.
        agreement: share of the samples for which both predict the same class, after each number of steps.
        layers: the errors of the layers, and last that of the output.
        samples: number of samples.
    """

    num_steps: Tuple[int, ...]
    accuracy: Tuple[float, ...]
    ann_accuracy: Optional[float]
    agreement: Tuple[float, ...]
    layers: Tuple[LayerError, ...]
    samples: int

    def _table(self) -> Tuple[Tuple[str, ...], List[Tuple[str, ...]]]:
        """The head and the rows."""
        head = ("", "rate", *(f"T={steps}" for steps in self.num_steps))
        rows = []
        if self.accuracy:
            rows.append(("accuracy", "", *(f"{100 * share:.2f} %" for share in self.accuracy)))
        rows.append(("same class as the ANN", "", *(f"{100 * share:.2f} %" for share in self.agreement)))
        for one in self.layers:
            rate = "" if one.rate is None else f"{one.rate:.3f}"
            rows.append((f"error of {one.place}", rate, *(f"{error:.3f}" for error in one.errors)))
        return head, rows

    @property
    def _title(self) -> str:
        ann = "" if self.ann_accuracy is None else f"; the ANN's accuracy is {100 * self.ann_accuracy:.2f} %"
        return f"{self.samples} samples after T time steps{ann}"

    def __str__(self) -> str:
        head, rows = self._table()
        return f"{self._title}\n{columns([head, *rows])}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head, rows = self._table()
        return table(self._title, rows, head)

    def plot(self, axes: Union[Axes, Sequence[Axes], None] = None) -> Dict[str, Line2D]:
        """Draw accuracy and errors by the number of time steps: ``spikeplot.conversion_curves``."""
        from spikecore.spikeplot import conversion_curves

        return conversion_curves(self, axes)


def report(conversion: Conversion, data: Iterable[Any], most: int) -> ConversionReport:
    """The result of ``Conversion.report``."""
    times = tuple(sorted({2**i for i in range(most.bit_length())} | {most}))
    counts = _Counts(len(times))
    layers: Tuple[LayerError, ...] = ()
    like = next(conversion.ann.parameters(), torch.zeros(0))
    for number, batch in enumerate(batches_of(data)):
        x = placed(batch, like)
        exact: Dict[str, Any] = {}
        wanted = _host(observe(conversion.ann, x, exact.__setitem__ if number == 0 else _unseen))
        sums, rates = _run(conversion, x, times, record=number == 0)
        counts.add(wanted, sums, parts_of(batch)[1])
        if number == 0:
            layers = _errors(conversion, exact, rates, wanted, sums, times)
    if not counts.samples:
        raise ConversionError("report: data gave no batch")
    accuracy, agreement = counts.correct / max(1, counts.labelled), counts.same / counts.samples
    known = counts.labelled > 0
    return ConversionReport(
        times,
        tuple(map(float, accuracy)) if known else (),
        counts.ann / counts.labelled if known else None,
        tuple(map(float, agreement)),
        layers,
        counts.samples,
    )


class _Counts:
    """Number of samples classified right, and like the ANN does, after each number of steps."""

    def __init__(self, times: int) -> None:
        self.correct, self.same = np.zeros(times), np.zeros(times)
        self.ann = self.samples = self.labelled = 0

    def add(self, wanted: Any, sums: List[Any], labels: Any) -> None:
        theirs = wanted.argmax(axis=-1)
        ours = np.stack([total.argmax(axis=-1) for total in sums])
        self.samples += len(theirs)
        self.same += (ours == theirs).mean(axis=tuple(range(2, ours.ndim))).sum(axis=1)
        if labels is not None:
            labels = torch.as_tensor(labels).cpu().numpy().reshape(-1)
            if labels.shape != theirs.shape:
                raise ConversionError(
                    f"report: {labels.size} labels for outputs {wanted.shape}; labels are class numbers, one for each "
                    "sample; one-hot ones become such by labels.argmax(-1)"
                )
            self.labelled += len(labels)
            self.ann += int((theirs == labels).sum())
            self.correct += (ours == labels).sum(axis=1)


def _unseen(name: str, value: torch.Tensor) -> None:
    """Keep nothing."""


def _run(conversion: Conversion, x: Any, times: Sequence[int], record: bool) -> Tuple[List[Any], Dict[str, List[Any]]]:
    """The sum of the outputs after each number of steps, and with ``record`` that of each layer's spikes."""
    model, names = conversion.model, tuple(one.layer for one in conversion.layers) if record else ()
    inputs = model.engine.asarray(_host(x))
    state, done, total, sums = None, 0, 0.0, []
    counts: Dict[str, Any] = dict.fromkeys(names, 0.0)
    rates: Dict[str, List[Any]] = {name: [] for name in names}
    for time in times:
        while done < time:
            span = min(SPAN, time - done)
            out = model(inputs, num_steps=span, state=state, record=names if record else False)
            state, done = out.state, done + span
            total = total + model.engine.to_numpy(out.spikes).sum(axis=0, dtype=np.float64)
            for name in names:
                spikes = model.engine.to_numpy(out.states[name].spikes)
                counts[name] = counts[name] + spikes.sum(axis=0, dtype=np.float64)
        sums.append(total)
        for name in names:
            rates[name].append(counts[name] / done)
    return sums, rates


def _errors(
    conversion: Conversion, exact: Dict[str, Any], rates: Any, wanted: Any, sums: List[Any], times: Sequence[int]
) -> Tuple[LayerError, ...]:
    found = []
    for one in conversion.layers:
        theirs = _host(exact[one.node])
        scale = np.asarray(one.threshold).reshape(1, -1, *(1,) * (theirs.ndim - 2))
        errors = tuple(_relative(rate * scale, theirs) for rate in rates[one.layer])
        found.append(LayerError(one.place, one.layer, float(rates[one.layer][-1].mean()), errors))
    outputs = tuple(_relative(total / time, wanted) for total, time in zip(sums, times))
    return (*found, LayerError(OUTPUT, "", None, outputs))


def _relative(ours: Any, theirs: Any) -> float:
    size = float(np.linalg.norm(theirs.ravel()))
    return float(np.linalg.norm((ours - theirs).ravel())) / size if size else float("nan")


def _host(x: Any) -> Any:
    return x.detach().cpu().double().numpy()
