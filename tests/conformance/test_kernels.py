"""Compiled kernels of every neuron in every wrapper, in every size class, against the loop over steps.

By default short runs take the loop, and layers of different sizes other kernels, so a neuron may work at the size of a
test and fail at that of its user. Here kernels are forced.
"""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten, map_leaves
from spikecore.api.core.variants import unfused
from spikecore.api.neurons.parallel import Parallel
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.checkpoint import known_classes
from spikecore.conformance.rig import assert_close, normal

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")

L = sc.learn
ELEMENTWISE = {
    "Leaky": sc.Leaky(beta=L(0.8, per="neuron"), threshold=L(0.5), graded_spikes_factor=L(1.5)),
    "Leaky-immediate": sc.Leaky(beta=0.8, threshold=0.4, reset_mechanism="zero", reset_delay=False),
    "IF": sc.IF(threshold=L(0.9)),
    "LI": sc.LI(beta=L(0.8)),
    "Synaptic": sc.Synaptic(alpha=L(0.5), beta=L(0.7), threshold=0.8),
    "Alpha": sc.Alpha(alpha=L(0.9), beta=0.6, threshold=0.5, reset_mechanism="subtract"),
    "Lapicque": sc.Lapicque(R=L(1.2), C=3.0, threshold=0.3),
    "ALIF": sc.ALIF(beta=L(0.8), rho=0.9, adaptation=L(0.5), threshold=0.4),
    "ALIF-graded": sc.ALIF(threshold=0.4, graded_spikes_factor=L(1.5), reset_delay=False),
    "DeltaLeaky": sc.DeltaLeaky(beta=L(0.8), delta_threshold=L(0.4)),
    "StateLeaky": sc.StateLeaky(beta=L(0.8), threshold=0.5, parallel=False),
    "Izhikevich": sc.Izhikevich(a=L(0.02), b=0.2, d=L(1.0), threshold=-66.5),
    "PLIF": sc.PLIF(beta=L(0.75, per="neuron"), threshold=0.4),
    "KLIF": sc.KLIF(beta=L(0.7), threshold=0.4),
    "GLIF": sc.GLIF(threshold=L(0.4), time_steps=3),
    "CLIF": sc.CLIF(beta=L(0.6), threshold=0.7),
    "LIAF": sc.LIAF(beta=L(0.8), threshold=L(0.6)),
    "QIF": sc.QIF(beta=L(0.4), threshold=0.6),
    "EIF": sc.EIF(beta=L(0.4), delta_T=L(0.7)),
    "AdEx": sc.AdEx(beta=0.4, b=L(0.3), threshold=0.8),
    "ILIF": sc.ILIF(beta=L(0.6), threshold=L(0.3)),
    "TernaryLeaky": sc.TernaryLeaky(beta=L(0.7), threshold=L(0.8)),
    "SigmaDelta": sc.SigmaDelta(threshold=L(0.8), bias=L(0.1), activation="tanh"),
    "ResonateAndFire": sc.ResonateAndFire(beta=L(0.9), omega=L(0.7), threshold=0.4),
    "BalancedResonateAndFire": sc.BalancedResonateAndFire(omega=L(3.0), b_offset=0.5, dt=0.2, threshold=0.1),
    "SlidingPSN": sc.SlidingPSN(order=3, threshold=L(0.8), parallel=False),
    "QuantizedNeuron": sc.QuantizedNeuron(
        sc.Synaptic(alpha=L(0.5), beta=L(0.7), state_quant=sc.compression.FixedPoint(9, 4)),
        sc.compression.ScaledInteger(6),
    ),
    "QuantizedNeuron-states": sc.QuantizedNeuron(
        sc.CLIF(beta=L(0.6), threshold=0.7), None, sc.compression.FixedPoint(9, 4)
    ),
    "TsodyksMarkram": sc.TsodyksMarkram(U=L(0.3), facilitation=L(0.7), depression=0.9),
}
OTHERS = (  # no kernels, or only through others of this table
    sc.AssociativeLeaky, sc.LeakyParallel, sc.LinearLeaky, sc.SConv2dLSTM, sc.SLSTM, sc.RLeaky, sc.RSynaptic,
    sc.Recurrent, sc.Refractory, sc.Noisy, sc.SpikingGRU, sc.PSN, sc.MaskedPSN, sc.StateSpace,
)  # fmt: skip
LIBRARY = (sc.CLIF, sc.EIF, sc.AdEx, sc.SigmaDelta)  # exp and tanh in their step: no two libraries have the same
WRAPPERS = {
    "alone": lambda neuron, n: neuron,
    "Recurrent": lambda neuron, n: sc.Recurrent(neuron, sc.Linear(n, n)),
    "Recurrent-one-to-one": lambda neuron, n: sc.Recurrent(neuron, sc.OneToOne(L(0.2))),
    "Refractory": lambda neuron, n: sc.Refractory(neuron, 2),
    "Recurrent-Refractory": lambda neuron, n: sc.Recurrent(sc.Refractory(neuron, 2), sc.Linear(n, n, bias=False)),
    "Refractory-Recurrent": lambda neuron, n: sc.Refractory(sc.Recurrent(neuron, sc.OneToOne(0.2)), 2),
}
#: Steps, batch, neurons: a run that by default takes the loop, and one of several chunks and blocks that takes kernels.
SIZES = {"small": (7, 3, 64), "large": (40, 110, 64)}
RARE = ("PLIF", "KLIF", "CLIF", "LIAF", "QIF", "EIF", "ILIF")  # others have all that is special in them
QUICK = [  # spikes are one of the states of ALIF
    *((neuron, "Recurrent") for neuron in ELEMENTWISE if neuron not in RARE),
    ("ALIF", "Recurrent-Refractory"),
    ("ALIF", "Refractory-Recurrent"),
]


def results(engine, layer, size, behind):
    """All that a run returns, and its gradients by input, first state and parameters, in float64."""
    steps, batch, n = size
    net = sc.Sequential(layer, sc.Linear(n, 10)) if behind else layer
    held = Tree(params=net.init(Key((0,)), (n,)).params, x=0.6 * normal(steps, batch, n) + 0.4)
    held = map_leaves(engine.asarray, held)

    def total(held, *weights):
        out = net.run(Pass(engine, record=not behind), held.params, Tree(), None, held.x)
        parts = {"outputs": out.outputs, **flatten(Tree(recorded=out.recorded, state=out.state))}
        terms = (
            engine.xp.sum(part * engine.asarray(normal(*part.shape, seed=i))) for i, part in enumerate(parts.values())
        )
        return sum(terms), Tree(parts)

    _, parts, grads = engine.value_and_grad(total, held)
    return tuple({name: engine.to_numpy(a) for name, a in flatten(tree).items()} for tree in (parts, grads))


def check(name, neuron, wrapper, size, behind):
    layer = WRAPPERS[wrapper](ELEMENTWISE[neuron], SIZES[size][2])
    loop, kernels = (
        results(sc.get_engine(name, dtype="float64", fused=fused), layer, SIZES[size], behind)
        for fused in (False, True)
    )
    assert np.mean(loop[0]["outputs"] != 0) > 0.01
    real = (
        name == "torch" and not layer.spiking and "connection" in vars(layer)
    )  # torch adds a bias while it multiplies
    library = isinstance(layer.core[0], LIBRARY)
    for part, expected in loop[0].items():
        if real or library or (behind and part == "outputs"):
            limit = 1e-8 if real else 1e-11 if library else 1e-13  # sums in another order
            assert_close(kernels[0][part], expected, limit, part)
        else:
            np.testing.assert_array_equal(kernels[0][part], expected, part)
    for part, expected in loop[1].items():
        assert_close(kernels[1][part], expected, 1e-8 if real else 1e-11, part)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize(("neuron", "wrapper"), QUICK)
def test_kernels_equal_the_loop_in_every_size_class(name, neuron, wrapper, size):
    """D2: a state that is the output, a wrapper around it, a size that takes kernels."""
    check(name, neuron, wrapper, size, behind=False)


@pytest.mark.slow
@pytest.mark.parametrize("behind", [False, True], ids=["", "Linear"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("neuron", ELEMENTWISE)
def test_every_neuron_in_every_wrapper(name, neuron, wrapper, size, behind):
    """D2: the same for all, with and without a readout that kernels multiply with the spikes."""
    check(name, neuron, wrapper, size, behind)


def test_every_neuron_is_in_the_table():
    neurons = {one for one in known_classes().values() if issubclass(one, Stepper) and not one.__name__.startswith("_")}
    abstract = {sc.base.Neuron, sc.base.Membrane, Parallel}
    assert neurons - abstract == {type(one) for one in ELEMENTWISE.values()} | set(OTHERS)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_dense_recurrence_around_another_recurrence_has_no_kernel(name):
    """The kernel holds a product in the place of the spikes that the inner recurrence reads."""
    steps, batch, n = SIZES["large"]
    inner = sc.RLeaky(beta=0.8, all_to_all=False, V=0.3, threshold=0.4)
    layer, engine = sc.Recurrent(inner, sc.Linear(n, n)), sc.get_engine(name, dtype="float64")
    params = map_leaves(engine.asarray, layer.init(Key((0,)), (n,)).params)
    x = engine.asarray(abs(normal(steps, batch, n)))
    loop, found = (layer.run(Pass(e), params, Tree(), None, x).outputs for e in (unfused(engine), engine))
    np.testing.assert_array_equal(engine.to_numpy(found), engine.to_numpy(loop))
    with pytest.raises(RuntimeError, match="not elementwise"):
        layer.run(Pass(sc.get_engine(name, dtype="float64", fused=True)), params, Tree(), None, x)
