"""Ways of learning: one naming scheme, found by name, and a way of one's own in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, plasticity
from spikecore.api.core.tree import map_leaves
from spikecore.api.learning import learning as finding

X = np.random.default_rng(0).random((9, 6, 4)).astype("float32")
Y = np.arange(6) % 3
NET = sc.Sequential(sc.Linear(4, 5), sc.Leaky(threshold=0.3), sc.Linear(5, 3), sc.Leaky(threshold=0.3))


@dataclass(frozen=True)
class SignStep(backprop.Learning):
    """Weights follow the sign of the gradient, once per piece."""

    step_size: float = 0.01
    update_every: Optional[int] = None

    def begin(self, executor, loss, batch):
        state = None

        def learn(piece):
            nonlocal state
            value, out = executor.gradients.add(piece.x, piece.targets, steps=piece.steps, key=piece.key, state=state)
            grads, state = executor.gradients.gradient(), map_leaves(executor.engine.stop_gradient, out.state)
            xp = executor.engine.xp
            executor.gradients.apply(
                sc.base.Params({name: xp.where(g > 0, g * 0 + 1, g * 0 - 1) for name, g in grads.items()})
            )
            return value, out

        return learn


@dataclass(frozen=True)
class NoiseStep(backprop.Learning):
    """No gradients: weights move by a constant, so there is neither optimiser nor loss."""

    by: float = 0.25
    gradients = False

    def begin(self, executor, loss, batch):
        def learn(piece):
            out = executor.run(piece.x, steps=piece.steps)
            executor.gradients.assign(map_leaves(lambda w: w + self.by, executor.params))
            return None, out

        return learn


class Point:
    def __init__(self, load):
        self.load = load


@pytest.fixture
def offered(monkeypatch):
    points = {"sign_step": Point(lambda: SignStep)}
    monkeypatch.setattr(finding, "entry_points_of", lambda group: points if group == "spikecore.learning" else {})


def test_names_are_the_classes_in_small_letters():
    for name in finding.NAMES:
        kind = finding.way(name)
        assert kind.__name__.lower() == name
        assert getattr(sc, kind.__name__) is kind
        assert kind() == finding.learning_of(name)


def test_old_places_say_the_new_ones():
    with pytest.raises(AttributeError, match=r"has no 'eprop': write sc\.EProp\(\.\.\.\)"):
        _ = backprop.eprop
    with pytest.raises(AttributeError, match="Model has no 'optimizer': write model.trainer.optimizer"):
        _ = sc.Model(NET, "numpy").optimizer


@pytest.mark.parametrize("name", finding.NAMES)
def test_each_takes_update_every_and_prints_itself(name):
    way = finding.way(name)(update_every=3)
    assert eval(repr(way), vars(sc)) == way
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"{type(way).__name__}: update_every={wrong} must be an int >= 1"):
            type(way)(update_every=wrong)


def test_local_rules_are_a_way_of_learning():
    rules = plasticity.Plasticity({"0": plasticity.STDP()}, update_every=2)
    assert isinstance(rules, backprop.Learning)
    assert not rules.gradients
    assert not isinstance(rules, backprop.LearningRule)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_way_of_ones_own_learns_and_is_cut_into_pieces(engine):
    model = sc.Model(NET, engine, seed=0)
    before = model.params() if model.input_shape else None
    history = model.fit([(X, Y)], learning=SignStep(update_every=4), optimizer=sc.SGD(lr=0.5), progress=False)
    assert model.trainer.executor.steps_done == 3  # 4, 4 and 1 steps
    assert np.isfinite(history[-1]["loss"])
    moved = {abs(model.params()[name] - value).max() for name, value in (before or {}).items()}
    assert max(moved) <= 1.5 + 1e-6
    assert max(moved) >= 0.5 - 1e-6


def test_without_gradients_it_needs_no_optimiser_and_no_targets():
    model = sc.Model(NET, "numpy", seed=0, input_shape=4)
    before = model.params()
    row = model.fit(X.swapaxes(0, 1), learning=NoiseStep(), time_axis=1, progress=False)[-1]
    assert "loss" not in row
    assert row["rate"] >= 0.0
    assert all(np.allclose(model.params()[name], value + 0.25) for name, value in before.items())
    with pytest.raises(TypeError, match="has no optimiser, its rules have the learning rates"):
        model.fit([(X, Y)], learning=NoiseStep(), optimizer=sc.SGD(lr=0.1), progress=False)


def test_a_package_offers_one_by_name(offered):
    model = sc.Model(NET, "numpy", seed=0)
    model.fit([(X, Y)], learning="sign_step", progress=False)
    assert isinstance(model.trainer.learning, SignStep)
    assert finding.ways()["sign_step"] is SignStep
    with pytest.raises(ValueError, match="unknown learning 'sign_stap'; did you mean 'sign_step'"):
        finding.learning_of("sign_stap")


def test_a_broken_package_leaves_the_others_usable(offered, monkeypatch):
    def broken():
        raise ImportError("no such module")

    points = {"broken": Point(broken), "sign_step": Point(lambda: SignStep)}
    monkeypatch.setattr(finding, "entry_points_of", lambda group: points)
    assert list(finding.ways()) == [*finding.NAMES, "sign_step"]


def test_what_waits_for_other_batches_is_refused_by_name():
    model = sc.Model(NET, "numpy", seed=0)
    options = {"learning": SignStep(), "compute": sc.Compute(accumulate=2), "progress": False}
    with pytest.raises(NotImplementedError, match=r"learning=SignStep\(\) makes no gradient that may wait"):
        model.fit([(X, Y)] * 2, **options)


@pytest.mark.parametrize("call", ["learned", "verify"])
def test_only_what_makes_one_gradient_of_a_batch_is_compared(call):
    model = sc.Model(NET, "numpy", seed=0)
    act = {"learned": backprop.learned, "verify": sc.verify}[call]
    rules = plasticity.Plasticity({"0": plasticity.STDP()})
    for learning, error, said in (
        (rules, TypeError, "makes no gradient of a batch"),
        (sc.EProp(update_every=3), ValueError, "leave update_every out"),
    ):
        with pytest.raises(error, match=said):
            act(model, X, Y, learning=learning)
