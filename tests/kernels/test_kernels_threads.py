"""Kernels in several threads and processes: equal numbers, any threading layer, and threads that sleep soon."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import spikecore as sc
from tests.kernels.kernel_checks import QUICK, run

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")


TOTAL = """
import os, numpy as np
import spikecore as sc
from spikecore.api.core.layer import Pass
from spikecore.api.core.tree import Params, Tree
engine = sc.get_engine("numpy", fused=True)
x = np.random.default_rng(0).random((9, 5, 1001)).astype("float32")
def total():
    return float(sc.Leaky(beta=0.8).run(Pass(engine), Params(), Tree(), None, x).outputs.sum())
"""
FORK = """
before = total()
child = os.fork()
if child == 0:
    os._exit(0 if total() == before else 1)
assert os.waitpid(child, 0)[1] == 0
print(before)
"""


def test_a_second_process_and_a_forked_child_compute_the_same():
    here = {}
    exec(TOTAL, here)
    command = [sys.executable, "-W", "ignore", "-c", TOTAL + FORK]
    there = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(there) == here["total"]()


def test_four_threads_at_once_compute_the_same():
    engine = sc.get_engine("numpy", fused=True)
    expected, found = run(engine, QUICK[0], batch=700)[0], []
    threads = [threading.Thread(target=lambda: found.append(run(engine, QUICK[0], batch=700)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(expected, one) for one in found)


AT_ONCE = """
import sys, threading
import numba, numpy as np
import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves
engine = sc.get_engine("numpy", fused=True)
x = np.random.default_rng(0).random((20, 40, 1000)).astype("float32")
layers = [(sc.Leaky(beta=0.8), 20), (sc.Recurrent(sc.Leaky(beta=0.8), sc.Linear(1000, 1000)), 5)]
params = [map_leaves(engine.asarray, layer.init(Key((0,)), (1000,)).params) for layer, _ in layers]

def run():
    return [layer.run(Pass(engine), p, Tree(), None, x[:n]).outputs for (layer, n), p in zip(layers, params)]

expected, found = run(), []
threads = [threading.Thread(target=lambda: found.append(run())) for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(numba.threading_layer(), all(np.array_equal(a, b) for one in found for a, b in zip(one, expected)), len(found))
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_any_threading_layer_serves_several_python_threads(layer):
    """C13: Numba's own layer ends the process if two threads use it at once."""
    mine = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, env=mine)
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [layer, "True", "4"]


def test_gradients_do_not_depend_on_the_number_of_threads():
    import numba

    from spikecore.kernels.runtime.openmp import use_threads

    engine, found = sc.get_engine("numpy", fused=True), []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        use_threads(count)
        found.append(run(engine, QUICK[0], batch=700)[2])
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_the_number_of_threads_can_change():
    import numba

    from spikecore.kernels.runtime.openmp import most_threads, ready, use_threads

    most = numba.config.NUMBA_NUM_THREADS
    for count in (1, most, 1, most):
        use_threads(count)
        assert most_threads() == count
        ready()  # as before each of Numba's own loops
        assert numba.get_num_threads() == count


LEFT_ALONE = """
import numpy as np, torch
torch.set_num_threads(1)
import spikecore as sc
from spikecore.kernels.runtime.openmp import _levels
before = _levels()
model = sc.Model(sc.Leaky(), engine=sc.get_engine("torch", fused=True), input_shape=(4096,))
model(np.ones((2, 2, 4096), "float32"))
print(torch.get_num_threads(), before == _levels())
"""


def test_torch_keeps_its_number_of_threads_and_its_regions_do_not_nest():
    pytest.importorskip("torch", reason="torch is not installed")
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", LEFT_ALONE], check=True, capture_output=True, text=True, env=free)
    assert done.stdout.split() == ["1", "True"]


SLEEPY = """
import numpy as np, os
import spikecore as sc
model = sc.Model(sc.Leaky(), engine=sc.get_engine("numpy", fused=True), input_shape=(4096,))
model(np.ones((2, 2, 4096), "float32"))
print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(("asked", "found"), [(None, "1000"), ("77", "77")])
def test_idle_threads_of_kernels_sleep_soon_unless_told_otherwise(asked, found):
    mine = {name: value for name, value in os.environ.items() if name[:4] not in ("GOMP", "OMP_")}
    mine.update({"OMP_DISPLAY_ENV": "verbose"}, **({"GOMP_SPINCOUNT": asked} if asked else {}))
    done = subprocess.run([sys.executable, "-c", SLEEPY], check=True, capture_output=True, text=True, env=mine)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("Numba's threads are not those of GNU's OpenMP here")
    assert f"GOMP_SPINCOUNT = '{found}'" in done.stderr
    assert done.stdout.split() == [str(asked)]
