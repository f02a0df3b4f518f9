"""Training by exact gradients, with the library's optimisers and schedules."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from spikecore import Adam, get_engine
from spikecore.api.training.clipping import clipped
from spikecore.api.training.optimizers import Optimizer
from spikecore.arguments import ArrayLike, Count, Size, checked
from spikecore.eventprop.gradient import gradient, loss_and_slopes, values_of
from spikecore.eventprop.layer_kernel import pays
from spikecore.eventprop.losses import EventLoss
from spikecore.eventprop.network import Arrays, Network
from spikecore.progress import Progress
from spikecore.samples import Dataset, Loader

Schedule = Callable[..., float]


class Fitted(NamedTuple):
    """The result of ``fit``.

    Attributes:
        params: the parameters after the last epoch, by name.
        history: one row per epoch: epoch, loss, accuracy (of losses with class labels), silent (the share of neurons of
            all layers that fired for no sample of a batch), and val_loss and val_accuracy if there are validation data.
    """

    params: Arrays
    history: List[Dict[str, float]]


@checked
def evaluate(
    network: Network,
    params: Mapping[str, ArrayLike],
    data: Dataset,
    loss: EventLoss,
    *,
    batch_size: Size = 256,
    fused: Optional[bool] = None,
) -> Dict[str, float]:
    """The mean loss, and the accuracy if targets are class labels.

    Args:
        network: the network.
        params: arrays by name.
        data: spike times (samples, inputs), one per input, inf for none, and targets.
        loss: a loss of ``eventprop``.
        batch_size: number of samples at once, at least 1; default 256.
        fused: whether layers run in compiled kernels, see ``Network.run``; None, the default: where it pays off.

    Raises:
        ValueError: an argument has another shape, or the loss does not fit the last layer.
        RuntimeError: ``fused`` is true, and Numba is not installed.
    """
    fused = pays(_connections(network), len(data)) if fused is None else fused
    loss_sum, right = 0.0, 0
    for inputs, targets in Loader(data, batch_size=batch_size):
        values = values_of(network, network.run(params, inputs, fused=fused), loss)
        loss_sum += loss_and_slopes(loss, values, targets)[0] * len(inputs)
        right += int((loss.predict(values) == targets).sum()) if loss.labels else 0
    found = {"loss": loss_sum / len(data)}
    return {**found, "accuracy": right / len(data)} if loss.labels else found


@checked
def fit(
    network: Network,
    data: Dataset,
    loss: EventLoss,
    *,
    params: Optional[Mapping[str, ArrayLike]] = None,
    optimizer: Optimizer = Adam(lr=5e-3),  # noqa: B008  (immutable)
    schedule: Optional[Schedule] = None,
    epochs: Count = 10,
    batch_size: Size = 64,
    learn: Union[str, Sequence[str]] = ("*.weight", "*.delay"),
    wake: float = 0.0,
    validation: Optional[Dataset] = None,
    seed: Count = 0,
    progress: Optional[bool] = None,
    fused: Optional[bool] = None,
) -> Fitted:
    """Train a network by the exact gradient of its loss.

    Args:
        network: the network.
        data: spike times (samples, inputs), one per input, inf for none, and targets.
        loss: a loss of ``eventprop``.
        params: where to begin; None, the default: ``network.init(seed)``.
        optimizer: default Adam(lr=0.005); its ``clip_norm`` limits the gradient by all learned parameters together.
        schedule: a schedule (epoch, epochs) -> factor of the learning rate and of ``wake``, asked before each epoch;
            None, the default: constant.
        epochs: number of passes over the data, >= 0; default 10.
        batch_size: number of samples for one update, at least 1; default 64.
        learn: patterns of the names of parameters to learn; default all weights and delays. A delay that an update
            makes negative is set to 0; time constants and thresholds that leave their range are an error.
        wake: added to all weights of a neuron that fires for no sample of a batch, >= 0. Such a neuron has no gradient
            and would stay silent. A schedule scales it as it scales the learning rate: late in training, new spikes
            disturb a network that hardly learns any more. Weights that are not learned stay as they are. Default 0.
        validation: data to evaluate after each epoch; None, the default: none.
        seed: of the first parameters and of the order of samples, >= 0; default 0.
        progress: whether to show a bar; None, the default, shows one on a terminal and in a notebook.
        fused: whether layers run in compiled kernels, see ``Network.run``; None, the default: where it pays off.

    Source: of ``wake``, Göltz et al., 2021.

    Raises:
        ValueError: an argument is out of range, has another shape, or ``learn`` matches nothing.
        RuntimeError: ``fused`` is true, and Numba is not installed.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"eventprop.fit: optimizer={optimizer!r} must be an optimiser such as sc.Adam(lr=0.005)")
    if not 0.0 <= wake < np.inf:
        raise ValueError(f"eventprop.fit: wake={wake!r} must be a finite number >= 0")
    xp = get_engine("numpy", dtype="float64").xp
    given = network.init(seed) if params is None else params
    network.layer_params(given)
    now: Arrays = {name: np.array(value, dtype=np.float64) for name, value in given.items()}
    patterns = [learn] if isinstance(learn, str) else list(learn)
    names = [name for name in now if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not names:
        raise ValueError(f"eventprop.fit: learn={learn!r} matches no parameter; the network has {', '.join(now)}")
    learned = {name: spec for name, spec in optimizer.by_name(names).items() if spec is not None}
    slots: Dict[str, Any] = {name: {} for name in names}
    loader = Loader(data, batch_size=batch_size, shuffle=True, seed=seed)
    history: List[Dict[str, float]] = []
    fused = pays(_connections(network), epochs * len(data)) if fused is None else fused
    step = 0
    for epoch in range(epochs):
        factor = 1.0 if schedule is None else schedule(epoch, epochs)
        lr = optimizer.lr * factor
        sums = {"loss": 0.0, "accuracy": 0.0, "silent": 0.0}
        bar = Progress(f"epoch {epoch + 1}/{epochs}", len(loader), progress)
        for inputs, targets in bar.over(loader):
            found = gradient(network, now, inputs, targets, loss, fused=fused)
            step += 1
            grads = {name: spec.existing(xp, now[name], found.grads[name]) for name, spec in learned.items()}
            grads = clipped(xp, grads, optimizer.clip_norm)
            for name, spec in learned.items():
                rate = optimizer.rate(spec, lr)
                now[name], slots[name] = spec.update(xp, now[name], grads[name], slots[name], step, rate)
                if name.endswith(".delay"):
                    now[name] = np.maximum(now[name], 0.0)
            sums["silent"] += _woken(network, now, found.run, wake * factor, learned) * len(inputs)
            sums["loss"] += found.loss * len(inputs)
            if loss.labels:
                sums["accuracy"] += (loss.predict(values_of(network, found.run, loss)) == targets).sum()
            bar.update(1, loss=found.loss)
        row = {"epoch": epoch + 1, **{name: float(value) / len(data) for name, value in sums.items()}}
        if not loss.labels:
            del row["accuracy"]
        if validation is not None:
            after = evaluate(network, now, validation, loss, fused=fused)
            row.update({f"val_{name}": value for name, value in after.items()})
        history.append(row)
    return Fitted(now, history)


def _connections(network: Network) -> int:
    return sum(layer.in_features * layer.out_features for layer in network.layers)


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
