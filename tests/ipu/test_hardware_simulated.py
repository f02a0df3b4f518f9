"""The tests of ``test_hardware.py`` as they are, with the simulation where ``import poptorch`` finds PopTorch."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import inspect
import sys

import pytest

pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore.engines.ipu import simulation
from tests.ipu import test_hardware as hardware


def cases():
    """Each test with each of its parameters."""
    for name, function in vars(hardware).items():
        if name.startswith("test_"):
            marks = [mark for mark in function.pytestmark if mark.name == "parametrize"]
            values = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
            for i, given in enumerate(values):
                seldom = [pytest.mark.slow] if i % 4 else []  # SGD and Adam go first; `test_engine.py` has others
                yield pytest.param(function, given, id=f"{name}-{i}" if given else name, marks=seldom)


@pytest.fixture
def poptorch(monkeypatch):
    """The simulation under PopTorch's name."""
    monkeypatch.setitem(sys.modules, "poptorch", simulation)
    return simulation


@pytest.mark.parametrize(("test", "given"), list(cases()))
def test_the_hardware_tests_pass_in_the_simulation(poptorch, ipus, tmp_path, test, given):
    """A12, and with it A1 (outputs), A2 and A3 (resuming), A4 (a pipeline), A7 and A8 (maps), A9 (exporting), A10; on
    a machine with no more IPUs than one program needs."""
    assert not sc.get_engine("ipu").simulate
    ipus(2 if test is hardware.test_a_pipeline_over_two_ipus else 1)
    wanted = inspect.signature(test).parameters
    test(**given, **({"tmp_path": tmp_path} if "tmp_path" in wanted else {}))


def test_every_hardware_test_is_among_them():
    marked = [name for name, one in vars(hardware).items() if getattr(one, "pytestmark", None)]
    assert len(marked) >= 7
    assert set(marked) == {case.values[0].__name__ for case in cases()}


def test_verify_in_float32_has_teeth(poptorch, monkeypatch):
    """A10: a gradient that does not arrive is no rounding."""
    from spikecore.engines.ipu import words
    from spikecore.engines.torch.spike import SpikeFunction

    def spoiled(device, dtype, original=words.words):
        xp = original(device, dtype)
        xp.spike = lambda u, surrogate: SpikeFunction.apply(u, surrogate, xp)
        return xp

    x, y = hardware.batches()[0]
    model = sc.Model(hardware.NET, sc.get_engine("ipu", check=False))
    right = sc.verify(model, x, y, num_steps=6, differences=False)
    assert right.worst <= 1e-4
    assert {row.check for row in right.rows} == {"float32"}
    monkeypatch.setattr("spikecore.engines.ipu.traced.words", spoiled)
    wrong = sc.verify(model, x, y, num_steps=6, differences=False)
    assert not wrong.ok
    assert wrong.worst > 0.1
