"""Random small networks, through graphs and files: the spikes after are the spikes before."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

nir = pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")

import spikecore as sc  # noqa: E402
from spikecore.nir import SumPool2d, model_from_nir  # noqa: E402
from tests.nir.nir_rig import graph_of, inputs  # noqa: E402

decays = st.one_of(st.just(0.0), st.floats(1e-3, 0.999))  # a decay below 1e-15 becomes 0
numbers = st.floats(-1.0, 1.0)


@st.composite
def parameters(draw, values, neurons):
    """A number, one per neuron, or learned in one way or another."""
    kind = draw(st.sampled_from(["number", "array", "learned", "per neuron"]))
    if kind == "array":
        return np.array(draw(st.lists(values, min_size=neurons, max_size=neurons)))
    value = draw(values)
    return {"number": value, "learned": sc.learn(value), "per neuron": sc.learn(value, per="neuron")}[kind]


@st.composite
def spiking(draw, n):
    options = {
        "threshold": draw(parameters(st.floats(0.1, 1.5), n)),
        "reset_mechanism": draw(st.sampled_from(["subtract", "subtract_decayed", "zero", "none"])),
        "reset_delay": draw(st.booleans()),
        "graded_spikes_factor": draw(st.sampled_from([1.0, 0.5, 3.0])),
    }
    kind = draw(st.sampled_from(["Leaky", "IF", "Synaptic", "Lapicque", "RLeaky", "RSynaptic", "Recurrent"]))
    beta, alpha = draw(parameters(decays, n)), draw(parameters(decays, n))
    if kind == "IF":
        return sc.IF(**options)
    if kind == "Lapicque":
        return sc.Lapicque(
            R=draw(parameters(st.floats(2.0, 9.0), n)), C=draw(parameters(st.floats(1.0, 3.0), n)), **options
        )
    plain = {"beta": beta, **({"alpha": alpha} if kind.endswith("Synaptic") else {}), **options}
    if kind == "Recurrent":
        back = draw(st.sampled_from([sc.Linear(n, n, bias=False), sc.OneToOne(draw(parameters(numbers, n)))]))
        return sc.Recurrent(sc.Leaky(**plain), back)
    if kind[0] == "R":
        dense = draw(st.booleans())
        plain.update({"linear_features": n} if dense else {"all_to_all": False, "V": draw(parameters(numbers, n))})
    return getattr(sc, kind)(**plain)


@st.composite
def maps(draw):
    """Layers of maps (2, 6, 6) -> a number of features."""
    bias, pool = draw(st.booleans()), draw(st.sampled_from([sc.AvgPool2d, SumPool2d]))
    conv = sc.Conv2d(2, 4, 3, padding=draw(st.integers(0, 1)), groups=draw(st.sampled_from([1, 2])), bias=bias)
    side = 2 if conv.padding == (0, 0) else 3
    beta = draw(st.sampled_from([0.9, sc.learn(0.7, per="channel"), sc.learn(0.8, per="neuron")]))
    return [conv, sc.Leaky(beta=beta, threshold=0.3), pool(2), sc.Flatten(), sc.Linear(4 * side * side, 4)]


@st.composite
def networks(draw):
    start = draw(st.sampled_from(["vector", "map"]))
    layers = [sc.Linear(4, 4)] if start == "vector" else draw(maps())
    for _ in range(draw(st.integers(1, 3))):
        more = draw(
            st.sampled_from(
                [
                    draw(spiking(4)),
                    sc.Residual(sc.Sequential(sc.Linear(4, 4), draw(spiking(4)))),
                    sc.LI(beta=draw(parameters(decays, 4))),
                    sc.OneToOne(draw(parameters(st.floats(0.2, 2.0), 4))),
                    sc.Delay(draw(st.integers(0, 3))),
                    sc.GradedSpikes(4),
                ]
            )
        )
        layers.append(more)
    return sc.Sequential(*layers, sc.Linear(4, 3), draw(spiking(3))), (4,) if start == "vector" else (2, 6, 6)


def saved_and_read(graph):
    file = io.BytesIO()
    nir.write(file, graph)
    file.seek(0)
    return nir.read(file, type_check=False)


@given(found=networks(), seed=st.integers(0, 99), dt=st.sampled_from([1e-4, 1e-3, 1.0, 0.3]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_networks_spike_as_before(found, seed, dt):
    network, shape = found
    model = sc.Model(network, "numpy", input_shape=shape, seed=seed)
    x = inputs(shape, scale=4.0, seed=seed)[:12]
    graph, _ = graph_of(model, dt=dt)
    again = model_from_nir(saved_and_read(graph), engine="numpy")
    np.testing.assert_array_equal(again(x).spikes, model(x).spikes)
    twice, _ = graph_of(again, dt=dt)
    assert sorted(type(node).__name__ for node in twice.nodes.values()) == sorted(
        type(node).__name__ for node in graph.nodes.values()
    )
