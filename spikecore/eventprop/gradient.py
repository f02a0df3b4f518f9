"""The exact gradient of a loss of spike times, by EventProp or by torch's autograd."""

from __future__ import annotations

from typing import Any, Dict, Literal, Mapping, NamedTuple, Tuple, Union, get_args

import numpy as np

from spikecore import get_engine
from spikecore.arguments import ArrayLike, checked, unknown
from spikecore.eventprop.layer_kernel import pull
from spikecore.eventprop.losses import EventLoss, Reads
from spikecore.eventprop.network import Network, Run
from spikecore.eventprop.spikes import Spikes

By = Literal["numpy", "torch"]
OVERFLOW = "give it larger time constants; one that is small against times makes exp overflow"


class Gradient(NamedTuple):
    """A loss and its exact derivatives.

    Attributes:
        loss: the mean over the batch.
        grads: its derivatives by the parameters, by name.
        inputs: its derivatives by the times of the input's spikes, in the order of ``Spikes``: (batch, spikes).
        run: the simulation of the network.
    """

    loss: float
    grads: Dict[str, np.ndarray]
    inputs: np.ndarray
    run: Run


def values_of(network: Network, run: Run, loss: EventLoss) -> np.ndarray:
    """The values of a run that a loss reads, (batch, neurons).

    Raises:
        ValueError: the last layer fires and the loss reads membranes, or the other way round; or a loss of your own
            reads something else.
    """
    if loss.reads not in get_args(Reads):
        raise ValueError(f"eventprop: {unknown(f'{type(loss).__name__}.reads', loss.reads, get_args(Reads))}")
    fires = network.layers[-1].threshold is not None
    if fires != (loss.reads in ("times", "counts")):
        what = (
            "needs a last layer with threshold=None" if fires else "needs a last layer that fires: give it a threshold"
        )
        raise ValueError(f"eventprop: loss={loss!r} {what}")
    if loss.reads == "counts":
        left = _left(network, run)
        return run.spikes[-1].sums(_shares(loss, left, np.zeros(left.shape))[0], network.layers[-1].out_features)
    if loss.reads == "times":
        return np.minimum(run.times, network.duration)
    return run.maxima if loss.reads == "maxima" else run.means


def _left(network: Network, run: Run) -> np.ndarray:
    """Time from the spikes of the last layer to the end, (batch, spikes); 0 where there is none."""
    return network.duration - np.minimum(run.spikes[-1].times, network.duration)


def _shares(loss: EventLoss, left: np.ndarray, by_shares: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The shares of spikes in the count, and the derivatives by the time left, by the rules of the words."""
    engine = get_engine("numpy", dtype="float64")

    def objective(lifted: Any, constant: Any) -> Tuple[Any, Any]:
        shares = loss.share(engine, lifted)
        return engine.xp.sum(shares * constant), shares

    _, shares, slopes = engine.value_and_grad(objective, left, by_shares)
    return np.asarray(shares), np.asarray(slopes)


def loss_and_slopes(loss: EventLoss, values: np.ndarray, targets: ArrayLike) -> Tuple[float, np.ndarray]:
    """The mean loss, and its derivatives by what it reads, by the rules of the words it is written in.

    Raises:
        ValueError: there are no samples, or the loss or a derivative is not finite.
    """
    if not len(values):
        raise ValueError("eventprop: inputs have no samples, so there is no mean loss")
    engine = get_engine("numpy", dtype="float64")
    code = loss.code(targets, *values.shape)

    def objective(lifted: Any, constant: Any) -> Tuple[Any, Tuple[()]]:
        return engine.xp.mean(loss.per_sample(engine, lifted, constant)), ()

    value, _, slopes = engine.value_and_grad(objective, values, code)
    if not (np.isfinite(value) and np.isfinite(slopes).all()):
        raise ValueError(f"eventprop: loss={loss!r} is {float(value)}, or its derivative is not finite: {OVERFLOW}")
    return float(value), np.asarray(slopes)


@checked
def gradient(
    network: Network,
    params: Mapping[str, ArrayLike],
    inputs: Union[Spikes, ArrayLike],
    targets: ArrayLike,
    loss: EventLoss,
    *,
    engine: By = "numpy",
) -> Gradient:
    """The exact gradient of a loss by weights, time constants, thresholds, delays and the times of the input's spikes.

    It is that of the network as it fires: which spikes there are does not change in a small neighbourhood, their times
    do. A neuron that does not fire has no gradient; and the loss jumps, without a gradient that says so, where a change
    of the parameters creates or deletes a spike.

    Args:
        network: the network.
        params: arrays by name, as ``network.init`` gives them.
        inputs: ``eventprop.Spikes``; or times (batch, inputs), one spike for each input, inf for none.
        targets: class labels (batch,), or what the loss compares with.
        loss: a loss of ``eventprop``.
        engine: "numpy", the default: EventProp, backwards from event to event (Wunderlich & Pehle, 2021). "torch":
            autograd through the equation that every spike time solves, which is another way to the same numbers;
            slower, to check with.

    Raises:
        ValueError: an argument has another shape or is out of range, the loss does not fit the last layer, or the loss
            or a derivative is not finite.
        RuntimeError: the network has ``fused=True``, and Numba is not installed.
        TypeError: ``loss`` is none of ``eventprop``.
    """
    if engine not in get_args(By):
        raise ValueError(f"eventprop.gradient: {unknown('engine', engine, get_args(By))}")
    layers = network.layer_params(params)
    run = network.run(params, inputs)
    values = values_of(network, run, loss)
    value, slopes = loss_and_slopes(loss, values, targets)
    if engine == "torch":
        from spikecore.eventprop.autograd import gradients

        grads, by_inputs = gradients(network, layers, network.spikes_of(inputs), run, loss, targets)
        return _finite(Gradient(value, grads, by_inputs, run))
    last = run.spikes[-1]
    by_times, by_maxima, by_integrals = (np.zeros(shape) for shape in (last.times.shape, values.shape, values.shape))
    if loss.reads == "times":
        times, places = last.first(values.shape[1])
        rows, neurons = np.nonzero(np.isfinite(times))
        by_times[rows, places[rows, neurons]] = slopes[rows, neurons]
    elif loss.reads == "counts":
        by_shares = np.where(last.present, np.take_along_axis(slopes, last.sources, 1), 0.0)
        by_times = -_shares(loss, _left(network, run), by_shares)[1]
    elif loss.reads == "maxima":
        by_maxima = slopes
    else:
        by_integrals = slopes / network.duration
    found: Dict[str, np.ndarray] = {}
    for number in reversed(range(len(layers))):
        pulled = pull(layers[number], run.records[number], by_times, by_maxima, by_integrals)
        found.update({f"{number}.{name}": np.asarray(each) for name, each in pulled.params.items()})
        by_times = pulled.times
        if number:
            by_maxima = by_integrals = np.zeros(run.records[number - 1].maxima.shape)
    return _finite(Gradient(value, {name: found[name] for name in params}, by_times, run))


def _finite(found: Gradient) -> Gradient:
    """The gradient as it is.

    Raises:
        ValueError: a derivative is not finite; the message names it.
    """
    for name, value in {**found.grads, "inputs": found.inputs}.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"eventprop.gradient: the derivative by {name!r} is not finite: a peak only just touches the "
                "threshold, where there is none, or constants or weights are extreme: change the parameters a little"
            )
    return found
