"""Time in one ``poptorch.for_loop`` where nothing is trained: what it computes, and the rules it has to keep."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore.api.core.tree import leaves
from spikecore.conformance import cases
from spikecore.engines.ipu import looped, simulation
from spikecore.engines.ipu.check import check
from spikecore.engines.ipu.module import CallSignature, InferenceModule
from tests.ipu.ipu_rig import NET, batch, difference, fitted, model, others, some


def assert_same(ours, theirs):
    np.testing.assert_array_equal(ours.spikes.numpy(), theirs.spikes.numpy())
    assert list(ours.states) == list(theirs.states)
    for one, other in ((ours.state, theirs.state), *((ours.states[n], theirs.states[n]) for n in theirs.states)):
        for (path, a), (same, b) in zip(leaves(one), leaves(other)):
            assert path == same
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("case", [*some(cases.NEURONS), *cases.NETWORKS], ids=lambda case: case.name)
def test_the_loop_is_the_unrolled_run(case):
    """Spikes, every recorded state, and the state after the last step."""
    rng = np.random.default_rng(0)
    x = (1.5 * rng.normal(size=(8, 3, *case.shape)) + 0.3).astype("float32")  # as many steps as a PSN needs
    network, found = sc.Sequential(case.layer, sc.Flatten()), []
    for loop in (False, True):
        one = sc.Model(network, "ipu", simulate=True, inference_loop=loop, input_shape=case.shape)
        found.append(one(x, record=True))
    assert_same(found[1], found[0])


@pytest.mark.slow
@pytest.mark.parametrize("case", others(cases.NEURONS), ids=lambda case: case.name)
def test_the_loop_is_the_unrolled_run_for_all_others(case):
    test_the_loop_is_the_unrolled_run(case)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_constant_input_and_a_state_to_go_on_from(steps):
    x, _ = batch(4)
    unrolled, looping = (model(inference_loop=loop) for loop in (False, True))
    first, second = (one(x, num_steps=steps, record=True) for one in (unrolled, looping))
    assert_same(second, first)
    assert second.spikes.shape[0] == steps
    assert_same(*(one(x, num_steps=steps, state=out.state) for one, out in ((looping, second), (unrolled, first))))


def counted(monkeypatch):
    """How often a neuron's step is recorded."""
    calls, step = [], sc.Leaky.step
    monkeypatch.setattr(sc.Leaky, "step", lambda self, *arguments: (calls.append(1), step(self, *arguments))[1])
    return calls


def test_the_program_does_not_grow_with_time(monkeypatch):
    calls = counted(monkeypatch)
    x, _ = batch(4)
    found = []
    for loop, steps in ((False, 5), (False, 50), (True, 5), (True, 50)):
        calls.clear()
        model(inference_loop=loop)(x, num_steps=steps)
        found.append(len(calls))
    assert found == [10, 100, 4, 4], "for two layers: every step, or the first and the body"


def test_training_is_unrolled_and_validation_is_not(monkeypatch):
    seen, scan = [], looped.looped_scan
    monkeypatch.setattr(
        "spikecore.engines.ipu.traced.looped_scan", lambda *a: (seen.append(a[0] is not None), scan(*a))[1]
    )
    data = [batch()]
    ours = fitted(model(inference_loop=True), data, validation=data)
    assert seen == [True, True], "two layers, in validation"
    plain = fitted(model(), data, validation=data)
    assert difference(ours, plain) == 0.0
    assert ours.history[0]["val_loss"] == plain.history[0]["val_loss"]
    assert "one poptorch.for_loop in inference" in ours.engine.explain(sc.Leaky())
    assert "for_loop" not in plain.engine.explain(sc.Leaky())


def test_parts_of_a_batch_and_short_batches():
    x, _ = batch(8)
    expected = model()(x, num_steps=4)
    assert_same(model(inference_loop=True, device_iterations=4)(x, num_steps=4), expected)


def test_a_pipeline_is_refused():
    with pytest.raises(ValueError, match="inference_loop=True with a pipeline is not known to work"):
        model(inference_loop=True, pipeline={"0": 0, "2": 1}, gradient_accumulation=3)
    with pytest.raises(ValueError, match="inference_loop='yes' must be true or false"):
        model(inference_loop="yes")


def test_its_operators_are_lowered():
    engine = sc.get_engine("ipu", simulate=True)
    init = sc.Model(NET, engine).trainer.executor
    module = InferenceModule(
        engine, NET, init.params, init.buffers, CallSignature(record=("1",)), for_loop=simulation.for_loop
    )
    report = check(module, [torch.rand(4, 5, 6)], training=False)
    assert report.ok, report
    assert report.nodes > 20


# ---- the rules of the loop -----------------------------------------------------------------------------------------


def looping(body, inputs, count=3):
    """What an inference model returns that is nothing but a loop."""

    class Loop(torch.nn.Module):
        def forward(self, x):
            return simulation.for_loop(count, body, inputs(x))[0]

    loop = simulation.inferenceModel(Loop())
    try:
        return loop(torch.ones(2, 3))
    finally:
        loop.destroy()


def test_the_body_is_recorded_once():
    """What Python does from one iteration to the next is frozen, silently, as PopTorch does."""
    seen = []

    def body(x):
        seen.append(1)
        return x + float(len(seen))

    assert looping(body, lambda x: [x]).unique().tolist() == [4.0]
    assert len(seen) == 1


def test_inputs_are_copied_and_outer_tensors_seen():
    kept = {}

    def inputs(x):
        kept.update(x=x, scale=2 * torch.ones(3))
        return [x]

    def body(x):
        x += 1
        return x * kept["scale"]

    assert looping(body, inputs).unique().tolist() == [22.0]
    assert kept["x"].unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "inputs", "error", "message"),
    [
        (lambda x: x, lambda x: x, ValueError, r"\(Object is not list\)"),
        (lambda x: x, lambda x: (x,), ValueError, r"\(Object is not list\)"),
        (lambda x, y: [x, y], lambda x: [x, 5], ValueError, r"at index 1 is not torch\.tensor"),
        (lambda x: x[:1], lambda x: [x], simulation.Error, "as many tensors as it takes"),
        (lambda x: [x, x], lambda x: [x], simulation.Error, "as many tensors as it takes"),
        (lambda x: x.int(), lambda x: [x], simulation.Error, "as many tensors as it takes"),
    ],
)
def test_what_the_loop_refuses(body, inputs, error, message):
    with pytest.raises(error, match=message):
        looping(body, inputs)


def test_the_comparison_has_teeth(monkeypatch):
    """A ring turned the wrong way round gives other spikes."""
    case = cases.NETWORKS[0]
    monkeypatch.setattr(looped.torch, "roll", lambda x, shift, axis: x)
    with pytest.raises(AssertionError):
        test_the_loop_is_the_unrolled_run(case)
