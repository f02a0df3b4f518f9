"""NIR's neurons as layers: time constants as decays, offsets as shifted thresholds, gains as scales."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Dict, List, Tuple

import nir
import numpy as np

import spikecore as sc
from spikecore import OneToOne, Recurrent, RLeaky, RSynaptic
from spikecore.api.core.layer import Shape
from spikecore.api.training.checkpoint import build, known_classes
from spikecore.base import Params
from spikecore.nir.members import Unit
from spikecore.nir.notes import NirError, noted
from spikecore.nir.offset import OffsetLeaky, OffsetSynaptic
from spikecore.nir.read_layers import Read, connection, fitting
from spikecore.nir.units import Units
from spikecore.nir.values import compact, learned
from spikecore.surrogate import atan

CLASSES = {
    kind.__name__: kind
    for kind in (
        sc.Leaky, sc.IF, sc.LI, sc.Lapicque, sc.PLIF, sc.Synaptic, OffsetLeaky,
        OffsetSynaptic,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Resets:
    """Reset and surrogate of neurons, for graphs that do not name them.

    Args:
        reset_mechanism, reset_delay: as in ``Membrane``.
        surrogate: a ``spikecore.surrogate``.
    """

    reset_mechanism: str = "zero"
    reset_delay: bool = False
    surrogate: Any = atan()


@dataclass
class Values:
    """A neuron's numbers, each spread to the shape of a sample."""

    fields: Dict[str, Any]
    gain: Any
    rho: Any = 0.0


def read_neuron(unit: Unit, shape: Shape, units: Units, resets: Resets) -> List[Read]:
    """The layers of a neuron, one behind the other: a Scale of its input where it has a gain, the neuron itself."""
    if isinstance(unit.node, nir.CubaLI) and unit.threshold is None:
        return _two_integrators(unit, shape, units)
    about = noted(unit.node)
    values = _values(unit, shape, units)
    kind = CLASSES.get(about.get("kind", ""))
    if kind is sc.Lapicque and bool((values.rho == 0.0).all()):
        _circuit(values, about)
    if kind is sc.PLIF and about["options"]["decay_input"]:
        _decaying(values)
    options, kind = _options(unit, kind, values, about, resets)
    neuron, params = _made(kind, values.fields, options, about.get("learn", {}), shape)
    scale = [] if bool((values.gain == 1.0).all()) else [(OneToOne(compact(values.gain)), Params())]
    if unit.recurrent:
        back, weights = connection(unit.connection, unit.place, shape, values.gain, units)
        neuron = _recurrent(neuron, back, spelt_out=noted(unit.connection).get("layer") == "Recurrent")
        params = Params(neuron=params, connection=weights)
    return [*scale, (neuron, params)]


def _values(unit: Unit, shape: Shape, units: Units) -> Values:
    node, place = unit.node, unit.place
    get = lambda name: fitting(getattr(node, name), place, name, shape)  # noqa: E731
    one, zero = np.ones(shape), np.zeros(shape)
    found: Dict[str, Any] = {}
    leak = get("v_leak") if hasattr(node, "v_leak") else zero
    if isinstance(node, nir.Threshold):
        found["beta"], gain = zero, one
    elif isinstance(node, (nir.I, nir.IF)):
        gain = np.broadcast_to(units.integrated(place, get("r")), shape)
        leak = get("v_reset") if isinstance(node, nir.IF) else zero  # nothing else draws its membrane anywhere
        found["beta"] = one
    elif isinstance(node, (nir.LI, nir.LIF)):
        tau = get("tau")
        found["beta"], gain = units.decay(place, "tau", tau), units.gain(get("r"), tau)
    else:
        fast, slow = get("tau_syn"), get("tau_mem")
        found["alpha"], found["beta"] = units.decay(place, "tau_syn", fast), units.decay(place, "tau_mem", slow)
        gain = units.received(get("w_in"), fast) * units.gain(get("r"), slow)
    firing = unit.threshold if unit.threshold is not None else node
    raw = getattr(firing, "v_threshold", getattr(firing, "threshold", None))
    if raw is not None:
        found["threshold"] = fitting(raw, place, "v_threshold", shape) - leak
    elif bool((leak != 0.0).any()):
        raise NirError(
            f"{place}: v_leak={leak.max():g} != 0 in a neuron that does not fire; add it to what comes after"
        )
    if unit.graded is not None:
        found["graded_spikes_factor"] = fitting(unit.graded.scale, place, "scale", shape)
    rho = get("v_reset") - leak if hasattr(node, "v_reset") else zero
    return Values(found, gain, rho)


def _circuit(values: Values, about: Dict[str, Any]) -> None:
    """R and C of Lapicque's neuron; its gain is dt / C and not 1."""
    step = float(about["options"]["time_step"])
    values.fields["C"] = step / values.gain
    values.fields["R"] = values.gain / (1.0 - values.fields.pop("beta"))
    values.gain = np.ones_like(values.gain)


def _decaying(values: Values) -> None:
    """The gain that is left when the neuron itself multiplies its input by 1 - beta."""
    left = values.gain / (1.0 - values.fields["beta"])
    values.gain = np.where(abs(left - 1.0) < 1e-6, 1.0, left)  # rounded, as the time constant is


def _options(
    unit: Unit, kind: Any, values: Values, about: Dict[str, Any], resets: Resets
) -> Tuple[Dict[str, Any], Any]:
    """The neuron's options and its class: as noted, else by the node."""
    fires = "threshold" in values.fields
    second = "alpha" in values.fields
    still = bool((values.fields.get("beta", values.gain) == 1.0).all()) and not second
    plain = unit.threshold is not None or isinstance(unit.node, nir.Threshold)
    moved = bool((values.rho != 0.0).any())
    noted_so = kind is not None and moved == issubclass(kind, (OffsetLeaky, OffsetSynaptic))
    if kind is not None and noted_so and fires != (kind is sc.LI):  # else the graph was changed since
        options = dict(about["options"])
        known = about["surrogate"]
        options["surrogate"] = resets.surrogate if known is None else build(known, known_classes())
    else:
        base = (OffsetSynaptic if moved else sc.Synaptic) if second else (OffsetLeaky if moved else sc.Leaky)
        kind = (sc.IF if still and not moved else base) if fires else sc.LI
        options = {"surrogate": resets.surrogate}
        if fires and not moved:
            options["reset_mechanism"] = "none" if plain else resets.reset_mechanism
            options["reset_delay"] = False if plain else resets.reset_delay
    if kind is sc.IF:
        values.fields.pop("beta", None)
    if moved:
        values.fields["rho"] = values.rho
    return options, kind


def _made(kind: Any, full: Dict[str, Any], options: Dict[str, Any], notes: Dict[str, Any], shape: Shape) -> Read:
    found, params = {}, {}
    for name, value in full.items():
        if name in notes:
            found[name], params[name] = learned(value, notes[name], shape)
            if name in kind.gates and found[name].dt is None:
                params[name] = np.log(params[name] / (1.0 - params[name]))
        else:
            found[name] = compact(value)
    return kind(**found, **options), Params({name: params[name] for name in kind.parameter_names() if name in params})


def _recurrent(neuron: Any, back: Any, spelt_out: bool) -> Any:
    """``RLeaky`` or ``RSynaptic`` where they can say it, else ``Recurrent``."""
    short: Dict[Any, Any] = {sc.Leaky: RLeaky, sc.Synaptic: RSynaptic}
    kind = short.get(type(neuron))
    if spelt_out or kind is None:
        return Recurrent(neuron, back)
    options: Dict[str, Any] = {}
    if isinstance(back, sc.Linear):
        options = {"linear_features": back.in_features}
    elif isinstance(back, sc.Conv2d):
        options = {"conv2d_channels": back.in_channels, "kernel_size": back.kernel_size}
    elif isinstance(back, OneToOne):
        options = {"V": back.V, "all_to_all": False}
    try:
        recurrent = kind(**{f.name: getattr(neuron, f.name) for f in fields(neuron)}, **options)
    except (TypeError, ValueError):  # an even kernel, say
        return Recurrent(neuron, back)
    return recurrent if recurrent.recurrent.connection == back else Recurrent(neuron, back)


def _two_integrators(unit: Unit, shape: Shape, units: Units) -> List[Read]:
    """CubaLI: the synaptic current is one leaky integrator, the membrane another."""
    values = _values(unit, shape, units)
    scale = [] if bool((values.gain == 1.0).all()) else [(OneToOne(compact(values.gain)), Params())]
    if unit.recurrent:
        raise NirError(f"{unit.place}: feedback of a membrane over two integrators cannot be read")
    parts = [(sc.LI(beta=compact(values.fields[name])), Params()) for name in ("alpha", "beta")]
    return [*scale, *parts]
