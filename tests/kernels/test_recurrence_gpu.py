"""Kernels of GPUs for a dense recurrence: CUDA C run as C++ on the host, Triton compiled ahead; see test_triton.py."""

from __future__ import annotations

import pytest

from spikecore.kernels import triton
from spikecore.kernels.recurrence_gpu import backward_step, forward_step
from tests.kernels.cuda_rig import GXX, OnHost, side
from tests.kernels.kernel_rig import LIMITS, UNITS, Side, differences
from tests.kernels.machine_code import AMD, NVIDIA, TYPES, compiled, spills
from tests.kernels.recurrence_rig import CASES, DenseProblem

OPTIONS = [
    {}, {"dtype": "float64"}, {"constant": True}, {"window": 3}, {"flat": True}, {"given": "float16"}, {"batch": 120}
]  # fmt: skip
QUICK = [("RLeaky", {}), ("RSynaptic", {"window": 3}), ("Recurrent-ALIF", {"constant": True, "dtype": "float64"})]
QUICK += [("SLSTM", {"constant": True, "window": 3}), ("SLSTM-none", {}), ("SLSTM-zero", {"dtype": "float64"})]
on_host = pytest.mark.skipif(GXX is None, reason="no g++ to compile CUDA C as C++")


def check(folder, name, options):
    OnHost.folder = str(folder)
    problem = DenseProblem(name, **options)
    kernels, here = problem.kernels(OnHost.of), side(problem.given)
    found, close = problem.run(kernels, here), LIMITS[problem.dtype]
    half = UNITS[problem.given] if "LSTM" in name else 0.0  # each library has its own tanh
    assert differences(problem, found, bits=close, half=half, values=close) == []
    assert found.outputs.any()
    assert problem.part(kernels, here)


@on_host
@pytest.mark.parametrize(("name", "options"), QUICK)
def test_kernels_equal_the_loop(tmp_path, name, options):
    check(tmp_path, name, options)


@on_host
@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_every_neuron_and_kind_of_run(tmp_path, name, options):
    check(tmp_path, name, options)


@on_host
def test_an_empty_batch_starts_no_kernel(tmp_path):
    OnHost.folder = str(tmp_path)
    problem = DenseProblem("RLeaky", batch=0)
    results = problem.run(problem.kernels(OnHost.of), Side())
    assert results.outputs.shape == (7, 0, 5)
    assert not any(g.any() for g in results.params.values())


def kernels_of(name, given, kind):
    """Forward and backward kernels with everything wanted, and the type of the states."""
    dtype = given if given == "float64" else "float32"
    kernels = DenseProblem(name, dtype=dtype).kernels(kind.of)
    backward = (backward_step(kernels, kernels.step.trace.params, sum_x) for sum_x in (False, True))
    return [forward_step(kernels), *backward], dtype


def test_they_compile_ahead():
    pytest.importorskip("triton", reason="Triton is not installed")
    kernels, dtype = kernels_of("RLeaky", "bfloat16", triton.SequenceTriton)
    for target in (90, *AMD):
        assert all(spills(compiled(kernel, dtype, "bfloat16", target)) == 0 for kernel in kernels)


@pytest.mark.slow
@pytest.mark.parametrize("given", TYPES)
@pytest.mark.parametrize("name", CASES)
def test_they_compile_for_every_machine_and_type_and_keep_to_their_registers(name, given):
    pytest.importorskip("triton", reason="Triton is not installed")
    kernels, dtype = kernels_of(name, given, triton.SequenceTriton)
    for target in (*NVIDIA, *AMD):
        assert all(spills(compiled(kernel, dtype, given, target)) == 0 for kernel in kernels), target
