"""On a pretended CUDA device: nothing waits for it, nothing is on the wrong one, and values are the CPU's."""

from __future__ import annotations

import json
import math

import pytest

from tests.engines.cuda_rig.build import absent
from tests.engines.processes import passed, ran

pytestmark = pytest.mark.skipif(bool(absent()), reason=absent() or "")

NETWORKS = ("leaky", "synaptic", "learned", "recurrent", "maps", "residual")
#: Launches of a training step on 25 time steps; the dense recurrence takes four for each of them.
LAUNCHES = {"leaky": 58, "synaptic": 60, "learned": 70, "recurrent": 172, "maps": 59, "residual": 76}


@pytest.fixture(scope="module")
def worked():
    return json.loads(ran("tests.engines.cuda_rig.worker"))


@pytest.fixture(scope="module")
def counted(worked):
    return worked["counts"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["fit", "fit there", "evaluate"])
def test_one_wait_for_each_batch_and_no_copy_that_waits(counted, name, kind):
    """Its values are read together; inputs and labels are sent on their way, if they are not there already."""
    found = counted[name][kind]
    assert found["wait"] <= 1.0
    assert found["upload"] == found["download"] == 0.0
    assert found["send"] <= 2.0  # inputs, or which of them, and labels


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["model", "stream"])
def test_a_call_waits_once_to_check_its_input(counted, name, kind):
    found = counted[name][kind]
    assert found["wait"] + found["upload"] + found["download"] <= 1.0


@pytest.mark.parametrize("name", NETWORKS)
def test_launches_of_a_training_step(counted, name):
    assert counted[name]["fit"]["launch"] <= LAUNCHES[name]


@pytest.mark.parametrize("name", ["leaky", "maps", "residual"])
def test_steps_are_alike_and_read_when_the_next_one_has_begun(counted, name):
    """Step k is read behind the update of step k + 1, but for the first one, which is looked at, and the last one."""
    found = counted["steps"][name]
    assert len(found["equal"]) == 3
    assert all(found["equal"])
    assert found["updates before reads"][1:] == [3, 4, 5, 6, 7, 7]


def test_a_network_of_modules_waits_for_nothing(counted):
    found = counted["snn.run"]
    assert found["wait"] == found["upload"] == found["download"] == 0


def test_kernels_run_at_any_size_and_wait_for_nothing(counted):
    """Ten neurons, as the last layer of many networks has; step by step that was 480 launches."""
    both = counted["leaky alone"]
    assert both["forward"]["launch"] + both["backward"]["launch"] <= 40
    assert all(both[way][kind] == 0 for way in both for kind in ("wait", "upload", "download"))


# ---- values, errors and places to continue -------------------------------------------------------------------------


def same(a, b):
    """Whether two results are the same, numbers up to rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) or (a != a and b != b)
    return a == b


CASES = (
    *"plain there batches tensors lengths schedule accumulate rmsprop sgd truncated parts told stopped".split(),
    *"continued input-bad loss-inf loss-inf-after loss-nan loss-nan-after loss-first loss-first-after".split(),
    *"gradient unchecked label-bad evaluate evaluate-bad".split(),
)
SAID = {
    "input-bad": "ValueError: input[",
    "loss-inf": "the loss of epoch 1 is inf in batch 4",
    "loss-nan": "the loss of epoch 2 is nan in batch 2",
    "loss-first": "the loss of epoch 1 is nan in batch 1",
    "gradient": "in batch 4 of epoch 1 the gradient is not finite",
    "label-bad": "is out of range",
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_whose_values_are_read_late_is_that_of_the_cpu(worked, case):
    """Histories, what callbacks are told, messages of errors and their batches, weights, moments, and what follows."""
    cpu, cuda = worked["cpu"], worked["cuda"]
    assert set(cpu) == set(CASES)
    if isinstance(cpu[case], dict):
        assert SAID.get(case, "") in cpu[case].get("said", "")
    assert same(cpu[case], cuda[case])


# ---- the contract of engines ---------------------------------------------------------------------------------------

DEVICE = "tests.engines.cuda_rig.device"


def test_a_part_of_the_conformance_suite():
    """The contract itself, words, and executors of one network: with loops, whose operators are torch's own."""
    chosen = "test_engine_contract or test_words and matmul"
    assert passed([DEVICE], "--engine", "torch:device=cuda,fused=false", "-k", chosen, TRITON_INTERPRET="1") > 15


@pytest.mark.slow
def test_the_whole_conformance_suite_in_loops():
    """Draws have a kernel in any case, so Triton is interpreted here, too."""
    assert passed([DEVICE], "--engine", "torch:device=cuda,fused=false", TRITON_INTERPRET="1") > 2000


@pytest.mark.slow
def test_the_whole_conformance_suite_through_kernels():
    """In Triton's interpreter; any neuron that can takes them, at any size."""
    pytest.importorskip("triton", reason="Triton is not installed")
    plugins = [DEVICE, "tests.kernels.libdevice"]
    assert passed(plugins, "--engine", "torch:device=cuda", TRITON_INTERPRET="1") > 2000
