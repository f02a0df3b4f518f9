"""The IPU engine is made of plain torch ops: no kernel, no custom operator, no order of memory of its own."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

from torch.utils._python_dispatch import TorchDispatchMode

import spikecore as sc
from spikecore.api.core.tree import Params, State
from spikecore.api.core.variants import unfused
from spikecore.api.core.words import WORDS
from spikecore.conformance import cases
from spikecore.engines.ipu.check import check
from spikecore.engines.ipu.engine import IpuEngine
from spikecore.engines.ipu.plain import PlainEngine
from spikecore.engines.ipu.words import words
from spikecore.engines.torch import convolution, namespace
from spikecore.kernels.sizes import taken_as_larger
from tests.ipu.ipu_rig import batch, fitted, model

CONV = sc.Sequential(
    sc.Conv2d(2, 4, 3), sc.BatchNorm2d(4), sc.Leaky(beta=0.5), sc.Conv2d(4, 4, 3), sc.MaxPool2d(2), sc.Leaky(),
    sc.Flatten(), sc.Linear(4, 3), sc.Leaky(),
)  # fmt: skip
RECURRENT = sc.Sequential(sc.Linear(6, 4), sc.RLeaky(linear_features=4), sc.Linear(4, 3), sc.Synaptic())
MAPS = np.random.default_rng(0).random((4, 2, 6, 6), dtype="float32")


def refuse(name):
    def called(*arguments, **options):
        raise RuntimeError(f"{name} was reached")

    return called


class Namespaces(TorchDispatchMode):
    """Notes whose operators run, and in which order of memory copies are made."""

    def __init__(self):
        super().__init__()
        self.found, self.orders = set(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.found.add(function.namespace)
        self.orders.add((kwargs or {}).get("memory_format"))
        return function(*args, **(kwargs or {}))


def used(one, *arguments, **options):
    """What a call of a model uses."""
    one(*arguments, **options)  # builds, and compiles
    with Namespaces() as seen:
        one(*arguments, **options)
    return seen


@pytest.mark.parametrize(("network", "x"), [(CONV, MAPS), (RECURRENT, batch(4)[0])], ids=["maps", "recurrent"])
def test_every_operator_is_atens(network, x):
    for options in ({}, {"inference_loop": True}):
        seen = used(model(network, **options), x, num_steps=3)
        assert seen.found == {"aten"}
        assert torch.channels_last not in seen.orders
    assert torch.channels_last in used(sc.Model(CONV, "torch"), MAPS, num_steps=3).orders, "it would be seen"


@pytest.mark.parametrize("word", ["conv", "matmul", "pad", "patches"])
def test_products_and_windows_are_torchs_plain_ones(word):
    """Not what the torch engine does to save time and memory, which are functions of autograd or orders of memory."""
    plain, ours = namespace.words("cpu", "float32"), words("cpu", "float32")
    assert getattr(ours, word) is getattr(plain, word)
    if word in ("conv", "matmul"):
        assert getattr(sc.get_engine("torch").xp, word) is not getattr(ours, word)
    assert set(vars(ours)) == set(WORDS)


def test_convolutions_do_not_reorder_memory(monkeypatch):
    monkeypatch.setattr(convolution, "channels_last", refuse("channels_last"))
    data = [(MAPS, np.arange(4) % 3)]
    fitted(model(CONV), data, num_steps=3, validation=data)
    with pytest.raises(RuntimeError, match="channels_last was reached"):
        fitted(sc.Model(CONV, "torch"), data, num_steps=3)


KERNELS = ("spikecore.engines.torch.engine.fused_scan", "spikecore.engines.torch.engine.loop",
           "spikecore.kernels.select.choose", "spikecore.engines.torch.operators.run",
           "spikecore.engines.torch.spike.SpikeFunction.apply", "spikecore.kernels.select.explain")  # fmt: skip


def test_no_kernel_is_reached(monkeypatch):
    """In training, in parts, in inference, in a verification, or by a question."""
    for name in KERNELS:
        monkeypatch.setattr(name, refuse(name))
    data = [batch(64)]
    with taken_as_larger(100.0):  # three steps go the way of 300
        fitted(model(RECURRENT), data, num_steps=3, validation=data)
    fitted(model(RECURRENT), data, num_steps=4, learning=sc.BPTT(update_every=2), loss=None)
    for _, network in (("maps", CONV), *((case.name, case.layer) for case in cases.FAMILY[:4])):
        said = sc.get_engine("ipu", simulate=True).explain(network)
        assert ("at once" if getattr(network, "parallel", False) else "plain ops") in said
    assert unfused(sc.get_engine("ipu", simulate=True)).name == "ipu"
    with pytest.raises(RuntimeError, match=r"fused_scan was reached"), taken_as_larger(100.0):
        fitted(sc.Model(RECURRENT, "torch"), data, num_steps=3)


def test_compilers_of_kernels_are_not_imported():
    """A process that trains on the IPU engine never imports Numba, nor a module that makes kernels."""
    script = (
        "import sys, numpy as np, spikecore as sc\n"
        "model = sc.Model(sc.Sequential(sc.Linear(6, 64), sc.Leaky()), 'ipu', simulate=True)\n"
        "before = set(sys.modules)\n"
        "data = [(np.ones((64, 6), 'float32'), np.arange(64))]\n"
        "model.fit(data, num_steps=100, validation=data, progress=False)\n"
        "print([m for m in set(sys.modules) - before if m == 'numba' or m.startswith('spikecore.kernels')])\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_gradients_on_the_host_are_plain_too(monkeypatch):
    for name in KERNELS:
        monkeypatch.setattr(name, refuse(name))
    engine = IpuEngine(simulate=True, host_gradients=True)
    assert isinstance(engine, PlainEngine)
    x = torch.ones(300, 8, 5)
    value, _, grads = engine.value_and_grad(
        lambda held: (engine.scan(sc.Leaky(), sc.Leaky().prepare(engine, Params()), held.state, x)[0].sum(), None),
        Params(state=State(mem=torch.zeros(8, 5))),
    )
    assert float(value) > 0
    assert float(grads.state.mem.abs().max()) > 0


def test_a_custom_operator_would_be_refused():
    """``check`` knows the operators that PopTorch lowers; ours are not among them."""
    library = torch.library.Library("spikecore_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")

    class Custom(torch.nn.Module):
        def forward(self, x):
            return torch.ops.spikecore_test.twice(x)

    report = check(Custom(), [torch.ones(2, 3)], training=False)
    assert [one.trap for one in report.findings if one.error] == ["operator"], report
