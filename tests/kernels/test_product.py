"""NumPy's products on threads that leave the cores to kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves
from spikecore.kernels.runtime import blas

threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
pytestmark = pytest.mark.skipif(not blas._libraries(), reason="threadpoolctl finds no OpenBLAS with pthreads here")


def threads_now():
    return [library.get_num_threads() for library in blas._libraries()]


@pytest.fixture(scope="module", autouse=True)
def three_threads():
    with threadpoolctl.threadpool_limits(3, "blas"):
        yield


@pytest.fixture
def parts(monkeypatch):
    """The parts of every product, however small; what they see of OpenBLAS."""
    seen = []
    whole = blas._parts

    def watched(a, b, out, count):
        found = whole(a, b, out, count)
        seen.append((len(found), threads_now()))
        return found

    monkeypatch.setattr(blas, "PART", 1)
    monkeypatch.setattr(blas, "FEW", 0)
    monkeypatch.setattr(blas, "_parts", watched)
    return seen


def numbers(shape, seed=0):
    """Whole numbers, whose products are exact in whatever order they are added."""
    return np.random.default_rng(seed).integers(-9, 9, shape).astype("float32")


@given(st.data())
def test_parts_are_the_product(data):
    size = st.integers(1, 9)
    rows, inner, columns = (data.draw(size) for _ in range(3))
    stack = data.draw(st.lists(size, max_size=2).map(tuple))
    thinner = st.tuples(*(st.sampled_from((1, n)) for n in stack))
    left, right = (data.draw(st.one_of(st.just(()), thinner, st.just(stack))) for _ in range(2))
    a, b = numbers((*left, rows, inner)), numbers((*right, inner, columns), 1)
    if data.draw(st.booleans()):
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
    out = np.full((a @ b).shape, np.nan, "float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "PART", 1)
        patch.setattr(blas, "FEW", 0)
        blas.multiply(a, b, out)
    np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [((9, 4), (4, 2), 3), ((2, 4), (4, 9), 3), ((2, 4), (4, 2), 2), ((5, 2, 4), (4, 2), 3), ((1, 2, 4), (4, 2), 1)],
)
def test_a_product_is_shared_along_its_longest_side(parts, a, b, count):
    out = np.empty((numbers(a) @ numbers(b)).shape, "float32")
    blas.multiply(numbers(a), numbers(b), out)
    assert parts == [(count, [1] * len(threads_now()))]
    np.testing.assert_array_equal(out, numbers(a) @ numbers(b))


def test_one_number_of_threads_gives_the_same_bits_and_another_one_differs_by_rounding():
    draw = np.random.default_rng(0)
    a, b = (draw.standard_normal(shape).astype("float32") for shape in ((128, 784), (1000, 784)))
    found = {}
    for threads in (1, 2, 3, 1, 2, 3):
        with threadpoolctl.threadpool_limits(threads, "blas"):
            out = np.empty((128, 1000), "float32")
            blas.multiply(a, b.T, out)
        np.testing.assert_array_equal(out, found.setdefault(threads, out))
    for out in found.values():
        np.testing.assert_allclose(out, a.astype("float64") @ b.T.astype("float64"), atol=2e-4)


def test_openblas_has_its_threads_back_whatever_happens(parts, monkeypatch):
    before = threads_now()
    out = np.empty((8, 8), "float32")
    blas.multiply(numbers((8, 8)), numbers((8, 8)), out)
    assert threads_now() == before

    def refused(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(blas, "_quietly", refused)
    with pytest.raises(RuntimeError, match="no"):
        blas.multiply(numbers((8, 8)), numbers((8, 8)), out)
    assert threads_now() == before


def test_products_from_several_threads_at_once(parts):
    before, failed = threads_now(), []
    a, b = numbers((64, 64)), numbers((64, 64), 1)

    def many():
        out = np.empty((64, 64), "float32")
        for _ in range(100):
            out[:] = np.nan
            blas.multiply(a, b, out)
            if not np.array_equal(out, a @ b):
                failed.append(out)

    callers = [threading.Thread(target=many) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failed
    assert threads_now() == before


def test_whoever_asks_decides_about_warnings(parts):
    large, out = np.full((9, 9), 1e30, "float32"), np.empty((9, 9), "float32")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        blas.multiply(large, large, out)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow"):
        blas.multiply(large, large, out)
    assert [count for count, _ in parts] == [3, 3]


def test_the_numpy_engine_shares_its_products(parts):
    xp = sc.get_engine("numpy").xp
    a, b = numbers((64, 32)), numbers((32, 48), 1)
    np.testing.assert_array_equal(xp.matmul(a, b), a @ b)
    np.testing.assert_array_equal(xp.linear(a, b.T, np.ones(48, "float32")), a @ b + 1)
    assert [count for count, _ in parts] == [3, 3]


def test_other_operands_are_numpys_to_refuse():
    xp = sc.get_engine("numpy").xp
    with pytest.raises(ValueError, match="mismatch"):
        xp.matmul(numbers((64, 32)), numbers((48, 32)))
    with pytest.raises(ValueError, match="mismatch|broadcast"):
        xp.matmul(numbers((2, 64, 32)), numbers((3, 32, 48)))
    assert xp.matmul(numbers((64, 32)), numbers((32, 48)).astype("float64")).dtype == "float64"
    np.testing.assert_array_equal(xp.matmul(numbers((2048, 4)), numbers(4)), numbers((2048, 4)) @ numbers(4))


ENDING = """
import atexit, threading, time
import numpy as np, threadpoolctl
from spikecore.kernels.runtime import blas
a = np.ones((300, 300), "float32")

def multiplied(when):
    with threadpoolctl.threadpool_limits(2, "blas"):
        out = np.empty((300, 300), "float32")
        blas.multiply(a, a, out)
    print(when, (out == 300).all())

def late():
    threading.main_thread().join()
    multiplied("thread")

multiplied("main")
atexit.register(multiplied, "atexit")
threading.Thread(target=late).start()
"""


def test_products_at_the_end_of_a_process():
    """When Python takes no new tasks any more, a product is computed by who asks for it."""
    made = subprocess.run([sys.executable, "-c", ENDING], check=True, timeout=60, capture_output=True, text=True)
    assert made.stdout.split() == ["main", "True", "thread", "True", "atexit", "True"]
    assert not made.stderr


CHILD = """
import os, sys
import numpy as np, threadpoolctl
from spikecore.kernels.runtime import blas
a = np.ones((300, 300), "float32")
def multiplied():
    out = np.empty((300, 300), "float32")
    blas.multiply(a, a, out)
    return (out == 300).all()
with threadpoolctl.threadpool_limits(2, "blas"):
    assert multiplied()
    calm = blas._calm
    with calm, calm.lock:  # as if another thread were at it
        child = os.fork()
        if not child:
            own = [library.get_num_threads() for library in blas._libraries()]
            os._exit(0 if multiplied() and own == [2] * len(own) else 1)
    sys.exit(1 if os.waitpid(child, 0)[1] else 0)  # a status, of which a process would only return the last byte
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_threads_of_its_own():
    subprocess.run([sys.executable, "-c", CHILD], check=True, timeout=60)


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "loop"])
def test_a_recurrence_multiplies_on_one_thread(monkeypatch, fused):
    """D9: other threads may get their turn on a busy machine when the step is long over."""
    seen, whole = [], blas._parts

    def watched(a, b, out, count):
        seen.append((count, out.size * a.shape[-1] < 2 * blas.PART, threads_now()))
        return whole(a, b, out, count)

    monkeypatch.setattr(blas, "_parts", watched)
    engine, layer = sc.get_engine("numpy", fused=fused), sc.RLeaky(beta=0.8, linear_features=100)
    params = layer.init(Key((0,)), (100,)).params
    held = Tree(params=map_leaves(engine.asarray, params), x=np.ones((6, 70, 100), "float32"))
    before = threads_now()
    engine.value_and_grad(
        lambda held: (engine.xp.sum(layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs), ()), held
    )
    small = [(count, threads) for count, is_small, threads in seen if is_small]
    assert len(small) >= 11
    assert all(found == (1, [1] * len(before)) for found in small)
    assert threads_now() == before


def test_calm_ends_with_its_last_user():
    """D9: also if a product fails in it, or another thread is in it."""
    before = threads_now()
    with pytest.raises(ValueError, match="mismatch"), blas.calm():
        blas.multiply(np.ones((700, 700)), np.ones((699, 700)), np.empty((700, 700)))
    assert threads_now() == before
    with blas.calm():
        other = threading.Thread(target=lambda: blas.calm().__enter__() and blas.calm().__exit__(None, None, None))
        other.start()
        other.join()
        assert threads_now() == [1] * len(before)
    assert threads_now() == before
