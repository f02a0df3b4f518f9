"""What engines make of a network's layers: stages that cover all of them and give what the layers give one by one."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.extras import Stages, TrainingOptions, extra
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.tree import flatten, map_leaves

pytest.importorskip("torch", reason="one of the engines here")

MAPS = (sc.Conv2d(2, 4, 3), sc.MaxPool2d(2), sc.Leaky(threshold=0.1), sc.Flatten())
NETWORKS = {
    "dense": (sc.Sequential(sc.Linear(6, 40), sc.Leaky(threshold=0.1), sc.Linear(40, 3), sc.Leaky()), (6,)),
    "membrane": (sc.Sequential(sc.Linear(6, 9), sc.Synaptic(threshold=0.1), sc.Linear(9, 3)), (6,)),
    "maps": (sc.Sequential(*MAPS, sc.Linear(16, 3), sc.LI()), (2, 6, 6)),
    "nested": (
        sc.Sequential(sc.Residual(sc.Sequential(sc.Linear(6, 6), sc.Leaky(), sc.Linear(6, 6))), sc.ALIF()),
        (6,),
    ),
    "quantized": (
        sc.Sequential(sc.Linear(6, 40), sc.Leaky(threshold=0.1), sc.Quantized(sc.Linear(40, 3)), sc.Leaky()),
        (6,),
    ),
    "parallel": (sc.Sequential(sc.Leaky(reset_mechanism="none", parallel=True), sc.Linear(6, 2)), (6,)),
    "noise": (sc.Sequential(sc.Leaky(surrogate=sc.surrogate.SSO()), sc.Linear(6, 2)), (6,)),
}


@pytest.fixture(params=["numpy", "torch"])
def engine(request):
    return sc.get_engine(request.param, fused=True)


def lowered(engine, network):
    return extra(engine, Stages).lower(engine, network)


def results(engine, network, shape, record, train):
    init = network.init(Key((0,)), shape)
    x = engine.asarray(2 * np.random.default_rng(0).random((7, 3, *shape)).astype("float32"))
    run = Pass(engine, train=train, key=Key((1,)), record=record)
    made = network.run(run, map_leaves(engine.asarray, init.params), map_leaves(engine.asarray, init.buffers), None, x)
    trees = [flatten(tree) for tree in (made.buffers, made.state, made.recorded)]
    return engine.to_numpy(made.outputs), [{name: engine.to_numpy(x) for name, x in tree.items()} for tree in trees]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("record", [(), True, ("1",)])
@pytest.mark.parametrize("name", NETWORKS)
def test_stages_give_what_layers_give_one_by_one(engine, name, record, train):
    network, shape = NETWORKS[name]
    if name in ("parallel", "noise", "nested"):
        engine = sc.get_engine(engine.name)  # kernels where there are some
    plain = type("Plain", (type(engine),), {"extras": ()})
    other = plain.__new__(plain)
    other.__dict__.update(vars(engine))
    (out, trees), (wanted, others) = (results(one, network, shape, record, train) for one in (engine, other))
    np.testing.assert_allclose(out, wanted, rtol=1e-6, atol=1e-6)
    for tree, expected in zip(trees, others):
        assert list(tree) == list(expected)
        for key, value in tree.items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_cover_all_layers_in_order(engine, name):
    network = NETWORKS[name][0]
    stages = lowered(engine, network)
    assert [layer for stage in stages for layer in stage.covers] == [key for key, _ in network.children()]
    assert all(isinstance(stage, Stage) for stage in stages)


def test_what_is_found(engine):
    kinds = [type(stage).__name__ for stage in lowered(engine, NETWORKS["maps"][0])]
    assert kinds == ["Maps", "Alone", "Alone", "Alone", "Alone"]
    assert [type(stage).__name__ for stage in lowered(engine, NETWORKS["dense"][0])] == ["Alone", "Readout", "Alone"]
    assert [type(stage).__name__ for stage in lowered(engine, NETWORKS["quantized"][0])] == [
        "Alone",
        "Readout",
        "Alone",
    ]
    grids = sc.Sequential(sc.Leaky(), sc.Quantized(sc.Linear(6, 3), input_quant=sc.compression.FixedPoint(8, 4)))
    assert all(isinstance(stage, Alone) for stage in lowered(engine, grids)), "it rounds the spikes first"
    said = engine.explain(NETWORKS["dense"][0]).splitlines()
    assert [line.split(":")[0] for line in said] == ["0 (Linear)", "1 + 2 (Leaky + Linear)", "3 (Leaky)"]
    beside = lowered(engine, sc.Residual(sc.Leaky(), sc.Linear(6, 6)))
    assert all(isinstance(stage, Alone) for stage in beside), "layers side by side are no neighbours"
    nested = engine.explain(NETWORKS["nested"][0]).splitlines()
    assert [line.split(" ")[0] for line in nested] == ["0.body.0", "0.body.1", "1"]


def test_an_engine_with_a_scan_of_its_own_is_not_passed_by(engine):
    class Own(type(engine)):
        def scan(self, *arguments, **options):
            return super().scan(*arguments, **options)

    assert all(isinstance(stage, Alone) for stage in extra(Own, Stages).lower(engine, NETWORKS["dense"][0]))


def test_a_neuron_with_a_run_of_its_own_stands_alone(engine):
    class Loud(sc.Leaky):
        def run(self, *arguments):
            made = super().run(*arguments)
            return made._replace(outputs=2 * made.outputs)

    network = sc.Sequential(Loud(), sc.Linear(6, 3))
    assert all(isinstance(stage, Alone) for stage in lowered(engine, network))


def test_stages_are_made_once_for_an_engine_and_stay_out_of_copies(engine):
    made = []

    class Counting(Stages):
        def lower(self, engine, network):
            made.append(engine)
            return super().lower(engine, network)

    one, other = (type("Own", (type(engine),), {"extras": (Counting(),)})() for _ in range(2))
    network, shape = NETWORKS["dense"]
    network = copy.copy(network)  # nothing else has run it
    for each in (one, one, other, one):
        results(each, network, shape, (), False)
    assert made == [one, other, one]
    for same in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert same == network
        results(other, same, shape, (), False)
    assert made == [one, other, one, other, other]
    alive = weakref.ref(one)
    del one, each, made[:]
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("values", [[3e38, 3e38, 3e38], [np.nan, 1.0], [np.inf, -np.inf], [-np.inf], [0.5], []])
def test_all_finite_tells_large_numbers_from_none(engine, values):
    finite = extra(engine, TrainingOptions).all_finite(engine, engine.asarray(np.array(values, "float32")))
    assert finite is bool(np.isfinite(values).all())
