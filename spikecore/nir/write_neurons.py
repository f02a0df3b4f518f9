"""Neurons as NIR nodes: their decays as time constants, and what NIR cannot say as notes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Dict, List, Optional, Tuple

import nir
import numpy as np

import spikecore as sc
from spikecore.api.core.host import host
from spikecore.api.core.layer import Shape
from spikecore.api.core.parameters import Learn
from spikecore.api.core.tree import map_leaves
from spikecore.api.training.checkpoint import describe, known_classes
from spikecore.base import Membrane
from spikecore.nir.notes import NirError, note
from spikecore.nir.offset import OffsetLeaky, OffsetSynaptic
from spikecore.nir.units import Units
from spikecore.nir.write_layers import learn_note

FIRST = (sc.Leaky, sc.RLeaky.base, sc.IF, sc.LI, sc.Lapicque, sc.PLIF, OffsetLeaky)
SECOND = (sc.Synaptic, OffsetSynaptic)


def is_neuron(layer: Any) -> bool:
    """Whether NIR has nodes for this neuron; a class that extends one of them may do anything."""
    return type(layer) in (*FIRST, *SECOND)


def neuron_nodes(name: str, neuron: Any, params: Any, shape: Shape, units: Units) -> List[Tuple[str, Any]]:
    """The nodes of a neuron, one behind the other, with their names within the layer.

    Raises:
        NirError: a decay of 1 among others, lateral inhibition, quantised states.
    """
    _refuse(name, neuron)
    prepared = neuron.prepare(host(), map_leaves(lambda x: np.asarray(x, dtype=np.float64), params))
    full = {key: np.broadcast_to(np.asarray(value, np.float64), shape).copy() for key, value in prepared.items()}
    noted = note(**_facts(neuron, params))
    spikes = not isinstance(neuron, sc.LI)
    resets = spikes and getattr(neuron, "reset_mechanism", "none") != "none"
    if spikes and not resets and _without_memory(neuron, full):
        chain = [("", nir.Threshold(threshold=full["threshold"], metadata=noted))]
    else:
        node = _membrane(name, neuron, full, units, resets)
        node.metadata = noted
        chain = [("", node)]
        if spikes and not resets:
            chain.append((".threshold", nir.Threshold(threshold=full["threshold"])))
    if spikes and (isinstance(neuron.graded_spikes_factor, Learn) or neuron.graded_spikes_factor != 1.0):
        scale = nir.Scale(scale=full["graded_spikes_factor"], metadata=note(field="graded_spikes_factor"))
        chain.append((".graded", scale))
    return chain


def _without_memory(neuron: Any, full: Dict[str, Any]) -> bool:
    """Whether a membrane is its input."""
    return type(neuron) is sc.Leaky and not isinstance(neuron.beta, Learn) and not full["beta"].any()


def _refuse(name: str, neuron: Any) -> None:
    place = f"layer {name} ({type(neuron).__name__})"
    if getattr(neuron, "inhibition", False):
        raise NirError(f"{place}: inhibition=True: NIR has no lateral inhibition; train with inhibition=False")
    if getattr(neuron, "state_quant", None) is not None:
        raise NirError(f"{place}: state_quant: NIR's states are real numbers; export with state_quant=None")
    if not isinstance(getattr(neuron, "initial_mem", 0.0), float):
        raise NirError(f"{place}: initial_mem: NIR's neurons begin at 0; only one number for all of them can be noted")


def _membrane(name: str, neuron: Any, full: Dict[str, Any], units: Units, resets: bool) -> Any:
    firing = {"v_threshold": full["threshold"], "v_reset": full.get("rho", np.zeros_like(full["threshold"]))}
    firing = firing if resets else {}
    zero = np.zeros_like(full["threshold"])
    if isinstance(neuron, SECOND):
        for field in ("alpha", "beta"):
            _below_one(name, neuron, field, full[field])
        slow, fast = units.tau(full["beta"]), units.tau(full["alpha"])
        options = {"tau_syn": fast, "tau_mem": slow, "r": slow / units.dt, "w_in": fast / units.dt, "v_leak": zero}
        return (nir.CubaLIF if resets else nir.CubaLI)(**options, **firing)
    decay = full["decay"] if isinstance(neuron, sc.Lapicque) else full.get("beta", np.ones_like(zero))
    decays = isinstance(neuron, sc.PLIF) and neuron.decay_input
    gain = 1.0 - decay if decays else full.get("gain", np.ones_like(zero))
    if bool((decay == 1.0).all()):
        return (nir.IF if resets else nir.I)(r=gain / units.dt, **firing)
    _below_one(name, neuron, "beta", decay)
    tau = units.tau(decay)
    return (nir.LIF if resets else nir.LI)(tau=tau, r=gain * tau / units.dt, v_leak=zero, **firing)


def _below_one(name: str, neuron: Any, field: str, decay: Any) -> None:
    if bool((decay >= 1.0).any()) or bool((decay < 0.0).any()):
        raise NirError(
            f"layer {name} ({type(neuron).__name__}): {field} = {decay.max() if decay.max() >= 1 else decay.min():g} "
            f"has no finite time constant > 0; use decays in [0, 1), or IF for a membrane without leak"
        )


def _facts(neuron: Any, params: Any) -> Dict[str, Any]:
    """Facts that NIR has no place for: the class, options, the surrogate, and which fields are learned."""
    parametric = [name for name in neuron.parameter_names() if name != "initial_mem"]  # NIR has no place for it
    options = {
        f.name: describe(getattr(neuron, f.name))
        for f in fields(neuron)
        if f.name not in (*parametric, "surrogate", "state_quant", "inhibition", "beta")
    }
    silent = ("threshold", "graded_spikes_factor") if isinstance(neuron, sc.LI) else ()
    learned = {key: learn_note(getattr(neuron, key), value) for key, value in params.items() if key not in silent}
    kind = sc.Leaky if type(neuron) is sc.RLeaky.base else type(neuron)
    return {"kind": kind.__name__, "options": options, "learn": learned, "surrogate": _surrogate(neuron)}


def _surrogate(neuron: Any) -> Any:
    """The surrogate as JSON; None if it is not one of the library's own."""
    if known_classes().get(type(neuron.surrogate).__name__) is not type(neuron.surrogate):
        return None
    try:
        return describe(neuron.surrogate)
    except TypeError:
        return None


def losses_of(place: str, neuron: Any) -> List[str]:
    """The losses of a neuron: for all readers of the graph, or for all but us."""
    losses = [_reset_loss(place, neuron)]
    if getattr(neuron, "initial_mem", 0.0):
        losses.append(f"{place}: initial_mem={neuron.initial_mem!r}: NIR's neurons begin at 0, so others fire later")
    if not isinstance(neuron, sc.LI) and _surrogate(neuron) is None:
        losses.append(f"{place}: surrogate={neuron.surrogate!r} cannot be noted; an import takes atan()")
    return [loss for loss in losses if loss is not None]


def _reset_loss(place: str, neuron: Any) -> Optional[str]:
    """The facts of a neuron's reset that other libraries will not know; None if they know all.

    NIR's reset puts the membrane to v_reset at once. A delayed "zero" of a first-order neuron that spares the input is
    the same, except for its gradient; where it clears the input as well, it is not.
    """
    if not isinstance(neuron, Membrane) or neuron.reset_mechanism == "none":
        return None
    if neuron.reset_mechanism != "zero":
        return (
            f"{place}: reset_mechanism={neuron.reset_mechanism!r}, reset_delay={neuron.reset_delay}: NIR only knows "
            "the reset to v_reset at once; spikecore restores it, others will reset to zero and spike differently"
        )
    if neuron.reset_delay and not neuron.zero_keeps_input:
        return (
            f"{place}: reset_mechanism='zero', reset_delay=True also clears the input of the step after a spike, which "
            "NIR cannot say; spikecore restores it, other libraries will spike differently"
        )
    return None
