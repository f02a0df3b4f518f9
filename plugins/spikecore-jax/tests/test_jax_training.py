"""Training with the engine: weights equal the NumPy engine's, each step is the same code; checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("jax", reason="the engine computes with JAX: pip install jax")

from jax_rig import LABELS, NET, X, assert_same_weights, data, fitted, trained

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import flatten
from spikecore.conformance.rig import assert_close, normal


def test_training_is_that_of_numpy_and_each_step_the_same_code():
    """Dropout draws other numbers in each step and epoch; neither these nor a schedule are traced again."""
    ours, theirs = (trained(name, 3, schedule=sc.schedule.cosine(), clip_norm=0.5) for name in ("jax", "numpy"))
    assert ours.trainer.executor.traces == 1
    assert ours.trainer.executor._step._cache_size() == 1
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("spec", [sc.SGD(lr=0.1, momentum=0.9, dampening=0.5), sc.RMSprop(lr=0.01, momentum=0.5)])
def test_the_first_update_has_no_code_of_its_own(spec):
    models = [sc.Model(NET, engine=name, dtype="float64") for name in ("jax", "numpy")]
    for model in models:
        model.fit(data(), optimizer=spec, epochs=1, progress=False)
    assert models[0].trainer.executor.traces == 1
    assert_same_weights(*models)


def test_lengths_are_data():
    losses = []
    for name in ("jax", "numpy"):
        engine = sc.get_engine(name, dtype="float64")
        init = NET.init(Key((0,)), (6,))
        executor = engine.compile(NET, init.params, init.buffers, functional.ce_rate_loss(), sc.SGD(lr=0.1))
        with engine.isolated():
            losses.append([executor.step(X, LABELS, key=Key((n,)), lengths=[n] * 9 + [7])[0] for n in (7, 3, 5)])
        assert name == "numpy" or executor.traces == 1
        with pytest.raises(ValueError, match=r"lengths\[0\] = 8"), engine.isolated():
            executor.step(X, LABELS, key=Key((0,)), lengths=[8] * 10)
    assert_close(np.array(losses[0]), np.array(losses[1]))


def test_batches_that_wait_for_one_update():
    ours, theirs = (trained(name, 2, compute=sc.Compute(accumulate=2)) for name in ("jax", "numpy"))
    assert_same_weights(ours, theirs)


def test_frozen_parameters_stay():
    groups = (sc.Group("0.*", frozen=True),)
    model = sc.Model(NET, engine="jax", seed=3)
    before = model.params() if model.input_shape else sc.Model(NET, engine="numpy", seed=3).params()
    model.fit(data(), optimizer=sc.Adam(lr=0.01, groups=groups), epochs=1, progress=False)
    after = model.params()
    assert (after["0.weight"] == before["0.weight"].astype("float32")).all()
    assert (after["3.weight"] != before["3.weight"].astype("float32")).any()


def test_a_loss_that_is_not_finite_changes_nothing():
    model = sc.Model(NET, engine="jax", seed=3)
    before = model.params()

    def loss(out, targets):
        return sc.base.engine_of(out.spikes).xp.sum(out.spikes) / 0.0 + float("nan")

    with pytest.raises(sc.errors.DivergedError, match="The weights are those before this batch"):
        model.fit(data(1), loss=loss, optimizer=sc.Adam(lr=0.01), epochs=1, progress=False)
    for name, x in model.params().items():
        np.testing.assert_array_equal(x, before[name])


def test_a_loss_that_looks_at_values_is_refused_by_name():
    def loss(out, targets):
        return out.spikes.sum() if out.spikes.sum() > 0 else out.membrane.sum()

    with pytest.raises(NotImplementedError, match="can therefore not look at the values of arrays"):
        sc.Model(NET, engine="jax").fit(data(1), loss=loss, progress=False)


MISTAKES = {  # a membrane wrongly changed, and what to write instead
    "an array's truth": (lambda engine, mem: mem if mem > 0.0 else -mem, r"write xp\.where\(condition, a, b\)"),
    "a method of torch": (lambda engine, mem: mem.detach(), r"no method 'detach' .*write engine\.stop_gradient\(x\)"),
    "an argument of torch": (lambda engine, mem: engine.xp.sum(mem, dim=1), "write axis= for dim="),
    "the mask first": (lambda engine, mem: mem * sc.base.cast(mem > 0.0, engine), r"write cast\(engine, mem > 0\.0\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_step_of_ones_own_names_the_step_and_the_remedy(mistake):
    """And not a line inside JAX."""
    wrong, remedy = MISTAKES[mistake]

    @dataclass(frozen=True)
    class Own(sc.base.Neuron):
        def step(self, engine, params, state, x):
            mem = wrong(engine, state.mem + x)
            return self.fires(engine, params, mem), sc.base.State(mem=mem)

    model = sc.Model(sc.Sequential(sc.Linear(5, 3), Own()), "jax")
    with pytest.raises(TypeError, match=rf"^Own\.step, line \d+, .*{remedy}"):
        model(np.ones((2, 5), "float32"), num_steps=2)


def test_arrays_that_are_read_out_outlive_the_buffers_that_training_uses_again():
    model = trained("jax", 1)
    engine, executor = model.engine, model.trainer.executor
    held = {name: engine.to_numpy(x) for name, x in flatten(executor.params).items()}
    copies = {name: x.copy() for name, x in held.items()}
    fitted(model, 2)
    for name, x in held.items():
        np.testing.assert_array_equal(x, copies[name])


@pytest.mark.parametrize(("first", "second"), [("jax", "numpy"), ("numpy", "jax"), ("jax", "torch"), ("torch", "jax")])
def test_checkpoints_to_and_fro(first, second, tmp_path):
    whole = trained("numpy", 4)
    path = tmp_path / "model.sc"
    trained(first, 2).save(path)
    other = fitted(sc.load(path, engine=second), 2)
    assert other.engine.name == second
    assert_same_weights(other, whole)


def test_a_file_names_its_engine(tmp_path):
    trained("jax", 1).save(tmp_path / "model.sc")
    assert sc.load(tmp_path / "model.sc").engine.name == "jax"


def test_verify_both_ways():
    ours, theirs = trained("jax", 1), trained("numpy", 1)
    for model, against in ((ours, "numpy"), (ours, "torch"), (theirs, "jax")):
        report = sc.verify(model, X, LABELS, against=against)
        assert report.ok, report


def test_learning_forward_in_time():
    net = sc.Sequential(sc.Linear(4, 3), sc.Leaky(beta=0.8, threshold=0.5))
    x, wanted = np.abs(normal(4, 2, 4)), np.abs(normal(4, 2, 3))
    loss = functional.mse_membrane_loss(time_var_targets=True)
    found, expected = (
        sc.backprop.rtrl(sc.Model(net, engine=name, dtype="float64"), x, wanted, loss) for name in ("jax", "numpy")
    )
    for name, g in expected.grads.items():
        assert_close(found.grads[name], g, 1e-11, name)


def test_plasticity():
    """Local rules change the parameters of a model, and of a stream, as on the NumPy engine."""
    rules = sc.plasticity.STDP(), sc.plasticity.Bounds(-1.0, 1.0)
    threshold = sc.learn(0.5, per="neuron")
    net = sc.Sequential(sc.Linear(4, 3), sc.Leaky(beta=0.8, threshold=threshold))
    learning = sc.plasticity.Plasticity({"0": rules, "1": sc.plasticity.AdaptiveThreshold()}, update_every=3)
    x, params = np.abs(normal(6, 2, 4)), []
    for name in ("jax", "numpy"):
        model = sc.Model(net, engine=name, dtype="float64", seed=0)
        before = model.params()
        model.fit([(x, [0, 1])], learning=learning, progress=False)
        assert all(abs(model.params()[part] - before[part]).max() > 1e-3 for part in ("0.weight", "1.threshold"))
        stream = model.stream(2, learning=learning)
        stream.step(x[0])
        params.append({**model.params(), **{f"stream {part}": value for part, value in stream.params().items()}})
    for name, value in params[1].items():
        assert_close(params[0][name], value, 1e-11, name)


def test_forward_gradients_of_several_batches_make_one_update():
    found, expected = (
        trained(name, 1, sc.Sequential(*NET.layers[:2]), learning="eprop", loss=functional.mse_membrane_loss(),
                compute=sc.Compute(accumulate=2))
        for name in ("jax", "numpy")
    )  # fmt: skip
    assert_same_weights(found, expected)


def test_plasticity_between_trainings():
    """In ``fit``, before a training with gradients, and in a stream."""
    learning = sc.plasticity.Plasticity({"0": sc.plasticity.STDP()})
    models = [sc.Model(NET, engine=name, dtype="float64", seed=3) for name in ("jax", "numpy")]
    for model in models:
        model.fit(X[0], num_steps=4, learning=learning, batch_size=5, progress=False)
        fitted(model, 1)
        model.stream(learning=learning).step(X[0, :1])
    assert_same_weights(*models)
