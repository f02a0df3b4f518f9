"""Training by exact gradients, with the library's optimisers, schedules, batches and history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Collection, Dict, Mapping, NamedTuple, Optional, Union

import numpy as np

from spikecore import Adam, Group, get_engine
from spikecore.api.training.callbacks import Schedule
from spikecore.api.training.clipping import clipped, squares_of
from spikecore.api.training.history import History
from spikecore.api.training.optimizers import Optimizer
from spikecore.arguments import ArrayLike, Count, checked
from spikecore.eventprop.gradient import gradient, loss_and_slopes, values_of
from spikecore.eventprop.losses import EventLoss
from spikecore.eventprop.network import Arrays, Network
from spikecore.progress import Progress
from spikecore.samples import Dataset, Loader

CONSTANTS = ("tau_mem", "tau_syn", "threshold")  # which are not learned unless a group of the optimiser says so


class Fitted(NamedTuple):
    """The result of ``fit``.

    Attributes:
        params: the parameters after the last epoch, by name.
        history: a list with one dict per epoch, which prints as a table: epoch, loss, accuracy (of losses with class
            labels), silent (the share of neurons of all layers that fired for no sample of a batch), and val_loss and
            val_accuracy if there are validation data.
    """

    params: Arrays
    history: History


@checked
def evaluate(
    network: Network, params: Mapping[str, ArrayLike], data: Union[Dataset, Loader], loss: EventLoss
) -> Dict[str, float]:
    """The mean loss, and the accuracy if targets are class labels.

    Args:
        network: the network.
        params: arrays by name.
        data: spike times (samples, inputs), one per input, inf for none, and targets; or a ``Loader`` of such.
        loss: a loss of ``eventprop``.

    Raises:
        ValueError: an argument has another shape, or the loss does not fit the last layer.
        RuntimeError: the network has ``fused=True``, and Numba is not installed.
    """
    loader = data if isinstance(data, Loader) else Loader(data, batch_size=256, shuffle=False)
    samples, loss_sum, right = sum(loader.batch_sizes()), 0.0, 0
    network = network.for_many(samples)
    for inputs, targets in loader:
        values = values_of(network, network.run(params, inputs), loss)
        loss_sum += loss_and_slopes(loss, values, targets)[0] * len(inputs)
        right += int((loss.predict(values) == targets).sum()) if loss.labels else 0
    found = {"loss": loss_sum / samples}
    return {**found, "accuracy": right / samples} if loss.labels else found


@checked
def fit(
    network: Network,
    data: Union[Dataset, Loader],
    loss: EventLoss,
    *,
    params: Optional[Mapping[str, ArrayLike]] = None,
    optimizer: Optimizer = Adam(lr=5e-3),  # noqa: B008  (immutable)
    schedule: Optional[Schedule] = None,
    epochs: Count = 10,
    wake: float = 0.0,
    validation: Union[None, Dataset, Loader] = None,
    progress: Optional[bool] = None,
) -> Fitted:
    """Train a network by the exact gradient of its loss.

    Args:
        network: the network.
        data: spike times (samples, inputs), one per input, inf for none, and targets; or a ``Loader`` of such, which
            has the size of batches and the seed of their order. Default of these: 64 and 0.
        loss: a loss of ``eventprop``.
        params: where to begin; None, the default: ``network.init()``.
        optimizer: default Adam(lr=0.005); its ``clip_norm`` limits the gradient by all learned parameters together. Its
            groups say what is learned; without groups, weights and delays are, and time constants and thresholds are
            not: ``groups=(sc.Group("*", frozen=False),)`` learns all. A delay that an update makes negative is set to
            0; time constants and thresholds that leave their range are an error.
        schedule: a schedule (epoch, epochs) -> factor of the learning rate and of ``wake``, asked before each epoch;
            None, the default: constant.
        epochs: number of passes over the data, >= 0; default 10.
        wake: added to all weights of a neuron that fires for no sample of a batch, >= 0. Such a neuron has no gradient
            and would stay silent. A schedule scales it as it scales the learning rate: late in training, new spikes
            disturb a network that hardly learns any more. Weights that are not learned stay as they are. Default 0.
        validation: data to evaluate after each epoch; None, the default: none.
        progress: whether to show a bar; None, the default, shows one on a terminal and in a notebook.

    Source: of ``wake``, Göltz et al., 2021.

    Raises:
        ValueError: an argument is out of range, has another shape, or a group of the optimiser matches no parameter.
        RuntimeError: the network has ``fused=True``, and Numba is not installed.
    """
    if not 0.0 <= wake < np.inf:
        raise ValueError(f"eventprop.fit: wake={wake!r} must be a finite number >= 0")
    xp = get_engine("numpy", dtype="float64").xp
    given = network.init() if params is None else params
    network.layer_params(given)
    now: Arrays = {name: np.array(value, dtype=np.float64) for name, value in given.items()}
    constant = tuple(Group(name, frozen=True) for name in now if name.endswith(CONSTANTS))
    optimizer = replace(optimizer, groups=(*constant, *optimizer.groups))
    learned = {name: spec for name, spec in optimizer.by_name(now).items() if spec is not None}
    slots: Dict[str, Any] = {name: {} for name in learned}
    loader = data if isinstance(data, Loader) else Loader(data)
    samples, step, history = sum(loader.batch_sizes()), 0, History()
    network = network.for_many(epochs * samples)
    for epoch in range(epochs):
        factor = 1.0 if schedule is None else schedule(epoch, epochs)
        sums = {"loss": 0.0, "accuracy": 0.0, "silent": 0.0}
        bar = Progress(f"epoch {epoch + 1}/{epochs}", len(loader), progress)
        for inputs, targets in bar.over(loader):
            found = gradient(network, now, inputs, targets, loss)
            step += 1
            grads = {name: spec.existing(xp, now[name], found.grads[name]) for name, spec in learned.items()}
            grads = clipped(grads, squares_of(xp, grads), optimizer.clip_norm)
            for name, spec in learned.items():
                rate = optimizer.rate(spec, optimizer.lr * factor)
                now[name], slots[name] = spec.update(xp, now[name], grads[name], slots[name], step, rate)
                if name.endswith(".delay"):
                    now[name] = np.maximum(now[name], 0.0)
            sums["silent"] += _woken(network, now, found.run, wake * factor, learned) * len(inputs)
            sums["loss"] += found.loss * len(inputs)
            if loss.labels:
                sums["accuracy"] += (loss.predict(values_of(network, found.run, loss)) == targets).sum()
            bar.update(1, loss=found.loss)
        row = {"epoch": epoch + 1, **{name: float(value) / samples for name, value in sums.items()}}
        if not loss.labels:
            del row["accuracy"]
        if validation is not None:
            row.update({f"val_{name}": value for name, value in evaluate(network, now, validation, loss).items()})
        history.append(row)
    return Fitted(now, history)


def _woken(network: Network, params: Arrays, run: Any, wake: float, learned: Collection[str]) -> float:
    """The share of neurons that did not fire in a batch; their weights grow by ``wake`` if they are learned."""
    silent, neurons = 0, 0
    for number, layer in enumerate(network.layers):
        if layer.threshold is None:
            continue
        quiet = run.spikes[number].counts(layer.out_features).sum(0) == 0
        silent, neurons = silent + int(quiet.sum()), neurons + layer.out_features
        if wake and f"{number}.weight" in learned:
            params[f"{number}.weight"] = params[f"{number}.weight"] + wake * quiet[:, None]
    return silent / max(neurons, 1)
