"""A ``Model`` in time steps, and its input, as a network with exact spike times: what ``to_model`` does, backwards.

The steps of the model are the unit of time: tau_syn = -1 / log(alpha), tau_mem = -1 / log(beta), and weights are
divided by the c of one step, as ``to_model`` multiplies them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List, NamedTuple, Tuple

import numpy as np

from spikecore import Flatten, Linear, Synaptic
from spikecore.api.core.host import host
from spikecore.api.core.layer import computes_as, layer_name, shapes_of
from spikecore.api.core.tree import at, flatten, map_leaves, unflatten
from spikecore.api.learning.stack import Block, stack_of
from spikecore.eventprop.layer_adjoint import like
from spikecore.eventprop.membrane import flow, flow_slopes
from spikecore.eventprop.network import Arrays, Layer, Network
from spikecore.eventprop.spikes import Spikes
from spikecore.surrogate import Surrogate

OWNER = "model_bias"


class Translated(NamedTuple):
    """A model as a network with exact spike times.

    Attributes:
        network: the network; its unit of time is a step of the model.
        params: its parameters by name.
        pull: from gradients by the network's parameters to those by the model's that it learns.
        surrogates: of the layers that fire.
        reset_delay: of the layers that fire.
    """

    network: Network
    params: Arrays
    pull: Callable[[Arrays], Arrays]
    surrogates: List[Surrogate]
    reset_delay: bool


def translate(model: Any, steps: int) -> Translated:
    """A ``Model`` on the host, which runs for ``steps`` steps, as a network with exact spike times.

    Raises:
        ValueError: names a layer that such a network does not have, and what to use in its place.
    """
    try:
        stack = stack_of(model.network)
    except ValueError as error:
        raise ValueError(f"{OWNER}: EventProp's networks are layers one after the other: {error}") from None
    if stack.tail:
        path, layer = stack.tail[0]
        _refuse(path, layer, "comes after the last neurons", "end in Synaptic(reset_mechanism='none')")
    if len(stack.blocks) < 2:
        raise ValueError(f"{OWNER}: the model needs two or more layers of neurons, and has {len(stack.blocks)}")
    engine, like = model.engine, shapes_of(model.network, model.input_shape)
    raw = map_leaves(engine.asarray, unflatten(model.params(), like.params))
    ready = model.network.prepare(engine, raw)
    layers: List[Layer] = []
    params: Arrays = {}
    paths = []
    for number, block in enumerate(stack.blocks):
        path, linear = _linear(block)
        fires = number < len(stack.blocks) - 1
        _check_neuron(block, fires)
        own = _constants(block, at(ready, block.path), linear.out_features, fires)
        gain = np.reshape(flow(np.float64(1.0), own["tau_mem"], own["tau_syn"]).gain, (-1, 1))
        weight = np.asarray(engine.to_numpy(at(ready, path).weight))
        layers.append(Layer(linear.in_features, linear.out_features, threshold=1.0 if fires else None))
        params.update({f"{number}.{name}": value for name, value in {**own, "weight": weight / gain}.items()})
        paths.append((path, block.path))
    neurons: List[Any] = [block.neuron for block in stack.blocks[:-1]]
    delays = {neuron.reset_delay for neuron in neurons}
    if len(delays) > 1:
        raise ValueError(f"{OWNER}: some of the model's layers have reset_delay=True and some False: give all the same")
    surrogates = [neuron.surrogate for neuron in neurons]
    network = Network(layers, float(steps))
    pull = partial(_gradients_by_model, model.network, engine, raw, network.layer_params(params), paths)
    return Translated(network, params, pull, surrogates, delays.pop())


def _gradients_by_model(
    layer: Any, engine: Any, raw: Any, layers: List[Arrays], paths: List[Tuple[str, str]], grads: Arrays
) -> Arrays:
    """The gradients by a model's parameters from those by its network's; the model's weights first.

    Args:
        layer: the model's network.
        engine: its engine.
        raw: its parameters.
        layers: the parameters of the network's layers.
        paths: the names of the model's connection and neurons for each of these.
        grads: the gradients by the network's parameters.
    """
    wanted: Arrays = {}
    for number, (own, (connection, neuron)) in enumerate(zip(layers, paths)):
        course, slopes = flow_slopes(np.float64(1.0), own["tau_mem"], own["tau_syn"])
        by_weight = grads[f"{number}.weight"]
        wanted[f"{connection}.weight"] = by_weight / np.reshape(course.gain, (-1, 1))
        by_gain = -(by_weight * own["weight"]).sum(1) / course.gain  # weights are divided by it
        for name, tau, slope in (("alpha", "tau_syn", slopes.gain_syn), ("beta", "tau_mem", slopes.gain_mem)):
            decay = np.exp(-1.0 / own[tau])
            by_tau = grads[f"{number}.{tau}"] + like(own[tau], by_gain * slope)
            wanted[f"{neuron}.{name}"] = by_tau * own[tau] ** 2 / decay  # tau = -1 / log(decay)
        if "threshold" in own:
            wanted[f"{neuron}.threshold"] = grads[f"{number}.threshold"]

    def function(raw: Any) -> Any:
        ready, total = flatten(layer.prepare(engine, raw)), 0.0
        for name, g in wanted.items():
            if hasattr(ready[name], "dtype"):
                g = engine.asarray(np.reshape(g, tuple(ready[name].shape)))
                total = engine.xp.add(engine.xp.sum(engine.xp.multiply(ready[name], g)), total)
        return total, ()

    by_name = {
        name: np.asarray(engine.to_numpy(g)) for name, g in flatten(engine.value_and_grad(function, raw)[2]).items()
    }
    weights = [f"{connection}.weight" for connection, _ in paths]
    return {name: by_name[name] for name in (*weights, *(name for name in by_name if name not in weights))}


def _refuse(path: str, layer: Any, what: str, remedy: str) -> None:
    raise ValueError(f"{OWNER}: layer {path or '(the network)'} ({layer_name(layer)}) {what}: {remedy}")


def _linear(block: Block) -> Tuple[str, Linear]:
    """The connection of a block and its dotted name."""
    remedy, found = "use one Linear(..., bias=False) before the neurons", []
    for path, layer in block.chain:
        if isinstance(layer, Linear) and computes_as(layer, (Linear,)):
            if layer.bias:
                _refuse(path, layer, "has a bias, a current without spikes", remedy)
            found.append((path, layer))
        elif not computes_as(layer, (Flatten,)):
            _refuse(path, layer, "is no dense connection, which is all that EventProp has here", remedy)
    if len(found) != 1:
        _refuse(block.path, block.neuron, f"follows {len(found)} connections", remedy)
    return found[0]


def _check_neuron(block: Block, fires: bool) -> None:
    """Refuse a neuron that is not EventProp's in time steps."""
    neuron: Any = block.neuron
    if block.back is not None:
        _refuse(block.path, neuron, f"feeds itself through {block.back[0]}", "use Synaptic, without recurrence")
    if not computes_as(neuron, (Synaptic,)):
        _refuse(
            block.path,
            neuron,
            "is not EventProp's neuron, a leaky membrane with an exponential synapse",
            "use Synaptic",
        )
    wanted = "zero" if fires else "none"
    if neuron.reset_mechanism != wanted:
        why = "since its membrane begins anew at 0 after a spike" if fires else "since the loss reads its membranes"
        _refuse(
            block.path,
            neuron,
            f"has reset_mechanism={neuron.reset_mechanism!r}",
            f"use reset_mechanism={wanted!r}, {why}",
        )
    for name, allowed in (("inhibition", False), ("state_quant", None), ("graded_spikes_factor", 1.0)):
        if getattr(neuron, name) != allowed:
            _refuse(block.path, neuron, f"has {name}={getattr(neuron, name)!r}", f"use {name}={allowed!r}")


def _constants(block: Block, fields: Any, width: int, fires: bool) -> Arrays:
    """Time constants, and the threshold of neurons that fire, from prepared parameters."""
    found = {}
    for name, constant in (("alpha", "tau_syn"), ("beta", "tau_mem")):
        decay = _per_neuron(block, name, fields[name], width)
        if not ((decay > 0.0) & (decay < 1.0)).all():
            _refuse(
                block.path,
                block.neuron,
                f"has {name}={fields[name]!r}, which has no time constant",
                "use 0 < decay < 1",
            )
        found[constant] = -1.0 / np.log(decay)
    if fires:
        found["threshold"] = _per_neuron(block, "threshold", fields["threshold"], width)
        if not (found["threshold"] > 0.0).all():
            _refuse(block.path, block.neuron, f"has threshold={fields['threshold']!r}", "use a threshold > 0")
    return found


def _per_neuron(block: Block, name: str, value: Any, width: int) -> np.ndarray:
    array = np.asarray(host().to_numpy(host().asarray(value)), dtype=np.float64)
    if array.size == 1:
        return array.reshape(())
    return np.broadcast_to(array, (width,)).copy()


def spikes_of_counts(counts: np.ndarray) -> Spikes:
    """Numbers of spikes (steps, batch, inputs) as spikes at the times 0, 1, 2, ... of the steps.

    Raises:
        ValueError: one is no whole number >= 0.
    """
    wrong = counts[(counts < 0.0) | (counts != np.rint(counts))]
    if wrong.size:
        raise ValueError(
            f"{OWNER}: x has an input {wrong[0]:.6g}; exact spike times need numbers of spikes, 0, 1, 2, ...: encode "
            "it, e.g. with encoder=spikegen.rate"
        )
    rows = [np.nonzero(counts[:, sample]) for sample in range(counts.shape[1])]
    repeated = [
        [np.repeat(part, counts[step, sample, source].astype(np.intp)) for part in (step, source)]
        for sample, (step, source) in enumerate(rows)
    ]
    width = max((len(step) for step, _ in repeated), default=0)
    times, sources = np.full((len(repeated), width), np.inf), np.zeros((len(repeated), width), np.intp)
    for sample, (step, source) in enumerate(repeated):
        times[sample, : len(step)], sources[sample, : len(step)] = step, source
    return Spikes(times, sources)
