"""Parallel spiking neurons as their users meet them: at once and by steps, streams, masks, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import Tree, flatten
from spikecore.conformance.rig import assert_close, assert_trees_close, differentiate, normal, run

STEPS = 9
NUMPY = sc.get_engine("numpy", dtype="float64")
CAUSAL = [
    sc.MaskedPSN(num_steps=STEPS, order=4, threshold=0.2),
    sc.MaskedPSN(num_steps=STEPS, order=1, threshold=0.1),
    sc.SlidingPSN(order=4, threshold=sc.learn(0.8)),
    sc.SlidingPSN(order=1, threshold=0.3),
]
ids = {"ids": lambda layer: f"{type(layer).__name__}-{layer.order}"}


def net(neuron):
    return sc.Sequential(sc.Linear(5, 6), neuron, sc.Linear(6, 3), sc.Leaky(beta=0.8, threshold=0.3))


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("layer", CAUSAL, **ids)
def test_all_steps_at_once_equal_one_step_after_the_other(name, layer):
    """From rest and from a state within a sequence, by the same sums in the same order."""
    engine, loop, x = sc.get_engine(name, dtype="float64"), replace(layer, parallel=False), normal(STEPS, 2, 3, 2)
    for start in (None, run(engine, layer, x[:4]).state):
        ours, theirs = (run(engine, each, x, state=start) for each in (layer, loop))
        assert 0.02 < ours.outputs.mean() < 0.98
        for part in ("outputs", "recorded", "state"):
            assert_trees_close(Tree(one=getattr(ours, part)), Tree(one=getattr(theirs, part)), 1e-13)
        (_, found), (_, expected) = (differentiate(engine, each, x, state=start) for each in (layer, loop))
        assert_trees_close(Tree(flatten(found)), Tree(flatten(expected)), 1e-12)


def test_a_stream_of_a_masked_psn_begins_again_after_its_steps():
    model = sc.Model(net(CAUSAL[0]), "numpy", dtype="float64")
    x = normal(2 * STEPS, 3, 5)
    stream = model.stream(3, record=True)
    rows = []
    for one in x:
        stream.step(one)
        rows.append(stream.states["1"].spikes)
    for part in (slice(STEPS), slice(STEPS, None)):
        out = model(x[part], record=True)
        np.testing.assert_array_equal(np.stack(rows[part]), out.states["1"].spikes)
    assert (stream.state["1"].step == 0).all()


def test_each_sample_of_a_masked_psn_counts_its_own_steps():
    """States of one batch may be at different steps."""
    layer, x = CAUSAL[0], normal(STEPS, 1, 4)
    early, late = (run(NUMPY, layer, x[:n]).state for n in (2, 5))
    both = Tree({name: np.concatenate([early[name], late[name]]) for name in early})
    found = run(NUMPY, layer, np.repeat(x[5:7], 2, axis=1), state=sc.base.State(both)).outputs
    for i, state in enumerate((early, late)):
        np.testing.assert_array_equal(found[:, i : i + 1], run(NUMPY, layer, x[5:7], state=state).outputs)


@pytest.mark.parametrize("order", [1, 3, STEPS])
def test_a_fully_masked_psn_learns_only_the_weights_that_it_reads(order):
    x = normal(STEPS, 2, 4)
    _, grads = differentiate(NUMPY, sc.MaskedPSN(num_steps=STEPS, order=order, threshold=0.2), x)
    t, j = np.indices((STEPS, STEPS))
    np.testing.assert_array_equal(grads.params.weight != 0, (t - order < j) & (j <= t))


def test_a_masked_psn_of_no_mask_is_a_psn():
    x = normal(STEPS, 2, 4)
    found = run(NUMPY, sc.MaskedPSN(num_steps=STEPS, order=2, mask=0.0, threshold=0.2), x)
    assert_trees_close(found.recorded, run(NUMPY, sc.PSN(num_steps=STEPS, threshold=0.2), x).recorded, 0)


def test_the_mask_is_raised_in_phases():
    """Weights, optimiser and step count go from one model to the next."""
    rng = np.random.default_rng(0)
    x, labels, last = rng.random((16, 5), dtype="float32"), rng.integers(0, 3, 16), None
    for mask in (0.0, 0.5, 1.0):
        model = sc.Model(net(sc.MaskedPSN(num_steps=STEPS, order=3, mask=mask, threshold=0.2)), "numpy", seed=0)
        if last is not None:
            model.load_state(last.state())
            assert all(np.array_equal(value, last.params()[key]) for key, value in model.params().items())
        before = model.params()["1.weight"]
        model.fit([(x, labels)], epochs=1, num_steps=STEPS, progress=False)
        assert abs(model.params()["1.weight"] - before).max() > 0
        last = model
    assert last.stream().step(x[:1]).shape == (1, 3)


def test_psn_in_torch_runs_on_whole_sequences():
    torch = pytest.importorskip("torch", reason="the torch face needs torch")
    import spikecore.nn as snn

    model = sc.Model(net(sc.PSN(num_steps=STEPS, threshold=0.2)), "torch", dtype="float64")
    x = torch.as_tensor(normal(STEPS, 4, 5))
    module = snn.to_torch(model).double()
    out = snn.run(module, x)
    assert torch.equal(out, torch.as_tensor(np.asarray(model(x.numpy()).spikes)))
    out.sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for name, p in module.named_parameters() if name.startswith("1."))
    with pytest.raises(ShapeError, match="PSN: a single time step, expected num_steps=9: .*SlidingPSN can"):
        module(x[0])
    again = snn.from_torch(module, input_shape=(5,), engine="torch", dtype="float64")
    assert torch.equal(torch.as_tensor(np.asarray(again(x.numpy()).spikes)), out)


def test_sliding_psn_sleeps_until_something_arrives():
    """Its past inputs keep a neuron awake, and a compiled stream equals the whole sequence."""
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    layers = sc.Linear(5, 6, bias=False), sc.SlidingPSN(order=5, threshold=0.3), sc.Linear(6, 3), sc.LI(beta=0.9)
    model, x = sc.Model(sc.Sequential(*layers), "numpy", seed=1), np.zeros((40, 2, 5), "float32")
    x[[3, 20, 21], :, 2] = 1.5
    stream, out = model.stream(2, record=True), model(x, record=True)
    assert "sleep until something arrives in 1 (SlidingPSN)" in stream.explain()
    found = [(stream.step(one), stream.states["1"].spikes) for one in x]
    assert out.states["1"].spikes.any(axis=(1, 2)).sum() > 3
    np.testing.assert_array_equal(np.stack([spikes for _, spikes in found]), out.states["1"].spikes)
    assert_close(np.stack([y for y, _ in found]), out.spikes, 1e-6)


REFUSED = [
    (lambda: sc.PSN(), "PSN: num_steps=0 must be an int >= 1"),
    (lambda: sc.PSN(num_steps=3, parallel=False), "PSN: parallel=False is not possible: it needs whole sequences"),
    (lambda: sc.MaskedPSN(num_steps=3), "MaskedPSN: order=0 must be an int >= 1"),
    (lambda: sc.MaskedPSN(num_steps=3, order=4), "MaskedPSN: order=4 must be at most num_steps=3"),
    (lambda: sc.MaskedPSN(num_steps=3, order=2, mask=1.5), r"MaskedPSN: mask=1.5 must be in \[0, 1\]"),
    (lambda: sc.MaskedPSN(num_steps=3, order=2, mask=0.5, parallel=False), "MaskedPSN: parallel=False is not possible"),
    (lambda: sc.SlidingPSN(order=0), "SlidingPSN: order=0 must be an int >= 1"),
    (lambda: sc.Refractory(sc.PSN(num_steps=3)), "Refractory: PSN needs whole sequences.*take SlidingPSN"),
    (lambda: sc.Recurrent(sc.PSN(num_steps=3), sc.OneToOne()), "Recurrent: PSN needs whole sequences"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "steps"),
    [
        (sc.PSN(num_steps=STEPS), STEPS - 1),
        (sc.MaskedPSN(num_steps=STEPS, order=2, mask=0.5), STEPS - 1),
        (sc.MaskedPSN(num_steps=STEPS, order=2), STEPS + 1),
        (sc.MaskedPSN(num_steps=STEPS, order=2, parallel=False), STEPS + 1),
    ],
)
def test_a_sequence_of_another_length_is_refused(layer, steps):
    model = sc.Model(net(layer), "numpy")
    with pytest.raises(ShapeError, match=f"PSN: a sequence of {steps} time steps, expected num_steps={STEPS}"):
        model(np.zeros((steps, 2, 5), "float32"))
    with pytest.raises(ShapeError, match=f"PSN: a sequence of {steps} time steps, expected num_steps={STEPS}"):
        model(np.zeros((2, 5), "float32"), num_steps=steps)
