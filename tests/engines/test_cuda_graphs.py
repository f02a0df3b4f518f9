"""On a pretended CUDA device: steps that a CUDA graph can repeat, trainings by such graphs, and ``torch.compile``."""

from __future__ import annotations

import json

import pytest

import spikecore as sc
from tests.engines.cuda_rig.build import absent
from tests.engines.processes import ran

pytest.importorskip("torch", reason="torch is not installed")
rig = pytest.mark.skipif(bool(absent()), reason=absent() or "")
WORKER = "tests.engines.cuda_rig.ready"
#: Launches of a training step, and of those with a graph: the graph itself, its input, what is read later, the update.
LAUNCHES = {"tutorial 5": (52, 25), "tutorial 6": (61, 25), "RLeaky": (165, 25), "SEW-ResNet18": (400, 26)}


@rig
def test_steps_that_follow_each_other_are_the_same_to_a_device():
    """The same operators on the same memory, and nothing between host and device: what a graph needs.

    Only running statistics have new memory after each step, since those before it are kept until its loss is read:
    if that is not finite, they are put back. A graph has memory of its own for them.
    """
    found = json.loads(ran(WORKER, "steps"))
    assert "cuda_graph=True: this training step cannot be recorded" in found.pop("refused")
    assert set(found) == set(LAUNCHES)
    for name, step in found.items():
        assert step["operators"]
        assert step["addresses"] or name == "SEW-ResNet18"
        assert step["waits and copies"] == 0
        assert step["waits and copies with a graph"] == 0
        assert step["launches"] <= LAUNCHES[name][0]
        assert step["launches with a graph"] <= LAUNCHES[name][1]
    assert found["tutorial 6"]["converted in bf16"] < 75_000  # of weights and at both ends; 557,000 at each layer


@rig
@pytest.mark.slow
def test_a_training_by_graphs_is_the_same_training():
    """Histories, weights, running statistics and moments, with dropout and a schedule, with kernels and in loops."""
    pytest.importorskip("triton", reason="Triton is not installed")
    found = json.loads(ran(WORKER, "graphs", TRITON_INTERPRET="1"))
    for kind in ("auto", "False"):
        plain, graphed = found[f"{kind}, False"], found[f"{kind}, True"]
        assert (plain.pop("graphs"), graphed.pop("graphs")) == (0, 2)  # whole batches, and a smaller one
        assert plain == graphed


@rig
@pytest.mark.slow
def test_make_gpu_measures_training_steps_with_and_without_graphs():
    found = json.loads(ran("tests.engines.cuda_rig.measured").splitlines()[-1])
    assert found["failures"] == []
    rows = found["rows"]["Training steps"]
    assert [(row["precision"], row["graph"]) for row in rows] == [
        (precision, graph) for precision in ("float32", "bf16") for graph in ("no", "yes")
    ]
    assert all(row["ms"] is not None for row in rows)


@rig
@pytest.mark.slow
def test_compiled_steps_compute_what_they_compute_otherwise():
    """A loop of the user's own over neurons, and layers over time; the operators that stand for kernels in it."""
    pytest.importorskip("triton", reason="Triton is not installed")
    found = json.loads(ran(WORKER, "compiled", TRITON_INTERPRET="1"))
    assert len(found["operators"]) == 4
    assert all(set(checks.values()) == {"SUCCESS"} for checks in found["operators"].values())
    for kind in ("own loop", "layers"):
        assert found[kind]["mean"] != 0.0
        assert max(found[kind]["eager"], found[kind]["aot_eager"]) < 1e-6


def test_without_a_cuda_device_a_graph_is_refused_by_name():
    net, data = sc.Sequential(sc.Linear(3, 2), sc.Leaky()), [([[0.1, 0.2, 0.3]], [1])]
    graph = sc.Compute(cuda_graph=True)
    for engine, said in (("numpy", "engine 'numpy'"), ("torch", "device='cpu'")):
        with pytest.raises(NotImplementedError, match=f"cuda_graph=True .* this is {said}: use get_engine.'torch', d"):
            sc.Model(net, engine=engine).fit(data, num_steps=2, compute=graph, progress=False)
    with pytest.raises(ValueError, match="cuda_graph=True .* learns within a batch: use BPTT"):
        sc.Model(net, engine="torch").fit(data, num_steps=2, compute=graph, learning="eprop", progress=False)
    for other in ({"memory": "1GB"}, {"parallel": "fsdp"}, {"compile": True}, {"accumulate": 2}):
        with pytest.raises(ValueError, match=f"{next(iter(other))}=.* exclude each other: leave one of them out"):
            sc.Compute(cuda_graph=True, **other)
