"""EventProp against jaxsnn, which finds spikes in closed form, and their gradient by an adjoint and by JAX's own."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import eventprop

jax = pytest.importorskip("jax", reason="jax is not installed: extra 'peers'")
pytest.importorskip("jaxsnn", reason="jaxsnn is not installed: extra 'peers'")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # it compiles for seconds; their warnings
INS, HIDDEN, OUTS, BATCH, DURATION, TAU = 4, 8, 3, 5, 60.0, 20.0
EVENTS = 60  # of a layer, more than there are


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def theirs(params, spikes, targets, tau_syn, method):
    """Loss and gradients, of weights by name and of the input's times, as jaxsnn has them."""
    from jaxsnn.event.loss import first_spike
    from jaxsnn.event.modules import LIF, Linear, Source
    from jaxsnn.event.modules.lif.lif import LIFParameters
    from jaxsnn.event.topology import Topology
    from jaxsnn.event.types import Spike

    jnp = jax.numpy
    neuron = LIFParameters(tau_syn=tau_syn, tau_mem=TAU, v_th=1.0, v_reset=0.0)
    network = Topology(t_max=DURATION, backprop_method=method)
    weights = [Linear(pre_weights=jnp.asarray(params[f"{n}.weight"].T)) for n in (0, 1)]
    layers = {"lif0": LIF(HIDDEN, EVENTS, neuron), "lif1": LIF(OUTS, EVENTS, neuron)}
    network.add({"inp": Source(INS), **layers, "syn0": weights[0], "syn1": weights[1]})
    network.connect([("inp", "syn0"), ("syn0", "lif0"), ("lif0", "syn1"), ("syn1", "lif1")])
    init, apply = network.done()

    def loss(held):
        shape = held["times"].shape
        of_layer, there = jnp.zeros(shape, int), jnp.ones(shape, bool)
        entering = Spike(held["times"], jnp.asarray(spikes.sources), jnp.zeros(shape), of_layer, there)
        found = apply({"inp": entering}, {**init(jax.random.PRNGKey(0)), "syn0": held["syn0"], "syn1": held["syn1"]})
        first = jax.vmap(lambda each: first_spike(each, OUTS))(found["lif1"])
        return jnp.mean(jnp.sum((jnp.minimum(first, DURATION) - targets) ** 2, -1) / 2.0)

    held = {"syn0": jnp.asarray(params["0.weight"].T), "syn1": jnp.asarray(params["1.weight"].T)}
    value, slopes = jax.value_and_grad(loss)({**held, "times": jnp.asarray(spikes.times)})
    by_weight = {f"{n}.weight": np.asarray(slopes[f"syn{n}"]).T for n in (0, 1)}
    return float(value), by_weight, np.asarray(slopes["times"])


@pytest.mark.parametrize("method", ["eventprop", "analytical"])
@pytest.mark.parametrize("tau_syn", [20.0, 10.0])
def test_loss_and_gradient(tau_syn, method):
    layers = [eventprop.Layer(INS, HIDDEN, tau_syn=tau_syn), eventprop.Layer(HIDDEN, OUTS, tau_syn=tau_syn)]
    network = eventprop.Network(layers, DURATION)
    rng = np.random.default_rng(1)
    params = network.init(1)
    spikes, targets = eventprop.Spikes.of(rng.uniform(0.0, 20.0, (BATCH, INS))), rng.uniform(5.0, 30.0, (BATCH, OUTS))
    ours = eventprop.gradient(network, params, spikes, targets, eventprop.spike_time_loss())
    assert all(each.present.any(1).all() for each in ours.run.spikes)
    value, by_weight, by_times = theirs(params, spikes, targets, tau_syn, method)
    pairs = [*((ours.grads[name], each) for name, each in by_weight.items()), (ours.inputs, by_times)]
    errors = [abs(ours.loss - value) / value, *(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)]
    assert max(errors) < 1e-12  # rounding
