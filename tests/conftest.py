"""What all tests share: which engines run, and hardware marks that skip where the hardware is absent, and say so."""

from __future__ import annotations

import os
import sys

import pytest

from tests.conformance.own_engines import absent, texts

pytest_plugins = ["spikecore.conformance.plugin"]
os.environ.setdefault("SPIKECORE_BACKGROUND", "0")  # what a test compiles, it compiles itself


def pytest_configure(config):
    config.option.engine = texts(config.option.engine)


def pytest_runtest_setup(item):
    for mark in ("cuda", "cupy", "ipu_model", "ipu"):
        if item.get_closest_marker(mark):
            reason = absent({"cuda": "torch-cuda", "ipu": "ipu-device"}.get(mark, mark))
            if reason:
                pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_picture_stays_open():
    """Pyplot, where a test has imported it, keeps figures until they are closed."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def spikecore(capsys):
    """Runs the command line; returns exit code, stdout, stderr."""
    from spikecore.cli import command

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            command.main([str(argument) for argument in arguments])
        return (left.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def narrowly(monkeypatch):
    """The runs that went through kernels of a neuron and the Linear behind it."""
    from spikecore.kernels.readout import Multiply
    from spikecore.kernels.sequence import SequenceNumba

    seen, forward = [], SequenceNumba.forward

    def spy(self, *args, **options):
        if isinstance(self.sink, Multiply):
            seen.append(self)
        return forward(self, *args, **options)

    monkeypatch.setattr(SequenceNumba, "forward", spy)
    return seen


@pytest.fixture
def ipus(monkeypatch):
    """Sets how many IPUs the simulated machine has for this test; none is held at its beginning."""
    from spikecore.engines.ipu.simulation import attached, machine

    def there_are(count):
        monkeypatch.setattr(attached, "MACHINE", machine.Machine(count))
        return attached.MACHINE

    return there_are


@pytest.fixture
def many_ipus(ipus):
    """So many IPUs that PopTorch's models need not be destroyed after use."""
    return ipus(64)
