"""CUDA C kernels without a GPU: run as C++ on the host against the loop over steps, and compiled to PTX."""

from __future__ import annotations

import re

import numpy as np
import pytest

import spikecore as sc
from spikecore.kernels import cuda
from spikecore.kernels.device import backward_of, forward_of
from tests.kernels.cuda_rig import (
    GXX,
    NVCC,
    OnHost,
    nvcc_targets,
    nvrtc,
    nvrtc_targets,
    ptx_by_nvcc,
    ptx_by_nvrtc,
    side,
    stack_by_nvcc,
)
from tests.kernels.kernel_rig import (
    CASES,
    ELEMENTWISE,
    LIBRARY,
    LIMITS,
    Problem,
    Side,
    differences,
    of_exp,
    of_library,
    on_a_gpu,
)

QUICK = [
    "Leaky-subtract-delayed", "Leaky-zero-immediate", "Leaky-constant-arrays", "Leaky-channels", "Leaky-sigmoid",
    "Leaky-triangular", "Leaky-SFS", "Alpha-subtract", "Recurrent", "Refractory", "Noisy", LIBRARY.name,
]  # fmt: skip
OPTIONS = [
    {},
    {"dtype": "float64"},
    {"constant": True},
    {"window": 3},
    {"flat": True},
    {"given": "float16"},
    {"batch": 120},
    {"still": True},
]
on_host = pytest.mark.skipif(GXX is None, reason="no g++ to compile CUDA C as C++")
by_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc (it comes with NVIDIA's CUDA toolkit)")
by_nvrtc = pytest.mark.skipif(nvrtc() is None, reason="no NVRTC (pip install nvidia-cuda-nvrtc)")


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    OnHost.folder = str(tmp_path_factory.mktemp("cuda"))
    return OnHost.folder


def kernels_of(case, kind=OnHost, **options):
    problem = Problem(case, **options)
    return problem, problem.kernels(kind.of)


def check(case, **options):
    problem, kernels = kernels_of(case, **options)
    here, close = side(problem.given), LIMITS[problem.dtype]
    limits = of_library(problem, kernels, close) or {"bits": close if of_exp(problem) else 0.0}
    assert differences(problem, problem.run(kernels, here), **limits) == []
    return problem, kernels, here


def name_of(options):
    return "-".join(f"{name}={value}" for name, value in options.items()) or "plain"


@on_host
@pytest.mark.parametrize("name", QUICK)
def test_kernels_equal_the_loop(name):
    check(CASES[name])


@on_host
@pytest.mark.parametrize("options", OPTIONS[1:], ids=name_of)
def test_types_constant_inputs_windows_repeated_gradients_and_several_blocks(options):
    problem, kernels, here = check(CASES["ALIF"], **options)
    assert problem.part(kernels, here)


@on_host
def test_at_the_threshold_nothing_fires():
    problem, kernels, here = check(CASES["Leaky-border"], still=True)
    assert not problem.run(kernels, here).outputs.any()


@on_host
@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
@pytest.mark.parametrize("case", [*ELEMENTWISE, LIBRARY], ids=str)
def test_every_elementwise_neuron(case, options):
    check(case, **options)


@on_host
def test_an_empty_batch_starts_no_kernel():
    problem, kernels = kernels_of(CASES["Leaky-subtract-delayed"], batch=0)
    results = problem.run(kernels, Side())
    assert results.outputs.shape == (7, 0, 5)
    assert results.x.shape == (7, 0, 5)
    assert not any(g.any() for g in results.params.values())


def sources(case, kind=OnHost):
    """Kernels with everything wanted, for every type of input."""
    for dtype, inputs in (("float32", ("float32", "float16", "bfloat16")), ("float64", ("float64",))):
        kernels = kernels_of(case, kind, dtype=dtype)[1]
        for given in inputs:
            for windowed, constant in ((False, False), (True, True)):
                for kernel in (
                    forward_of(kernels, True, constant),
                    backward_of(kernels, True, kernels.step.trace.params, constant, windowed),
                ):
                    yield cuda.whole(kernel, dtype, given), kernel.name


def plain(sources):
    """Those that need no header: NVRTC finds one only where a toolkit is installed."""
    return [source for source in sources if "#include" not in source[0]]


@by_nvcc
def test_nvcc_compiles_representative_kernels_for_every_type(folder):
    several = [s for name in ("Alpha", "Synaptic-immediate") for s in sources(CASES[name])]
    text = ptx_by_nvcc(several, nvcc_targets()[-1], folder)
    assert len(re.findall(r"\.visible \.entry", text)) == len(several)
    assert_rounded(text)


@by_nvrtc
@pytest.mark.parametrize("age", ["oldest", "newest"])
@pytest.mark.parametrize("name", ["Leaky-zero-immediate", LIBRARY.name])
def test_nvrtc_compiles_what_cupy_would_hand_it(name, age):
    target = nvrtc_targets()[0 if age == "oldest" else -1]
    text = "".join(ptx_by_nvrtc(source, target) for source, _ in plain(sources(CASES[name])))
    if name != LIBRARY.name:  # exp, log, ... are made of multiply-adds
        assert_rounded(text)


def assert_rounded(text):
    """Nothing is contracted nor may be by the assembler (it leaves alone what says .rn), and division is exact."""
    assert not re.search(r"\bfma\.rn\.f(32|64)|\b(mul|add|sub)\.f(32|64)|\.ftz", text)
    assert re.search(r"\bmul\.rn\.f(32|64)", text)
    assert re.search(r"\b(div|rcp)\.rn\.f(32|64)", text)
    assert not re.search(r"\b(div|rcp)\.(full|approx)", text)


@by_nvcc
@pytest.mark.slow
def test_nvcc_compiles_every_kernel_for_every_type(folder):
    several = [s for case in CASES.values() for s in sources(case)]
    for target in {nvcc_targets()[0], nvcc_targets()[-1]}:
        text = ptx_by_nvcc(several, target, folder)
        assert len(re.findall(r"\.visible \.entry", text)) == len(several)


@by_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_kernel_keeps_to_its_registers_on_every_machine(folder, name):
    several = list(sources(CASES[name]))
    for target in nvcc_targets():
        stack = stack_by_nvcc(several, target, folder)
        assert len(stack) >= len(several)  # functions of their own, too
        assert sum(stack) == 0 or name == LIBRARY.name, target  # sine and cosine keep a table in memory


@by_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("age", ["oldest", "newest"])
def test_nvrtc_compiles_every_kernel(age):
    target = nvrtc_targets()[0 if age == "oldest" else -1]
    for case in CASES.values():
        for source, name in plain(sources(case)):
            assert f".entry {name}(" in ptx_by_nvrtc(source, target)


def test_where_cupy_is_missing_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    assert "CuPy is not installed" in cuda.SequenceCuda.of(sc.Leaky(), (("beta", 0.9),), (), (), "float32")


def test_what_is_not_elementwise_says_why(monkeypatch):
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: name)
    layer = sc.Leaky(inhibition=True)
    constants = (("threshold", 1.0), ("graded_spikes_factor", 1.0), ("beta", 0.9))
    assert "it uses 'argmax'" in cuda.SequenceCuda.of(layer, constants, (), (), "float32")


@pytest.mark.cupy
@pytest.mark.parametrize("part", range(16))  # so that several processes can share the compiling, and none takes long
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_kernels_equal_the_loop_on_a_gpu(options, part):
    import cupy

    wrong = {}
    for case in ELEMENTWISE[part::16]:
        problem = Problem(case, **options)
        kernels = problem.kernels(cuda.SequenceCuda.of)
        get = lambda a: cupy.asnumpy(a).astype(problem.dtype)  # noqa: B023, E731
        here = Side(cupy.asarray, get, lambda a: a.astype(problem.given or a.dtype), cupy.broadcast_to)  # noqa: B023
        found = problem.run(kernels, here)
        differing = differences(problem, found, **on_a_gpu(problem, kernels))
        wrong.update({case.name: differing} if differing or not np.isfinite(found.x).all() else {})
    assert wrong == {}
