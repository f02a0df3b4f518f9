"""Memory that kernels use again: never while anybody holds it, and not without limit."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import threading

import numpy as np
import pytest

import spikecore as sc
from spikecore.kernels.runtime import allocator

MEGA = 1 << 20


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()  # arrays that earlier tests left in cycles; during a test they would give back memory that it counts
    allocator.release()
    yield
    allocator.release()


def address(a):
    return a.__array_interface__["data"][0]


def kept():
    held = sum(block.raw.nbytes for blocks in allocator.kept.free.values() for block in blocks)
    assert held == allocator.kept.bytes
    return held


def test_memory_is_used_again_when_nobody_holds_it():
    first = allocator.empty((MEGA,), "float32")
    place, view = address(first), first[5:9]
    view[:] = 1.0
    del first
    other = allocator.empty((MEGA,), "float32")
    other[:] = 2.0
    later = address(other)
    assert later != place, "the view still shows it"
    assert (view == 1.0).all()
    del view, other
    gc.collect()
    assert address(allocator.empty((2, MEGA // 2), "float32")) in (place, later)


def test_tensors_hold_their_memory():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.from_numpy(allocator.zeros((MEGA,), "float32"))
    part = tensor[3:5]
    del tensor
    allocator.empty((MEGA,), "float32")[:] = 7.0
    assert part.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_products_of_the_numpy_engine_lie_in_it(dtype):
    xp, draw = sc.get_engine("numpy", dtype=dtype).xp, np.random.default_rng(0)
    a, b = draw.random((600, 20)).astype(dtype), draw.random((20, 800)).astype(dtype)
    first = xp.matmul(a, b)
    assert np.array_equal(first, a @ b)
    place = address(first)
    del first
    assert allocator.kept.bytes
    second = xp.matmul(2 * a, b)
    assert address(second) == place
    assert np.array_equal(second, (2 * a) @ b)
    assert not allocator.kept.bytes
    assert np.array_equal(xp.matmul(a[:2], b), a[:2] @ b)
    other = b.astype("float64" if dtype == "float32" else "float32")
    assert xp.matmul(a, other).dtype == np.float64


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (MEGA + 3,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_begin_at_cache_lines(shape, dtype):
    made = allocator.zeros(shape, dtype)
    assert (made.shape, made.dtype) == (shape, np.dtype(dtype))
    assert made.size == 0 or address(made) % allocator.LINE == 0
    assert made.flags.c_contiguous
    assert made.flags.writeable
    assert not made.any()


def test_memory_much_larger_than_needed_is_not_taken():
    place = address(allocator.empty((4 * MEGA,), "float32"))
    assert address(allocator.empty((MEGA,), "float32")) != place
    assert address(allocator.empty((4 * MEGA + 1000,), "float32")) == place


def test_the_end_of_the_process_is_quiet():
    code = (
        "from spikecore.kernels.runtime import allocator\n"
        "import builtins\nbuiltins.held = allocator.zeros((1 << 20,), 'float32')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("size", [1 << 12, 1 << 20])
def test_a_loan_ends_quietly_when_the_globals_are_gone(size):
    code = (
        f"from spikecore.kernels.runtime import allocator\nheld = allocator.zeros(({size},), 'float32')\n"
        "names = [name for name in vars(allocator) if name != '__builtins__']\n"
        "for name in names:\n    vars(allocator)[name] = None\ndel held"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_zeros_of_the_torch_engine_lie_in_it():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    zeros_like = sc.get_engine("torch").xp.zeros_like
    x = torch.rand(3, MEGA, requires_grad=True)
    first = zeros_like(x)
    assert not first.any()
    assert (first.shape, first.dtype, first.requires_grad) == (x.shape, x.dtype, False)
    first += 1.0
    place = first.data_ptr()
    del first
    second = zeros_like(x)
    assert second.data_ptr() == place
    assert not second.any()
    other = zeros_like(torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last))
    assert other.is_contiguous(memory_format=torch.channels_last)
    assert not other.any()
    assert zeros_like(torch.rand(3).half()).dtype == torch.float16


def test_free_memory_is_limited_and_given_back(monkeypatch):
    monkeypatch.setattr(allocator.kept, "most", 10 * MEGA)
    for size in range(4, 12):
        allocator.empty((size * MEGA // 4,), "float32")
        assert 0 < kept() <= 10 * MEGA
    allocator.empty((5 * MEGA,), "float32")
    assert kept() <= 10 * MEGA
    allocator.release()
    assert kept() == 0


def test_what_was_not_used_for_longest_goes_first(monkeypatch):
    monkeypatch.setattr(allocator.kept, "most", 10 * MEGA)
    first = address(allocator.empty((MEGA,), "float32"))
    allocator.empty((MEGA // 2,), "float32")
    assert address(allocator.empty((MEGA,), "float32")) == first
    allocator.empty((5 * MEGA // 4,), "float32")
    assert sorted(size // MEGA for size, blocks in allocator.kept.free.items() if blocks) == [4, 5]


def test_many_arrays_at_once_keep_to_the_limit_when_they_are_gone(monkeypatch):
    monkeypatch.setattr(allocator.kept, "most", 10 * MEGA)
    held = [allocator.zeros((MEGA // 2,), "float32") for _ in range(20)]
    assert len({address(a) for a in held}) == 20
    del held
    assert 0 < kept() <= 10 * MEGA


def test_of_small_blocks_some_of_each_size_are_kept():
    held = [allocator.zeros((1 << 12,), "float32") for _ in range(3 * allocator.FEW)]
    places = {address(a) for a in held}
    del held
    ((size, blocks),) = allocator.kept.small.items()
    assert (len(blocks), kept()) == (allocator.FEW, 0)
    assert size < allocator.SMALL
    again = [allocator.empty((1 << 12,), "float32") for _ in range(allocator.FEW)]
    assert len({address(a) for a in again} & places) == allocator.FEW
    del again
    allocator.release()
    assert not allocator.kept.small


@pytest.mark.parametrize("size", [MEGA // 64, MEGA // 4])
def test_threads_never_get_the_same_memory(size):
    wrong, together, before = [], threading.Barrier(4), sys.getswitchinterval()

    def work(number):
        together.wait()
        for _ in range(100):
            mine = [allocator.empty((size,), "float32") for _ in range(3)]
            for i, a in enumerate(mine):
                a[:: 1 << 12] = 10 * number + i
            if not all((a[:: 1 << 12] == 10 * number + i).all() for i, a in enumerate(mine)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork, so no children that inherit a lock")
def test_a_child_is_not_locked_out_by_a_thread_of_its_parent():
    code = (
        "import os, sys\nfrom spikecore.kernels.runtime import allocator\n"
        "allocator.kept.lock.acquire()\nchild = os.fork()\n"
        "if not child:\n    allocator.empty((1 << 20,), 'float32')\n    os._exit(7)\n"
        "print(os.waitpid(child, 0)[1] >> 8)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "7\n", done.stderr


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_results_are_not_overwritten_by_later_runs(name):
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    model = sc.Model(sc.Leaky(beta=0.8, threshold=0.4), sc.get_engine(name, fused=True), input_shape=(4096,))
    x = np.random.default_rng(0).random((64, 2, 4096), dtype="float32")
    first = model.engine.to_numpy(model(x).spikes)
    copy = first.copy()
    model(1.0 - x)
    model(x * 0.0)
    assert np.array_equal(first, copy)


CODE = """
import numpy as np, resource
from spikecore.utils import keep_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(20_000_000, "uint8"); np.ones(30_000_000, "uint8"); np.ones(40_000_000, "uint8")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
before = faults()
assert keep_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, which alone has the option")
def test_a_process_keeps_its_memory_if_told_to():
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout
    before, after = map(int, done.split())
    assert after < before / 10


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system does not say how much memory there is")
@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("0::/slurm/job_7/step_0", "slurm/job_7/memory.max"),
        ("0::/", "memory.max"),
        ("3:cpu:/other\n4:memory,hugetlb:/job_7", "memory/job_7/memory.limit_in_bytes"),
        ("0::/job_7\nnothing", "job_7/memory.max"),
    ],
)
def test_what_is_kept_goes_by_the_memory_of_the_group(tmp_path, group, file):
    (tmp_path / "own").write_text(f"{group}\n")
    limit, own = tmp_path / file, (str(tmp_path), str(tmp_path / "own"))
    limit.parent.mkdir(parents=True, exist_ok=True)
    machine = allocator.most_kept(str(tmp_path), str(tmp_path / "nowhere"))
    for said, kept in (("max", machine), (f"{16 * (600 * MEGA)}", min(machine, 600 * MEGA)), ("4096", 512 * MEGA)):
        limit.write_text(said)
        assert allocator.most_kept(*own) == kept
