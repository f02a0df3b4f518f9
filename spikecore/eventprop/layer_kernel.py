"""One layer by NumPy or by a kernel: ``layer_numba.py`` compiled, and the arrays that it works on."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from typing import Any, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from spikecore.eventprop import layer_run
from spikecore.eventprop.layer_adjoint import LayerGradient, by_name, pull_layer
from spikecore.eventprop.layer_run import LayerRun, arrivals_of, run_layer, too_large, too_many
from spikecore.eventprop.membrane import NOT_FOUND
from spikecore.eventprop.spikes import Spikes
from spikecore.kernels.sizes import LARGE, has_numba, no_numba

LEAST = 1 << 13  # arrivals x neurons from which on a run is compiled
COMPILED = "layer_numba.py"
FORMULAS = "membrane.py", "layer_adjoint.py"  # whose functions are compiled with it


class Crossings(NamedTuple):
    """The spikes of a layer, those of one neuron after those of the other; (batch, spikes) except for the last.

    Attributes:
        after: time since the arrival, or the neuron's own spike, before.
        event: the arrival before.
        order: places of the layer's spikes, in the order of time, in these arrays.
        begins: (batch, neurons + 1) where the spikes of each neuron begin.
    """

    after: np.ndarray
    event: np.ndarray
    order: np.ndarray
    begins: np.ndarray


@lru_cache(maxsize=None)
def _compiled() -> Any:
    """The module of the kernels. Its machine code is kept on disk, by all the source that it comes from."""
    from spikecore.kernels.runtime.modules import load

    text, *depends = ((pkgutil.get_data(__package__, name) or b"").decode() for name in (COMPILED, *FORMULAS))
    return load(text, "".join(depends))


def pays(connections: int, samples: int) -> Optional[bool]:
    """Whether runs of so many samples through so many connections in all are worth the kernels' compilation.

    None: it may be for single layers.
    """
    return True if connections * samples >= LARGE and has_numba() else None


def run(
    params: Mapping[str, np.ndarray], spikes: Spikes, duration: float, fires: bool, fused: Optional[bool]
) -> LayerRun:
    """Run a layer from rest at time 0 to ``duration``; arguments as for ``Network``.

    Raises:
        ValueError: as ``layer_run.run_layer``.
        RuntimeError: ``fused`` is true, and Numba is not installed.
    """
    if fused and not has_numba():
        raise RuntimeError(f"fused=True, but {no_numba()}")
    arrivals = arrivals_of(spikes, params.get("delay"), duration)
    neurons = len(params["weight"])
    if fused is None:
        fused = arrivals.rest.size * neurons >= LEAST and has_numba()
    return _run(params, arrivals, fires) if fused else run_layer(params, arrivals, fires)


def pull(
    params: Mapping[str, np.ndarray], ran: LayerRun, by_times: np.ndarray, *by_membranes: np.ndarray
) -> LayerGradient:
    """``layer_adjoint.pull_layer``, by the kernel if the layer ran in one."""
    return (_pull if isinstance(ran.way, Crossings) else pull_layer)(params, ran, by_times, *by_membranes)


def _by_event(arrivals: layer_run.Arrivals) -> Tuple[np.ndarray, ...]:
    """Arrays of the arrivals: their times, the time until the next one, whether the spike exists, and its source."""
    return arrivals.until, arrivals.rest, arrivals.alive, arrivals.spikes.sources


def _by_neuron(params: Mapping[str, np.ndarray]) -> Tuple[np.ndarray, ...]:
    """Weights, time constants and the threshold of each neuron."""
    weight = np.ascontiguousarray(params["weight"])
    each = (params.get(name, np.inf) for name in ("tau_mem", "tau_syn", "threshold"))
    return (weight, *(np.array(np.broadcast_to(value, len(weight))) for value in each))


def _run(params: Mapping[str, np.ndarray], arrivals: layer_run.Arrivals, fires: bool) -> LayerRun:
    batch, neurons = len(arrivals.rest), len(params["weight"])
    maxima, integrals, highest_after = np.zeros((3, batch, neurons))
    highest = np.full((batch, neurons), -1)
    given = _by_event(arrivals), _by_neuron(params)
    width, space = (2 * neurons + arrivals.rest.shape[1] if fires else 0), -1
    while width > space:  # again with more space, if the layer fires more often
        space = width
        at, after = np.full((batch, space), np.inf), np.zeros((batch, space))
        event, source = np.zeros((2, batch, space), np.intp)
        begins = np.zeros((batch, neurons + 1), np.intp)
        out = at, after, event, source, begins, maxima, integrals, highest, highest_after
        width = _compiled().forward(*given, fires, layer_run.MOST_SPIKES, *out)
        if width > layer_run.MOST_SPIKES:
            raise too_many(neurons)
        if width == -1:
            raise too_large(neurons)
        if width < 0:
            raise FloatingPointError(NOT_FOUND)
    at, after, event, source = (each[:, :width] for each in (at, after, event, source))
    order = np.argsort(at, axis=1, kind="stable")
    spikes = Spikes(np.take_along_axis(at, order, 1), np.take_along_axis(source, order, 1))
    return LayerRun(spikes, maxima, integrals, arrivals, highest, highest_after, Crossings(after, event, order, begins))


def _pull(
    params: Mapping[str, np.ndarray], ran: LayerRun, by_times: np.ndarray, *by_membranes: np.ndarray
) -> LayerGradient:
    after, event, order, begins = ran.way
    given = _by_neuron(params)
    weight, neurons = given[0], len(given[0])
    by_spikes = np.zeros(after.shape)
    np.put_along_axis(by_spikes, order, by_times, 1)
    by_weight, by_neuron = np.zeros(weight.shape), np.zeros((3, neurons))
    by_arrival = np.zeros(ran.arrivals.rest.shape)
    _compiled().backward(
        *(_by_event(ran.arrivals), given, (np.ascontiguousarray(after), np.ascontiguousarray(event), begins)),
        *(ran.highest, ran.highest_after),
        *(by_spikes, *map(np.ascontiguousarray, by_membranes), by_weight, *by_neuron, by_arrival),
    )
    return by_name(params, ran.arrivals, by_weight, by_neuron, by_arrival)
