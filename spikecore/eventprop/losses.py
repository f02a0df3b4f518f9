"""Losses of spike times and of membranes that do not fire, in words: their derivatives are those of the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from spikecore.api.core.words import Array
from spikecore.api.functional.loss import nll
from spikecore.arguments import Checked, argument_kind
from spikecore.base import Engine
from spikecore.printing import Concise

Reads = Literal["times", "counts", "maxima", "means"]


class EventLoss(Concise, Checked):
    """Base of the losses of ``spikecore.eventprop``.

    A subclass writes ``per_sample`` in words, and ``reads`` one of these (batch, neurons): "times" of first spikes (the
    network's duration for a neuron that does not fire), "counts" of spikes, each with its ``share``, "maxima" of
    membranes, or their "means" over time.
    """

    reads: ClassVar[Reads] = "times"
    labels: ClassVar[bool] = True

    def per_sample(self, engine: Engine, values: Array, targets: Array) -> Any:
        """The loss of each sample, (batch,); targets are one-hot codes, or times for a loss without labels."""
        raise NotImplementedError

    def share(self, engine: Engine, left: Array) -> Any:
        """Share with which a spike counts, by its time before the end, in words, for a loss that reads "counts"."""
        raise NotImplementedError

    def code(self, targets: Any, batch: int, neurons: int) -> np.ndarray:
        """Targets as an array (batch, neurons): a one-hot code of labels, or the times themselves.

        Raises:
            ValueError: there are more or fewer targets than samples, or a label is no class.
        """
        name, targets = type(self).__name__, np.asarray(targets)
        if not self.labels:
            if targets.shape != (batch, neurons) or targets.dtype.kind not in "iuf" or not np.isfinite(targets).all():
                raise ValueError(f"{name}: targets of shape {targets.shape} must be finite numbers, {(batch, neurons)}")
            return targets.astype(np.float64)
        if targets.shape != (batch,) or targets.dtype.kind not in "iu":
            raise ValueError(f"{name}: targets of shape {targets.shape} must be whole numbers, {(batch,)}")
        if batch and not 0 <= targets.min() <= targets.max() < neurons:
            raise ValueError(f"{name}: targets from {targets.min()} to {targets.max()} must be in [0, {neurons})")
        return np.eye(neurons)[targets]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The class of each sample: the first to fire, or the highest value."""
        return values.argmin(1) if self.reads == "times" else values.argmax(1)


argument_kind(EventLoss, "a loss of spikecore.eventprop, e.g. first_spike_loss(tau=0.5)")


@dataclass(frozen=True)
class first_spike_loss(EventLoss):
    """Cross-entropy of the first spike times, t_n, and a penalty of late ones.

        -log softmax(-t / tau)_y + late (exp(t_y / tau_late) - 1)

    A neuron that does not fire counts as firing at the network's duration, which no weight changes: it has no gradient.

    Args:
        tau: the time by which the right neuron has to be earlier, > 0.
        late: factor of the penalty, >= 0; default 0.
        tau_late: its time constant, > 0; default 1.

    Source: Göltz et al., Fast and energy-efficient neuromorphic deep learning with first-spike times, 2021; Wunderlich
    & Pehle, 2021.

    Raises:
        ValueError: an argument is out of range.
    """

    tau: float
    late: float = 0.0
    tau_late: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tau", "tau_late"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"first_spike_loss: {name}={getattr(self, name)!r} must be > 0")
        if not self.late >= 0.0:
            raise ValueError(f"first_spike_loss: late={self.late!r} must be >= 0")

    def per_sample(self, engine: Engine, values: Array, targets: Array) -> Any:
        xp = engine.xp
        loss = nll(engine, values * (-1.0 / self.tau), targets)
        if self.late:
            right = xp.sum(targets * values, axis=-1)
            loss = loss + self.late * (xp.exp(right * (1.0 / self.tau_late)) - 1.0)
        return loss


@dataclass(frozen=True)
class spike_time_loss(EventLoss):
    """Squared distance of the first spike times from target times: sum_n (t_n - target_n)^2 / 2.

    Targets are times (batch, neurons). A neuron that does not fire counts as firing at the network's duration.
    """

    labels: ClassVar[bool] = False

    def per_sample(self, engine: Engine, values: Array, targets: Array) -> Any:
        gap = values - targets
        return 0.5 * engine.xp.sum(gap * gap, axis=-1)


@dataclass(frozen=True)
class spike_count_loss(EventLoss):
    """Cross-entropy of smooth spike counts c_n: -log softmax(c)_y.

        c_n = sum_k 1 - exp(-(duration - t_k) / tau)

    Early spikes count almost 1; at the network's end a spike counts 0. So a count does not jump where a spike passes
    the end, and has a derivative by each spike's time. It does jump where a peak touches the
    threshold. ``accuracy`` asks for the largest of these counts.

    Args:
        tau: how long before the end a spike counts 63 %, > 0, in the unit of the network's times.

    Source: M. van Rossum, A novel spike distance, Neural Computation 2001, for spikes seen through an exponential; c_n
    is the integral of that.

    Raises:
        ValueError: ``tau`` is out of range.
    """

    tau: float
    reads: ClassVar[Reads] = "counts"

    def __post_init__(self) -> None:
        if not self.tau > 0.0:
            raise ValueError(f"spike_count_loss: tau={self.tau!r} must be > 0")

    def share(self, engine: Engine, left: Array) -> Any:
        return 1.0 - engine.xp.exp(left * (-1.0 / self.tau))

    def per_sample(self, engine: Engine, values: Array, targets: Array) -> Any:
        return nll(engine, values, targets)


@dataclass(frozen=True)
class max_membrane_loss(EventLoss):
    """Cross-entropy of the highest membrane over time of neurons that do not fire: -log softmax(max_t V)_y.

    The last layer needs ``threshold=None``. A membrane begins at 0, so its highest is at least 0. A neuron whose
    membrane stays below 0 has no gradient, like a rectifier below 0: give the last layer first weights of a positive
    mean, ``Layer(..., mean=0.5)``.

    Source: Wunderlich & Pehle, 2021, for MNIST.
    """

    reads: ClassVar[Reads] = "maxima"

    def per_sample(self, engine: Engine, values: Array, targets: Array) -> Any:
        return nll(engine, values, targets)


@dataclass(frozen=True)
class mean_membrane_loss(EventLoss):
    """Cross-entropy of the mean membrane over time of neurons that do not fire: -log softmax(mean_t V)_y.

    The last layer needs ``threshold=None``. All spikes of the layer before count. For ``max_membrane_loss`` only
    those before the highest membrane count.

    Source: Nowotny, Turner & Knight, Loss shaping enhances exact gradient learning with EventProp in spiking neural
    networks, 2022.
    """

    reads: ClassVar[Reads] = "means"

    def per_sample(self, engine: Engine, values: Array, targets: Array) -> Any:
        return nll(engine, values, targets)
