"""A network of EventProp in time steps: a ``Model`` of ``Synaptic`` neurons with the same time constants.

Over one step of dt without spikes the neurons of both are the same, with alpha = exp(-dt / tau_syn), beta = exp(-dt /
tau_mem) and weights times ``flow``'s gain c(dt): ``Synaptic`` adds its current to the membrane as it is.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Union

import numpy as np

from spikecore import Linear, Model, Sequential, Synaptic, get_engine, learn
from spikecore.api.core.engines import EngineName
from spikecore.arguments import ArrayLike, checked
from spikecore.base import Engine
from spikecore.eventprop.layer_adjoint import like
from spikecore.eventprop.membrane import flow, flow_slopes
from spikecore.eventprop.network import Network
from spikecore.eventprop.spikes import Spikes
from spikecore.surrogate import Surrogate, fast_sigmoid


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
    reset_delay: bool = False,
    learn_constants: bool = False,
    engine: Union[None, EngineName, Engine] = "numpy",
) -> Model:
    """The network in steps of ``dt``: an ``sc.Model`` of ``Linear`` and ``Synaptic`` with the same time constants.

    As dt goes to 0 its spikes go to those of the network, with errors of the order of dt. ``frames`` makes its input.

    Args:
        network: the network.
        params: arrays by name.
        dt: the step, > 0, in the unit of the time constants.
        surrogate: the derivative of a spike when the model is trained; default ``fast_sigmoid()``.
        reset_delay: whether a spike resets the membrane in the following step, which has no gradient; default False: in
            its own, with the surrogate's gradient. Delayed, the membrane stays at 0 for one step longer.
        learn_constants: whether training changes decays and thresholds, too; default False.
        engine: the model's engine, an instance or a name; default "numpy", in float64.

    Returns:
        A ``Model`` whose layers "0", "2", ... are the weights, times c(dt), and "1", "3", ... the neurons. Neurons of
        the exact network that do not fire have no reset here; ask for their membranes.

    Raises:
        ValueError: a parameter does not fit, ``dt`` is out of range, or the network has delays, which the model's
            layers do not have.
    """
    _steps(network, dt)
    constant: Any = learn if learn_constants else lambda value: value
    parts: List[Any] = []
    weights: Dict[str, np.ndarray] = {}
    for number, (layer, own) in enumerate(zip(network.layers, network.layer_params(params))):
        if "delay" in own:
            raise ValueError(f"eventprop.to_model: layers[{number}] has delays; a model in time steps takes none here")
        course = flow(np.float64(dt), own["tau_mem"], own["tau_syn"])
        fires = layer.threshold is not None
        reset: Dict[str, Any] = {"reset_mechanism": "zero", "reset_delay": reset_delay}
        parts += [
            Linear(layer.in_features, layer.out_features, bias=False),
            Synaptic(
                alpha=constant(_plain(course.alpha)),
                beta=constant(_plain(course.beta)),
                threshold=constant(_plain(own["threshold"])) if fires else 1.0,
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


def gradients_by_network(
    network: Network, params: Mapping[str, ArrayLike], dt: float, grads: Mapping[str, np.ndarray]
) -> Dict[str, np.ndarray]:
    """The gradients by a network's parameters, from those by its model's in steps of ``dt`` with learned constants."""
    found: Dict[str, np.ndarray] = {}
    for number, own in enumerate(network.layer_params(params)):
        course, slopes = flow_slopes(np.float64(dt), own["tau_mem"], own["tau_syn"])
        by_weight, neuron = grads[f"{2 * number}.weight"], f"{2 * number + 1}"
        by_gain = (by_weight * own["weight"]).sum(1)
        found[f"{number}.weight"] = np.reshape(course.gain, (-1, 1)) * by_weight
        found[f"{number}.tau_mem"] = like(own["tau_mem"], by_gain * slopes.gain_mem) + like(
            own["tau_mem"], grads[f"{neuron}.beta"] * slopes.beta_mem
        )
        found[f"{number}.tau_syn"] = like(own["tau_syn"], by_gain * slopes.gain_syn) + like(
            own["tau_syn"], grads[f"{neuron}.alpha"] * slopes.alpha_syn
        )
        if "threshold" in own:
            found[f"{number}.threshold"] = like(own["threshold"], grads[f"{neuron}.threshold"])
    return found


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
