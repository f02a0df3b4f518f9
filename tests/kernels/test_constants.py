"""C11: constants are arguments of kernels: other values need no other code, and what is thrown away is freed."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves
from tests.kernels.kernel_checks import check

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
from spikecore.kernels.runtime import build  # noqa: E402

VALUES = np.random.default_rng(0).uniform(0.05, 0.95, 12).tolist()


def compiled():
    return len(build.in_memory)


def run(name, layer, n=70):
    engine = sc.get_engine(name, fused=True)
    params = map_leaves(engine.asarray, layer.init(Key((0,)), (n,)).params)
    x = engine.asarray(np.random.default_rng(1).random((6, 3, n)))

    def total(held):
        return engine.xp.sum(layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs), ()

    return engine.value_and_grad(total, Tree(params=params, x=x))


LAYERS = {
    "elementwise": lambda v: sc.Synaptic(alpha=v, beta=v / 3, threshold=1 - v, surrogate=sc.surrogate.atan(3 + v)),
    "dense": lambda v: sc.Recurrent(sc.ALIF(beta=v, rho=v / 2, adaptation=1 + v), sc.Linear(70, 70)),
    "narrow": lambda v: sc.Sequential(sc.Leaky(beta=v, graded_spikes_factor=1 + v), sc.Linear(70, 10)),
    "wrapped": lambda v: sc.Refractory(sc.Leaky(beta=v, surrogate=sc.surrogate.fast_sigmoid(20 + v))),
}


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_other_values_need_no_other_kernels(name, make):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    run(name, make(VALUES[0]))
    before = compiled()
    for value in VALUES:
        run(name, make(value))
    assert compiled() == before


def test_calls_step_by_step_and_updates_of_other_values_need_no_other_kernels():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore.kernels.update import update

    counts = []
    for value in VALUES:
        lif = sc.nn.Synaptic(alpha=value, beta=value / 2, spike_grad=sc.surrogate.atan(2 + value))
        x = torch.rand(1 << 14, requires_grad=True)
        lif(x)[0].sum().backward()
        ones = np.ones((3, 2), "float32")
        update(sc.Adam(betas=(value, 0.9 + value / 20), eps=value / 1e6, weight_decay=value), ones, ones, {}, 1, 0.1)
        counts.append(compiled())
    assert len(set(counts)) == 1


@dataclass(frozen=True)
class Powers(sc.base.Neuron):
    """Constants in all places where their values matter to the code."""

    power: sc.base.Param = 2.0
    low: sc.base.Param = -0.5
    high: sc.base.Param = 0.75
    scale: sc.base.Param = 0.5

    def step(self, engine, params, state, x):
        xp = engine.xp
        mem = params.scale * state.mem + xp.clip(x, params.low, params.high) + (abs(x) + 0.1) ** params.power
        mem = xp.where(mem > params.high, mem * params.scale, mem) / (2.0 + params.scale)
        return self.graded(params, self.fires(engine, params, mem)), sc.base.State(mem=mem)


SPECIAL = [{"scale": 0.0, "power": 1.0}, {"scale": -1.0, "low": -1.0, "high": 2.0**100}]


@pytest.mark.parametrize("values", SPECIAL, ids=str)
def test_constants_that_compilers_simplify(values):
    check("numpy", "float64", Powers(threshold=0.15, **values))


def test_exponents_are_arguments_too():
    """A power's last bits are the C library's, so values are close, not equal."""
    x, mems = np.random.default_rng(0).random((9, 2, 5)), []
    for fused in (False, True):
        run = Pass(sc.get_engine("numpy", dtype="float64", fused=fused), record=True)
        mems.append(Powers(power=1.7, threshold=0.5).run(run, Tree(), Tree(), None, x).recorded.mem)
    assert np.allclose(*mems, rtol=1e-13, atol=0)


THOUSAND = """
import gc, os, sys
import numpy as np
import spikecore as sc
from spikecore.api.core.layer import Pass
from spikecore.api.core.tree import Tree
from spikecore.kernels.runtime import build

engine, kept = sc.get_engine(sys.argv[1], fused=True), []
x = engine.asarray(np.random.default_rng(0).random((10, 4, 100)))

def run(beta):
    layer = sc.Leaky(beta=beta)
    kept.append(layer)
    total = lambda held: (engine.xp.sum(layer.run(Pass(engine), Tree(), Tree(), None, held.x).outputs), ())
    engine.value_and_grad(total, Tree(x=x))

def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

for i in range(5):
    run(0.3 + i / 100)
before, compiled = resident(), len(build.in_memory)
for i in range(1000):
    run(0.4 + i / 2001)
print(resident() - before, len(build.in_memory) - compiled)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_thousand_values_in_one_process(name):
    done = subprocess.run([sys.executable, "-c", THOUSAND, name], check=True, capture_output=True, text=True)
    megabytes, others = map(float, done.stdout.split())
    assert others == 0
    assert megabytes < 50


def define():
    """A neuron and a surrogate that nobody else knows."""

    @dataclass(frozen=True)
    class Mine(sc.surrogate.Surrogate):
        def derivative(self, xp, u):
            return 1.0 / (1.0 + 3.0 * abs(u))

    @dataclass(frozen=True)
    class Own(sc.base.Neuron):
        def step(self, engine, params, state, x):
            mem = 0.9 * state.mem + x
            return self.graded(params, self.fires(engine, params, mem)), sc.base.State(mem=mem)

    return Own, Mine


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_classes_that_are_thrown_away_are_freed(name):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")

    def use():
        own, mine = define()
        neuron = own(surrogate=mine(), threshold=0.4)
        for layer in (neuron, sc.Recurrent(neuron, sc.Linear(70, 70))):
            run(name, layer)
        return [weakref.ref(own), weakref.ref(mine)]

    found = use()
    gc.collect()
    assert [one() for one in found] == [None, None]
