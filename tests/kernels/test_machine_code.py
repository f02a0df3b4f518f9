"""GPU kernels compiled for every kind of machine, of which none need be there: spills, loads under way."""

from __future__ import annotations

import subprocess

import pytest

from spikecore.kernels import cuda, triton
from spikecore.kernels.device import backward_of, forward_of
from tests.kernels.cuda_rig import NVCC, OnHost
from tests.kernels.kernel_rig import CASES, LIBRARY, Problem
from tests.kernels.machine_code import AMD, NVIDIA, TYPES, compiled, in_flight, loops, spills

pytest.importorskip("triton", reason="Triton is not installed")

LEAST = 4  # loads under way
BOTH = "forward", "backward"
by_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc (it comes with NVIDIA's CUDA toolkit)")


def kernels_of(case, given, kind=triton.SequenceTriton):
    """The forward and the backward kernel with everything wanted, and the type of the states."""
    dtype = given if given == "float64" else "float32"
    kernels = Problem(case, dtype=dtype).kernels(kind.of)
    forward, backward = (
        forward_of(kernels, True, False),
        backward_of(kernels, True, kernels.step.trace.params, False, False),
    )
    return {"forward": forward, "backward": backward}, dtype


def unrolled(cubin):
    """The loop that has most loads; the other one runs the steps that are left over."""
    return max(loops(cubin), key=lambda loop: sum("LDG" in text for text, _ in loop))


@pytest.mark.parametrize("way", BOTH)
def test_a_thread_of_leaky_has_several_loads_under_way(way):
    kernels, dtype = kernels_of(CASES["Leaky"], "float32")
    assert in_flight(unrolled(compiled(kernels[way], dtype, "float32", 90, "aligned")["cubin"])) >= LEAST


@pytest.mark.slow
@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("given", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("target", [80, 90])
@pytest.mark.parametrize("name", ["Leaky", "Leaky-subtract-delayed", "Synaptic-immediate", "Alpha"])
def test_loads_are_under_way_for_every_type_and_block(name, target, given, way):
    kernels, dtype = kernels_of(CASES[name], given)
    for lengths, block in (("i32", 128), ("aligned", 128), ("aligned", 32), ("i64", 64)):
        stages = compiled(kernels[way], dtype, given, target, lengths, block)
        assert in_flight(unrolled(stages["cubin"])) >= LEAST, (lengths, block)


@by_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("given", ["float32", "bfloat16"])
@pytest.mark.parametrize("target", [80, 90])
def test_loads_are_under_way_in_cuda_c_too(target, given, way, tmp_path):
    kernels, dtype = kernels_of(CASES["Leaky"], given, OnHost)
    source, path = tmp_path / "kernel.cu", tmp_path / "kernel.cubin"
    source.write_text(cuda.whole(kernels[way], dtype, given))
    subprocess.run([NVCC, "-cubin", f"-arch=sm_{target}", *cuda.OPTIONS, source, "-o", path], check=True, timeout=60)
    assert in_flight(unrolled(path.read_bytes())) >= LEAST


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_every_kernel_compiles_for_every_machine_and_type_and_keeps_to_its_registers(case):
    for given in TYPES:
        kernels, dtype = kernels_of(case, given)
        for target in (*NVIDIA, *AMD):
            for kernel in kernels.values():
                stages = compiled(kernel, dtype, given, target)
                assert len(stages["hsaco" if target in AMD else "cubin"]) > 1000
                if case is not LIBRARY:  # sine and cosine keep a table in memory
                    assert spills(stages) == 0, (given, target, kernel.name)


@pytest.mark.slow
@pytest.mark.parametrize("target", [*NVIDIA, *AMD])
@pytest.mark.parametrize("lengths", ["i32", "i64", "constexpr", "aligned"])
def test_constant_inputs_and_windows_compile_for_all_sizes(target, lengths):
    kernels = Problem(CASES["Alpha"]).kernels(triton.SequenceTriton.of)
    for kernel in (forward_of(kernels, True, True), backward_of(kernels, True, kernels.step.trace.params, True, True)):
        assert spills(compiled(kernel, "float32", "bfloat16", target, lengths)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("target", [*NVIDIA, *AMD])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_compile_for_every_machine(target, dtype):
    pytest.importorskip("torch")
    from spikecore.kernels import draws

    compared = (draws.KERNEL_BELOW, draws.KERNEL_MASK) if dtype == "float32" else ()
    for kernel in (draws.KERNEL, draws.KERNEL_FROM_MEMORY, *compared):
        assert spills(compiled(kernel, dtype, dtype, target)) == 0
