"""What all tests share: which engines run, what skips where hardware is absent, laws whose cases take turns."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from spikecore.conformance.selection import selected
from tests.conformance.own_engines import absent, texts

pytest_plugins = ["spikecore.conformance.plugin"]
os.environ.setdefault("SPIKECORE_BACKGROUND", "0")  # what a test compiles, it compiles itself


#: Laws of how a layer runs, which hold for each layer on each engine. By default the engines take turns at the layers;
#: that each engine agrees with NumPy on each neuron, in values and gradients, is tested whole. So is for each optimiser
#: that its state moves to and from each engine; that an engine resumes with the same bits, a third of them shows.
LAWS = set(
    "test_split test_batch_independence test_constant_input test_purity test_window test_layer_major_is_time_major "
    "test_a_stream_begins_again_and_goes_on_from_any_state test_a_stream_gives_what_the_whole_sequence_gives "
    "test_all_steps_at_once_equal_one_step_after_the_other test_float32_gradient_is_near "
    "test_resume_is_bit_identical".split()
)
TURNS = 3
#: NumPy's engine on an array library that has the standard's words alone. What it computes, the NumPy engine's cases
#: show; that it uses no other word, a third of its cases show.
STRICT = "numpy-strict"
#: Files whose few tests take long. They begin, so that at the end no process waits for one of them.
LONG = tuple(
    f"tests/{name}.py"
    for name in (
        "kernels/test_narrow kernels/test_kernels kernels/test_triton kernels/test_sparse_backward kernels/test_store "
        "verification/test_verify training/test_parallel training/test_parallel_fsdp engines/test_cuda_rig "
        "nn/test_modules nn/test_every_neuron bench/test_bench docs/test_docs docs/test_tutorials cli/test_parallel "
        "cli/test_cli cli/test_files cli/test_sweep cli/test_interrupt eventprop/test_gradient "
        "engines/test_memory_budget conformance/test_neurons conformance/test_executors zoo/test_zoo"
    ).split()
)


def pytest_addoption(parser):
    parser.addoption("--every-case", action="store_true", help="laws run in all their cases, as with `make slow`")


def pytest_configure(config):
    config.option.engine = texts(config.option.engine)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Tests are a million objects that live to the end: Python's collector need not look at them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def turns_of(case):
    """How many cases of its test make a turn, of which the default run has one: see ``LAWS``, or a mark ``turns``."""
    mark = case.get_closest_marker("turns")
    return mark.args[0] if mark else TURNS if getattr(case, "originalname", None) in LAWS else None


class Grid:
    """The places of cases on the axes of their test. In ``callspec.indices`` pytest counts cases instead."""

    def __init__(self):
        self.axes = {}

    def place(self, case):
        """One number for each ``parametrize`` of the case's test."""
        test = case.nodeid.partition("[")[0]
        found = []
        for axis, name in enumerate(case.callspec._idlist):
            names = self.axes.setdefault((test, axis), {})
            found.append(names.setdefault(name, len(names)))
        return found


def thin(cases, grid):
    """Two of three cases are slow tests, but for the first of each test and the first with each layer."""
    seen = set()
    for case in cases:
        name, *_ = case.nodeid.partition("[")
        parts = {name, *(getattr(value, "name", None) for value in case.callspec.params.values())}
        if parts <= seen and (len(name) + sum(grid.place(case))) % TURNS:
            case.add_marker("slow")
        seen |= parts


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Of three cases of a law (engine, layer, option) two are slow tests: places that add up to no multiple of 3.
    Likewise of ``n`` cases of a test with ``@pytest.mark.turns(n)``.

    So each layer has its turn on some engine and each engine at a third of the layers; of three axes each pair meets.
    """
    named = any("::" in argument for argument in config.args)
    if not (named or config.option.every_case) and len(selected(config.option.engine)[0]) > 2:
        strict, grid = [], Grid()
        for item in items:
            turns = turns_of(item)
            if turns:
                if sum(grid.place(item)) % turns:
                    item.add_marker("slow")
            elif STRICT in item.nodeid.partition("[")[2] and not item.get_closest_marker("slow"):
                strict.append(item)
        thin(strict, grid)
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


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
