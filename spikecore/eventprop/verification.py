"""The exact gradient compared with autograd's and with finite differences of spike times."""

from __future__ import annotations

import importlib.util
from typing import Any, Callable, Dict, Mapping, Tuple, Union

import numpy as np

from spikecore import get_engine
from spikecore.api.verification.gradient import directions, slope_along, smallest_scale
from spikecore.api.verification.report import Report
from spikecore.api.verification.verify import add_slopes
from spikecore.arguments import ArrayLike, checked
from spikecore.eventprop.gradient import gradient, loss_and_slopes, values_of
from spikecore.eventprop.losses import EventLoss
from spikecore.eventprop.network import Network
from spikecore.eventprop.spikes import Spikes, in_order

LIMIT = 1e-10  # of the relative difference of both gradients in float64


def _errors(a: np.ndarray, b: np.ndarray, floor: float) -> Tuple[float, float]:
    """The largest difference, and the same relative to the largest entry of b, or to ``floor`` if that is larger."""
    largest, size = float(np.abs(a - b).max(initial=0.0)), max(float(np.abs(b).max(initial=0.0)), floor)
    return largest, largest / size if size > 0.0 else largest


@checked
def verify(
    network: Network,
    params: Mapping[str, ArrayLike],
    inputs: Union[Spikes, ArrayLike],
    targets: ArrayLike,
    loss: EventLoss,
) -> Report:
    """Check the exact gradient on a batch: against autograd's, if torch is installed, and against finite differences.

    The differences are those of the true loss: spike times are computed anew for each of the six step sizes, and the
    closest quotient counts. Where a step creates or deletes a spike, a smaller one does not.

    Args:
        network, params, inputs, targets, loss: as for ``eventprop.gradient``, whose gradient is checked.

    Returns:
        A report like that of ``sc.verify``: print it, or ask for ``ok``, ``worst`` and ``worst_difference``.

    Raises:
        ValueError, TypeError, RuntimeError: as ``eventprop.gradient``.
    """
    found = gradient(network, params, inputs, targets, loss)
    report = Report(f"verify {network!r}: EventProp", "numpy", "torch", "numpy")
    if importlib.util.find_spec("torch") is not None:
        other = gradient(network, params, inputs, targets, loss, engine="torch")
        theirs = {**other.grads, "inputs": other.inputs}
        # the derivative by a time constant is a sum of terms that are much larger and cancel
        floor = 0.1 * max(float(np.abs(each).max(initial=0.0)) for each in theirs.values())
        for name, value in {**found.grads, "inputs": found.inputs}.items():
            errors = _errors(value, theirs[name], floor)
            report.add("float64", f"gradient {name}", value.shape, errors, LIMIT)
    else:
        report.independent = False
        report.remarks.append("torch is not installed: finite differences alone were compared")
    host = get_engine("numpy", dtype="float64")
    layers, spikes = network.layer_params(params), network.spikes_of(inputs)

    def loss_at(name: str) -> Callable[[Any], float]:
        """The loss as a function of one parameter, or of the input's times."""

        def value_at(value: Any) -> float:
            changed = [dict(own) for own in layers]
            moved = spikes
            if name == "inputs":
                moved, _ = in_order(value, spikes.sources)
            else:
                number, short = name.split(".")
                changed[int(number)][short] = value
            values = values_of(network, network.simulate(changed, moved), loss)
            return loss_and_slopes(loss, values, targets)[0]

        return value_at

    places: Dict[str, Any] = {f"{n}.{short}": value for n, own in enumerate(layers) for short, value in own.items()}
    places["inputs"] = spikes.times
    slopes = {**found.grads, "inputs": found.inputs}
    floor = smallest_scale(host, slopes.values())
    report.silent = floor == 0.0
    add_slopes(
        report,
        (
            slope_along(host, name, value, slopes[name], direction, loss_at(name), floor)
            for name, value in places.items()
            if value.size
            for direction in directions(host, name, slopes[name])
        ),
    )
    return report
