"""Small runs: kernels at any size once they are compiled, compiled by a process beside the loop, the same results."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Pass
from spikecore.api.core.tree import Tree
from tests.kernels.kernel_rig import forget, only_place

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
from spikecore.kernels import select  # noqa: E402
from spikecore.kernels.runtime import background, build, machine_code, store  # noqa: E402
from spikecore.kernels.sequence import SequenceNumba  # noqa: E402

PATIENCE = 120.0  # seconds in which a kernel is compiled, on a busy machine as well


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """The only place for kernels, where nothing is yet, and nothing in memory."""
    monkeypatch.setenv(background.SWITCH, "1")
    forget()
    yield only_place(monkeypatch, tmp_path)
    forget()


@pytest.fixture
def asked(monkeypatch):
    """What is to be compiled in the background; nothing is."""
    recipes = []
    monkeypatch.setattr(background, "ask", recipes.extend)
    return recipes


@pytest.fixture
def kernels_run(monkeypatch):
    """The shapes of the runs that went through kernels."""
    shapes, forward = [], SequenceNumba.forward

    def spy(self, request, keep=True):
        shapes.append((request.steps, *request.shape))
        return forward(self, request, keep)

    monkeypatch.setattr(SequenceNumba, "forward", spy)
    return shapes


def once(engine, layer, repeating=False, shape=(5, 2, 3)):
    """The spikes of a small run."""
    x = engine.asarray(np.random.default_rng(0).random(shape, dtype="float32"))
    out = layer.run(Pass(engine, repeating=repeating), Tree(), Tree(), None, x).outputs
    return engine.to_numpy(out)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_kernel_in_memory_serves_runs_of_any_size(name, asked, kernels_run):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    engine, layer = sc.get_engine(name), sc.Leaky(beta=0.8, threshold=0.5)
    expected = once(engine, layer)
    assert not kernels_run
    assert [recipe.name for recipe in asked] == ["forward"]
    large = (32, 64, 128)
    once(engine, layer, shape=large)
    time.sleep(select.PAUSE)
    assert np.array_equal(once(engine, layer), expected)
    assert kernels_run == [large, (5, 2, 3)]


def test_what_was_looked_for_in_vain_is_not_looked_for_at_every_run(asked, monkeypatch):
    engine, layer, reads, read = sc.get_engine("numpy"), sc.Leaky(beta=0.8), [], store.load
    monkeypatch.setattr(store, "load", lambda entry: reads.append(entry) or read(entry))
    monkeypatch.setattr(select, "PAUSE", 1000.0)
    for _ in range(3):
        once(engine, layer)
    assert len(reads) == len(asked) == 1


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_both_ways_are_asked_for_where_there_will_be_gradients(name, asked):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    engine, layer = sc.get_engine(name), sc.Leaky(beta=sc.learn(0.8))

    def total(held):
        return engine.xp.sum(layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs), ()

    held = Tree(params=Tree(beta=engine.asarray(np.float32(0.8))), x=engine.asarray(np.ones((5, 2, 3), "float32")))
    engine.value_and_grad(total, held)
    assert [recipe.name for recipe in asked] == ["forward", "backward"]
    assert "gp_0" in asked[1].text


def test_training_of_a_model_goes_by_sizes_alone(asked, kernels_run):
    """Or an interrupted run would not continue with the same bits."""
    engine, layer = sc.get_engine("numpy"), sc.Leaky(beta=0.8)
    once(engine, layer, shape=(32, 64, 128))
    time.sleep(select.PAUSE)
    once(engine, layer)
    assert len(kernels_run) == 2
    model = sc.Model(sc.Sequential(sc.Linear(4, 3), layer), engine=engine)
    data = [(np.ones((2, 4), "float32"), np.zeros(2, int))]
    model.fit(data, num_steps=5, validation=data)
    assert len(kernels_run) == 2
    assert not asked


def test_true_and_false_do_not_change(asked, kernels_run):
    layer = sc.Leaky(beta=0.8, threshold=0.5)
    loop, kernel = (once(sc.get_engine("numpy", fused=fused), layer) for fused in (False, True))
    assert np.array_equal(loop, kernel)
    assert len(kernels_run) == 1
    assert not asked


def waited_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def started(monkeypatch):
    """The processes that are started from here on; none runs, and nothing has been asked for."""
    processes, compiler = [], background.Compiler
    monkeypatch.setattr(background, "Compiler", lambda: processes.append(compiler()) or processes[-1])
    monkeypatch.setattr(background, "_process", None)
    monkeypatch.setattr(background, "_asked", {})
    return processes


def test_a_process_compiles_each_kernel_once(place, kernels_run, started):
    engine, layer = sc.get_engine("numpy"), sc.Leaky(beta=0.8, threshold=0.5)
    expected = once(engine, layer)

    def kernel_runs():
        assert np.array_equal(once(engine, layer), expected)
        return bool(kernels_run)

    assert waited_for(kernel_runs)
    assert len(started) == 1
    assert list(background._asked.values()) == [1]
    assert len([*place.iterdir()]) == 1
    os.close(started[0].write)
    assert started[0].wait(PATIENCE) == 0


def test_a_process_without_work_ends_well_and_the_next_kernel_starts_another(started, monkeypatch, capsys):
    """Its exit status is 0, although it still waits for what to read; so nothing is said at the next call."""
    start = background.START.replace("sys.exit(", "{0}.IDLE = 0.2; sys.exit(")
    monkeypatch.setattr(background, "START", start)
    background.ask([_recipe(1), _recipe(2)])
    (first,) = started
    assert first.wait(PATIENCE) == 0
    background.ask([_recipe(3)])
    _, second = started
    assert second.wait(PATIENCE) == 0
    assert capsys.readouterr().err == ""
    os.close(second.write)


def test_a_process_ends_with_1_if_a_kernel_could_not_be_compiled(started):
    background.ask([build.KernelRecipe("def kernel(:", "kernel"), _recipe(4)])
    os.close(started[0].write)
    assert started[0].wait(PATIENCE) == 1


def _recipe(number):
    """A kernel that is compiled in no time."""
    return build.KernelRecipe(f"def kernel():\n    return {number}\n", "kernel")


def test_a_process_that_ends_is_asked_once_more_and_then_said(started, monkeypatch, capsys):
    class Ended:
        returncode = 3

        def __init__(self):
            self.write = os.open(os.devnull, os.O_WRONLY)
            started.append(self)

        def poll(self):
            return self.returncode

        def send(self, lines):
            self.lines = lines

    monkeypatch.setattr(background, "Compiler", Ended)
    for _ in range(5):
        background.ask([build.KernelRecipe("text", "name")])
    assert len(started) == background.ATTEMPTS
    assert capsys.readouterr().err.count("ended with status 3") == 1
    os.close(started[-1].write)


@pytest.mark.parametrize("why", ["switched off", "nowhere to keep", "a child", "no Python"])
def test_where_nothing_is_compiled_in_the_background(monkeypatch, tmp_path, why):
    assert background.possible()
    if why == "switched off":
        monkeypatch.setenv(background.SWITCH, "0")
    elif why == "nowhere to keep":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path / "file"))
    elif why == "a child":
        monkeypatch.setattr(background, "_owner", -1)
    else:
        monkeypatch.setattr(sys, "executable", "/usr/bin/host-of-plugins")
    assert not background.possible()
    monkeypatch.setattr(background, "Compiler", None)  # calling it would fail
    background.ask([build.KernelRecipe("text", "name")])


@pytest.mark.parametrize("fewer", [0, 1])
def test_a_step_of_as_many_operations_as_are_allowed_is_compiled(fewer, monkeypatch):
    engine, layer = sc.get_engine("numpy"), sc.Leaky(beta=0.9)
    params = {"beta": 0.9, "threshold": 1.0, "graded_spikes_factor": 1.0}
    kernels = select.kernels_or_reason(select.Terms("auto", "float32"), layer, params, {}, (1, 1, 1))
    monkeypatch.setattr(select, "LONGEST", len(kernels.step.trace.graph.ops) - fewer)
    assert engine.explain(layer).startswith("loop: " if fewer else "fused: ")


def test_explain_says_what_happens_to_small_runs(monkeypatch):
    engine, layer = sc.get_engine("numpy"), sc.Leaky(beta=0.8)
    assert "step by step while they are compiled in the background" in engine.explain(layer)
    monkeypatch.setenv(background.SWITCH, "0")
    assert "step by step until they are compiled" in engine.explain(layer)
    once(sc.get_engine("numpy", fused=True), layer)
    assert "as they are compiled, of any size outside of Model.fit" in engine.explain(layer)


def test_code_that_cannot_be_linked_is_used_in_memory(place, capsys, monkeypatch):
    def refuse(*_):
        raise RuntimeError("Symbols not found")

    monkeypatch.setattr(machine_code, "link", refuse)
    monkeypatch.setattr(store, "said", set())
    kernel = build.build_run("def one(worker, workers, table):\n    row(table[0])[0] = F(1.0)\n", "one", "float64")
    y = np.zeros(1)
    kernel(1, (), (y,))
    assert y[0] == 1.0
    assert "each process compiles it again" in capsys.readouterr().err
    assert not place.exists()


SECOND = """
import sys
import numpy as np
import spikecore as sc
from spikecore.kernels.sequence import SequenceNumba

runs, forward = [], SequenceNumba.forward
SequenceNumba.forward = lambda self, request, keep=True: (runs.append(request.shape), forward(self, request, keep))[1]
model = sc.Model(sc.Sequential(sc.Leaky(beta=0.8, threshold=0.5)), engine=sys.argv[1], input_shape=(3,))
x = np.random.default_rng(0).random((5, 2, 3), dtype="float32")
print(len(runs), "numba" in sys.modules, int(model(x).spikes.sum()), len(runs))
"""


def in_a_process(code, *arguments):
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_second_process_runs_kernels_without_numba(place, name):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    (*_, spikes, runs), said = in_a_process(SECOND, name)  # which ends while its kernel is compiled
    assert runs == "0"
    assert not said
    assert waited_for(lambda: place.exists() and any(not path.name.startswith(".") for path in place.iterdir()))
    assert in_a_process(SECOND, name)[0] == ["0", "False", spikes, "1"]


FORKED = """
import os, sys
import numpy as np
import spikecore as sc
from spikecore.kernels.runtime import background

background.Compiler = lambda: os._exit(7)
engine, layer = sc.get_engine("numpy"), sc.Leaky(beta=0.8)
child = os.fork()
if child == 0:
    from spikecore.api.core.layer import Pass
    from spikecore.api.core.tree import Tree
    layer.run(Pass(engine), Tree(), Tree(), None, np.ones((5, 2, 3), "float32"))
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_start_no_processes():
    assert in_a_process(FORKED)[0] == ["0"]
