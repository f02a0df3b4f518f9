"""The same network in time steps: a ``Model`` of ``Synaptic`` neurons, and what a surrogate makes of its gradient.

Over one step of dt without spikes the neurons of both are the same, with alpha = exp(-dt / tau_syn), beta = exp(-dt /
tau_mem) and weights times ``flow``'s gain c(dt): ``Synaptic`` adds its current to the membrane as it is.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Union

import numpy as np

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineName, get_engine
from spikecore.api.functional.loss import ce_max_membrane_loss
from spikecore.api.layers.containers import Sequential
from spikecore.api.layers.linear import Linear
from spikecore.api.learning.gradients import bptt
from spikecore.api.neurons.synaptic import Synaptic
from spikecore.api.surrogate.base import Surrogate
from spikecore.api.surrogate.smooth import fast_sigmoid
from spikecore.api.training.model import Model
from spikecore.arguments import ArrayLike, checked
from spikecore.eventprop.gradient import gradient
from spikecore.eventprop.losses import max_membrane_loss
from spikecore.eventprop.membrane import flow
from spikecore.eventprop.network import Network
from spikecore.eventprop.spikes import Spikes
from spikecore.printing import columns


def _steps(network: Network, dt: float) -> int:
    if not 0.0 < dt <= network.duration:
        raise ValueError(f"eventprop: dt={dt!r} must be > 0 and at most the duration, {network.duration}")
    return int(round(network.duration / dt))


@checked
def to_model(
    network: Network,
    params: Mapping[str, ArrayLike],
    dt: float,
    *,
    surrogate: Surrogate = fast_sigmoid(),  # noqa: B008  (immutable)
    engine: Union[None, EngineName, Engine] = "numpy",
) -> Model:
    """The network in steps of ``dt``: an ``sc.Model`` of ``Linear`` and ``Synaptic`` with the same time constants.

    As dt goes to 0 its spikes go to those of the network, with errors of the order of dt. ``frames`` makes its input.

    Args:
        network: the network.
        params: arrays by name.
        dt: the step, > 0, in the unit of the time constants.
        surrogate: the derivative of a spike when the model is trained; default ``fast_sigmoid()``.
        engine: the model's engine, an instance or a name; default "numpy", in float64.

    Returns:
        A ``Model`` whose layers "0", "2", ... are the weights, times c(dt), and "1", "3", ... the neurons. Neurons of
        the exact network that do not fire have no reset here; ask for their membranes.

    Raises:
        ValueError: a parameter does not fit, ``dt`` is out of range, or the network has delays, which the model's
            layers do not have.
    """
    _steps(network, dt)
    parts: List[Any] = []
    weights: Dict[str, np.ndarray] = {}
    for number, (layer, own) in enumerate(zip(network.layers, network.layer_params(params))):
        if "delay" in own:
            raise ValueError(f"eventprop.to_model: layers[{number}] has delays; a model in time steps takes none here")
        course = flow(np.float64(dt), own["tau_mem"], own["tau_syn"])
        fires = layer.threshold is not None
        reset: Dict[str, Any] = {"reset_mechanism": "zero", "reset_delay": False}
        parts += [
            Linear(layer.in_features, layer.out_features, bias=False),
            Synaptic(
                alpha=_plain(course.alpha),
                beta=_plain(course.beta),
                threshold=_plain(own["threshold"]) if fires else 1.0,
                surrogate=surrogate,
                **(reset if fires else {"reset_mechanism": "none"}),
            ),
        ]
        weights[f"{2 * number}.weight"] = own["weight"] * np.reshape(course.gain, (-1, 1))
    chosen = get_engine(engine, dtype="float64") if engine == "numpy" else get_engine(engine)
    model = Model(Sequential(*parts), chosen, input_shape=(network.layers[0].in_features,))
    state = model.state()
    dtypes = {name: value.dtype for name, value in state["params"].items()}
    state["params"].update({name: value.astype(dtypes[name]) for name, value in weights.items()})
    model.load_state(state)
    return model


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value


@checked
def frames(network: Network, inputs: Union[Spikes, ArrayLike], dt: float) -> np.ndarray:
    """The input in steps of ``dt`` for the model of ``to_model``: numbers of spikes, (steps, batch, inputs).

    Args:
        network: the network.
        inputs: ``eventprop.Spikes``; or times (batch, inputs), one spike for each input, inf for none.
        dt: the step, > 0. A spike counts for the step that begins nearest to it.

    Raises:
        ValueError: an input does not fit, or ``dt`` is out of range.
    """
    spikes, steps = network.spikes_of(inputs), _steps(network, dt)
    found = np.zeros((steps, len(spikes.times), network.layers[0].in_features))
    there = spikes.times < network.duration
    rows, _ = np.nonzero(there)
    step = np.rint(spikes.times[there] / dt).astype(np.intp)
    inside = step < steps
    np.add.at(found, (step[inside], rows[inside], spikes.sources[there][inside]), 1.0)
    return found


class SurrogateBias(NamedTuple):
    """How a surrogate gradient differs from the exact one, per parameter; print it for a table.

    Attributes:
        cosine: of the angle between both gradients, by name: 1 for the same direction.
        ratio: the norm of the surrogate gradient divided by that of the exact one, by name.
        loss, exact_loss: the loss of the network in time steps, and of the exact one.
    """

    cosine: Dict[str, float]
    ratio: Dict[str, float]
    loss: float
    exact_loss: float

    def __str__(self) -> str:
        head = ("parameter", "cosine", "norm ratio")
        rows = [(name, f"{self.cosine[name]:.3f}", f"{self.ratio[name]:.3g}") for name in self.cosine]
        return f"{columns([head, *rows])}\nloss {self.loss:.4g} in time steps, {self.exact_loss:.4g} exact"

    def __repr__(self) -> str:
        return str(self)


@checked
def surrogate_bias(
    network: Network,
    params: Mapping[str, ArrayLike],
    inputs: Union[Spikes, ArrayLike],
    targets: ArrayLike,
    dt: float,
    *,
    surrogate: Surrogate = fast_sigmoid(),  # noqa: B008  (immutable)
) -> SurrogateBias:
    """The surrogate gradient of the weights against the exact gradient, of the same network, loss and batch.

    The loss is the cross-entropy of the highest membranes, which both forms of the network have: in time steps
    ``ce_max_membrane_loss``, exactly ``max_membrane_loss``. The gradient of the last layer's weights passes no spike of
    its own and differs only by the time step; those of earlier layers show what the surrogate does.

    Args:
        network: a network whose last layer has threshold=None, without delays.
        params: arrays by name.
        inputs: as for ``eventprop.gradient``.
        targets: class labels (batch,).
        dt: the time step, > 0. The smaller, the closer the losses.
        surrogate: what takes the place of the derivative of a spike; default ``fast_sigmoid()``.

    Raises:
        ValueError: the network fires in its last layer or has delays, or an argument does not fit.
    """
    threshold = network.layers[-1].threshold
    if threshold is not None:
        raise ValueError(
            f"eventprop.surrogate_bias: the last layer of network has threshold={threshold}: it must have "
            "threshold=None, since the loss reads its membranes"
        )
    exact = gradient(network, params, inputs, targets, max_membrane_loss())
    model = to_model(network, params, dt, surrogate=surrogate)
    stepped = bptt(model, frames(network, inputs, dt), targets, ce_max_membrane_loss())
    cosine, ratio = {}, {}
    for number, own in enumerate(network.layer_params(params)):
        gain = flow(np.float64(dt), own["tau_mem"], own["tau_syn"]).gain
        ours = stepped.grads[f"{2 * number}.weight"] * np.reshape(gain, (-1, 1))
        theirs = exact.grads[f"{number}.weight"]
        norms = float(np.linalg.norm(ours)), float(np.linalg.norm(theirs))
        product = norms[0] * norms[1]
        cosine[f"{number}.weight"] = float((ours * theirs).sum()) / product if product else float("nan")
        ratio[f"{number}.weight"] = norms[0] / norms[1] if norms[1] else float("nan")
    return SurrogateBias(cosine, ratio, stepped.loss, exact.loss)
