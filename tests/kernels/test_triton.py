"""Triton kernels without a GPU: run in Triton's interpreter against the loop over steps, and compiled for one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import spikecore as sc
from spikecore.kernels import select, triton
from spikecore.kernels.cuda import SequenceCuda
from spikecore.kernels.device import backward_of, forward_of
from spikecore.kernels.recurrence_gpu import RecurrenceOnDevice
from spikecore.kernels.runtime.modules import load
from tests import ROOT
from tests.kernels import recurrence_rig
from tests.kernels.kernel_rig import (
    CASES,
    ELEMENTWISE,
    LIBRARY,
    WORDS,
    Problem,
    Side,
    differences,
    on_a_gpu,
)
from tests.kernels.machine_code import compiled

pytest.importorskip("triton", reason="Triton is not installed")

OPTIONS = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "float16": {"given": "float16"},
    "bfloat16": {"given": "bfloat16"},
    "constant": {"constant": True},
    "window": {"window": 3},
    "constant-window": {"constant": True, "window": 2},
    "repeated-gradient": {"flat": True},
    "several-programs": {"batch": 120},
    "at-threshold": {"still": True},
}
DENSE = [  # neurons with a dense recurrence, which have one kernel per step
    ("RLeaky", "plain"), ("RLeaky", "constant-window"), ("RLeaky-zero", "repeated-gradient"), ("RSynaptic", "window"),
    ("RSynaptic", "bfloat16"), ("Recurrent-ALIF", "float64"), ("Recurrent-unbiased", "constant"),
    ("SLSTM", "constant-window"), ("SLSTM-none", "plain"),
]  # fmt: skip
NAMES = [*(case.name for case in ELEMENTWISE), WORDS.name, LIBRARY.name]
SEVERAL = [
    "Leaky-subtract-delayed", "Leaky-zero-immediate", "Leaky-constant-arrays", "Leaky-channels", "Leaky-sigmoid",
    "Leaky-multi_gaussian", "Leaky-triangular", "Leaky-SFS", "Synaptic-immediate", "Alpha-subtract", "Izhikevich",
    "Recurrent", "Refractory", "Noisy", WORDS.name, LIBRARY.name,
]  # fmt: skip
QUICK = [*((name, "plain") for name in SEVERAL), *(("ALIF", option) for option in OPTIONS)]
QUICK += [("Leaky-border", "at-threshold"), *DENSE]
SLOW = [(name, option) for name in (*NAMES, *recurrence_rig.CASES) for option in OPTIONS if (name, option) not in QUICK]


def interpreted(todo):
    """What differs from the loops, by case and option, computed in a process of its own."""
    given = json.dumps([[name, OPTIONS[option]] for name, option in todo])
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.kernels.triton_worker"]
    made = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    return dict(zip(todo, json.loads(made.stdout)))


@pytest.fixture(scope="module")
def quick():
    return interpreted(QUICK)


@pytest.fixture(scope="module")
def slow():
    return interpreted(SLOW)


@pytest.mark.parametrize(("name", "option"), QUICK)
def test_kernels_equal_the_loop_in_the_interpreter(quick, name, option):
    assert quick[name, option] == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), SLOW)
def test_every_elementwise_neuron_in_the_interpreter(slow, name, option):
    assert slow[name, option] == []


def kernels_of(case, dtype="float32"):
    return Problem(case, dtype=dtype).kernels(triton.SequenceTriton.of)


def every(case, inputs):
    """Forward and backward kernels with everything wanted, for every type of input."""
    for given in inputs:
        dtype = given if given in ("float32", "float64") else "float32"
        kernels = kernels_of(case, dtype)
        yield forward_of(kernels, True, False), dtype, given
        yield backward_of(kernels, True, kernels.step.trace.params, False, False), dtype, given


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("Leaky-subtract-delayed", ["float64", "float16"]),
        ("Synaptic-immediate", ["bfloat16"]),
        (LIBRARY.name, ["float32"]),
    ],
)
def test_kernels_compile_for_a_gpu(name, inputs):
    for kernel, dtype, given in every(CASES[name], inputs):
        assert len(compiled(kernel, dtype, given)["cubin"]) > 1000


def test_every_operation_is_rounded_on_its_own():
    texts = [compiled(*one)["ptx"] for one in every(CASES["Synaptic-immediate"], ["float32"])]
    text = "".join(texts)
    assert "mul.rn.f32" in text
    assert "div.rn.f32" in text
    assert not re.search(r"\bfma\.|div\.(full|approx)|\b(mul|add|sub)\.f32|\.ftz", text)


def test_constants_are_as_precise_as_the_states():
    kernels = kernels_of(CASES["Leaky-graded"], "float64")
    text = compiled(forward_of(kernels, False, False), "float64", "float64")["ptx"]
    assert re.search(r"ld\.global\S*\.b64", text)  # where they come from
    assert "f32" not in text


def test_one_compilation_serves_every_number_of_steps():
    kernels = kernels_of(CASES["Leaky"])
    for kernel in (forward_of(kernels, True, False), backward_of(kernels, True, (), False, True)):
        function = getattr(load(triton.HEAD + kernel.source), kernel.name)
        free = {p.name for p in function.params if p.do_not_specialize}
        assert free == {"steps", "window"} & {p.name for p in function.params}


def test_states_are_kept_only_for_a_backward_run_and_only_those_it_reads():
    delta, alpha = kernels_of(CASES["DeltaLeaky"]), kernels_of(CASES["Alpha"])
    assert not any(a.startswith("kept") for a in forward_of(alpha, False, False).arrays)
    assert sum(a.startswith("kept") for a in forward_of(alpha, True, False).arrays) == 3
    assert sum(a.startswith("kept") for a in forward_of(delta, True, False).arrays) == 1
    unlearned = kernels_of(CASES["LI"])
    assert not any(a.startswith("kept") for a in backward_of(unlearned, True, (), False, False).arrays)


def test_a_recorded_state_that_is_kept_is_stored_once():
    kernels = kernels_of(CASES["Alpha"])
    assert not any(a.startswith("rec") for a in forward_of(kernels, True, False).arrays)
    assert sum(a.startswith("rec") for a in forward_of(kernels, False, False).arrays) == 3


def test_where_triton_is_missing_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(triton.importlib.util, "find_spec", lambda name: None)
    assert "Triton is not installed" in triton.SequenceTriton.of(sc.Leaky(), (("beta", 0.9),), (), (), "float32")


def test_what_is_not_elementwise_says_why():
    constants = (("threshold", 1.0), ("graded_spikes_factor", 1.0), ("beta", 0.9))
    assert "it uses 'argmax'" in triton.SequenceTriton.of(sc.Leaky(inhibition=True), constants, (), (), "float32")


def test_explanations_name_the_language():
    text = select.explain(True, sc.Leaky(), "cuda")
    assert text == "fused: Triton kernels of Leaky.step with the loop over time inside"


@pytest.mark.cuda
@pytest.mark.parametrize("part", range(16))  # so that several processes can share the compiling, and none takes long
@pytest.mark.parametrize("option", OPTIONS)
def test_kernels_equal_the_loop_on_a_gpu(option, part):
    problems = [Problem(case, **OPTIONS[option]) for case in ELEMENTWISE[part::16]]
    assert wrong_on_a_gpu(problems) == {}


@pytest.mark.cuda
@pytest.mark.parametrize("name", recurrence_rig.CASES)
@pytest.mark.parametrize("option", OPTIONS)
def test_dense_recurrences_equal_the_loop_on_a_gpu(option, name):
    assert wrong_on_a_gpu([recurrence_rig.DenseProblem(name, **OPTIONS[option])]) == {}


def wrong_on_a_gpu(problems):
    """What differs, by neuron: of all, since who has a GPU may have it for minutes."""
    wrong = {}
    for problem in problems:
        here = Side(
            lambda a: torch.tensor(a, device="cuda"),
            lambda t: np.asarray((t.float() if t.dtype in (torch.float16, torch.bfloat16) else t).cpu()),
            lambda t: t.to(getattr(torch, problem.given or problem.dtype)),  # noqa: B023
            torch.broadcast_to,
        )
        kernels = problem.kernels(triton.SequenceTriton.of)
        found = differences(problem, problem.run(kernels, here), **on_a_gpu(problem, kernels))
        wrong.update({repr(problem.layer): found} if found else {})
    return wrong


def test_the_torch_engine_takes_them_from_scan_to_parameter_gradients():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.kernels.triton_engine"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert made.stdout == "equal\n", made.stderr


def test_a_dense_recurrence_launches_a_product_and_a_kernel_per_step_and_way():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.kernels.triton_launches"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    launches = json.loads(made.stdout)
    assert {name: kernels for name, (kernels, _) in launches.items()} == {**dict.fromkeys(launches, 4), "Leaky": 0}
    assert all(loop > 15 for _, loop in launches.values())


def test_cuda_tensors_and_cupy_arrays_have_their_own_kernels(monkeypatch):
    monkeypatch.setattr(SequenceCuda, "missing", lambda: "")
    from spikecore.kernels.select import Terms, choose

    leaky = {"beta": 0.9, "threshold": 1.0, "graded_spikes_factor": 1.0}
    state = {"mem": np.zeros((2, 4), np.float32)}
    found = choose(Terms(True, "float32", target="cuda"), sc.Leaky(), leaky, state, (9, 2, 4), ())
    assert isinstance(found, triton.SequenceTriton)
    dense = {f"neuron.{name}": value for name, value in leaky.items()}
    dense.update({"connection.weight": np.eye(4), "connection.bias": np.zeros(4)})
    recurrent = sc.RLeaky(linear_features=4).recurrent
    for target, kind in (("cuda", triton.SequenceTriton), ("cupy", SequenceCuda)):
        found = choose(Terms(True, "float32", target=target), recurrent, dense, {}, (9, 2, 4), ())
        assert isinstance(found, RecurrenceOnDevice)
        assert found.kind is kind
    assert "one matrix product and a Triton kernel" in select.explain(True, recurrent, "cuda")
