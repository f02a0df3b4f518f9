"""``votes_of``: which neuron of a model stands for which class, counted on samples with labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Iterable, List, Optional

from spikecore.api.core.engines import engine_of
from spikecore.api.core.host import float64, host
from spikecore.api.core.layer import ShapeError
from spikecore.api.functional.accuracy import hit_rate
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers, check_labels, one_hot, targets_on
from spikecore.api.learning.learning import UNSUPERVISED
from spikecore.api.learning.votes import neuron_labels, neuron_shares, vote, weighted_vote
from spikecore.api.training.batching import Encoder
from spikecore.arguments import ArrayLike, Checked, Size, checked
from spikecore.printing import call

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output
    from spikecore.api.training.model import Model


@dataclass(frozen=True, eq=False, repr=False)
class Votes(Checked):
    """Votes of the neurons of the last layer for the class of a sample. ``votes_of`` makes them.

    It is a metric: ``model.evaluate(x, y, metric={"accuracy": votes})`` gives the fraction of samples whose class has
    the most votes.

    Args:
        labels: the class that each neuron stands for, (neurons,), as from ``neuron_labels``.
        shares: how much each neuron says about each class, (neurons, classes), as from ``neuron_shares``.
        weighted: True, the default: each spike votes in proportion to the shares of its neuron, ``weighted_vote``.
            False: each neuron votes for its label, ``vote``, as in the paper.

    Raises:
        ShapeError: there is not a label and a row of shares for each neuron.
        ValueError: a label is no class, or shares are not finite.
    """

    labels: ArrayLike
    shares: ArrayLike
    weighted: bool = True

    reads: ClassVar[str] = "spikes"

    def __post_init__(self) -> None:
        labels, shares = float64(self.labels), float64(self.shares)
        if shares.ndim != 2 or 0 in shares.shape:
            raise ShapeError(f"Votes: shares of shape {shares.shape}, expected (neurons, classes)")
        if labels.shape != shares.shape[:1]:
            raise ShapeError(
                f"Votes: labels of shape {labels.shape}, expected ({shares.shape[0]},), one for each neuron"
            )
        if not bool(host().xp.all(host().xp.isfinite(shares))):
            raise ValueError("Votes: shares hold NaN or infinity, which are no parts of spikes")
        for i, label in enumerate(labels.tolist()):
            if label not in range(shares.shape[1]):
                raise ValueError(f"Votes: labels[{i}] = {label:g} must be a class, in [0, {shares.shape[1]})")

    def classes(self, out: Output, lengths: Optional[ArrayLike] = None) -> Any:
        """The class of each sample of an output.

        Args:
            out: an output of the model, whose spikes (time, batch, *neurons) are counted.
            lengths: how many steps of each sample count, (batch,); None, the default: all.

        Returns:
            Classes (batch,), int64, an array of the engine of ``out``.
        """
        fired, shares = _counts(out, lengths), host().asarray(self.shares)
        if self.weighted:
            return weighted_vote(fired, shares)
        return vote(fired, self.labels, int(shares.shape[1]))

    def __call__(self, out: Output, targets: ArrayLike, lengths: Optional[ArrayLike] = None) -> float:
        """The fraction of samples whose class is right; ``targets`` are class labels (batch,).

        A class that had no samples when the votes were counted is never right.
        """
        engine, classes = engine_of(out.spikes), int(host().asarray(self.shares).shape[1])
        said, labels = self.classes(out, lengths), targets_on(engine, targets)
        check_labels(engine, labels, (int(said.shape[0]),), None)
        return hit_rate(engine, one_hot(engine, said, classes), labels)

    def __repr__(self) -> str:
        neurons, classes = host().asarray(self.shares).shape
        return call("Votes", [f"{neurons} neurons", f"{classes} classes", f"weighted={self.weighted}"])


@checked
def votes_of(
    model: Model,
    data: Iterable[Any],
    targets: Optional[ArrayLike] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    *,
    batch_size: Optional[Size] = None,
    num_classes: Optional[Size] = None,
    weighted: bool = True,
    progress: Optional[bool] = None,
) -> Votes:
    """Find out which neuron of the last layer stands for which class, by the spikes for samples with labels.

    For networks that have learned without labels, as by ``Plasticity``. The model stays as it is.

    Args:
        model: the model.
        data: batches (inputs, labels), e.g. a ``Loader``; or, with ``targets``, the inputs of all samples.
        targets: class labels of the samples, (samples,), if ``data`` is an array.
        num_steps, encoder, time_axis: as in ``Model.fit``.
        batch_size: samples at a time, if ``data`` is an array; default 64.
        num_classes: number of classes; None, the default: the highest label and one.
        weighted: how the neurons vote, as in ``Votes``; default True.
        progress: as in ``Model.evaluate``.

    Returns:
        ``Votes``, a metric.

    Raises:
        ShapeError, ValueError, TypeError: bad input, as in ``Model.evaluate``; or a label is no class.

    Source: Diehl & Cook, Unsupervised learning of digit recognition using spike-timing-dependent plasticity, 2015.

    Example:
        >>> votes = plasticity.votes_of(model, x_train, y_train, num_steps=50, encoder=spikegen.rate)
        >>> model.evaluate(x_test, y_test, metric={"accuracy": votes}, num_steps=50, encoder=spikegen.rate)
    """
    tally, feeding = _Tally(), {"num_steps": num_steps, "encoder": encoder, "time_axis": time_axis}
    options: Any = {**feeding, "targets": targets, "batch_size": batch_size, "progress": progress}
    model.evaluate(data, loss=UNSUPERVISED, metric={"rate": tally}, **options)
    counts, labels = (host().xp.concat(parts, axis=0) for parts in (tally.counts, tally.labels))
    classes = int(labels.max()) + 1 if num_classes is None else num_classes
    return Votes(neuron_labels(counts, labels, classes), neuron_shares(counts, labels, classes), weighted)


@dataclass
class _Tally:
    """A metric that keeps the spikes of each neuron for each sample, and the labels, as NumPy arrays."""

    counts: List[Any] = field(default_factory=list)
    labels: List[Any] = field(default_factory=list)

    reads: ClassVar[str] = "spikes"

    def __call__(self, out: Output, targets: Any, lengths: Any = None) -> float:
        engine = engine_of(out.spikes)
        if targets is None:
            raise TypeError("votes_of needs the classes of the samples, and there are no targets")
        self.counts.append(engine.to_numpy(_counts(out, lengths)))
        self.labels.append(engine.to_numpy(targets))
        return float(self.counts[-1].mean())


def _counts(out: Output, lengths: Any) -> Any:
    """The spikes of each neuron for each sample: (batch, neurons)."""
    engine = engine_of(out.spikes)
    fired = as_numbers(engine, out.spikes)
    total = Steps(engine, fired, lengths).sum(fired)
    return engine.xp.reshape(total, (total.shape[0], -1))
