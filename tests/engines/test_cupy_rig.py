"""On a pretended CuPy: no array of the host meets one of the device, and values are NumPy's."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.engines.processes import passed, ran
from tests.kernels.cuda_rig import GXX

RIG = "tests.engines.cupy_rig"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is not None, reason="CuPy itself is installed, which needs no stand-in"
)


def test_arrays_of_the_host_and_of_the_device_do_not_mix():
    found = json.loads(ran("tests.engines.cupy_rig_worker"))
    assert found["mixed"] == {}
    assert {"numpy", "cupy, loops"} <= set(found["trained"])
    assert found["trained"]["numpy"][-2]["spikes"] > 10
    assert all(rows == found["trained"]["numpy"] for rows in found["trained"].values())


@pytest.mark.slow
def test_the_whole_conformance_suite_in_loops():
    assert passed([RIG], "--engine", "cupy:fused=false") > 2000


@pytest.mark.slow
@pytest.mark.skipif(GXX is None, reason="no g++ to compile CUDA C as C++")
def test_the_whole_conformance_suite_through_kernels():
    """Any neuron that can takes them, at any size."""
    assert passed([RIG], "--engine", "cupy") > 2000
