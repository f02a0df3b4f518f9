"""Pruning and rewiring in training: when, how much, and going on after an interruption."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.compression import Pruning, Rewiring
from tests.training.pruning_rig import ENGINES, KEEPING, NETWORK, WEIGHTS, X, Y, absent, fit, fresh
from tests.training.training_rig import same

pytest.importorskip("torch", reason="one of the engines here")


@pytest.fixture(autouse=True)
def listening():
    """Python's handler of Ctrl-C, which a shell's background jobs do not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Watching:
    """Notes after each update where there is no connection."""

    def __init__(self):
        self.seen = []

    def after_step(self, model, step):
        self.seen.append(absent(model))


@ENGINES
def test_a_schedule_prunes_bit_by_bit(engine):
    """By Zhu & Gupta's cubic, behind the first update of an epoch; what is gone stays gone."""
    watching, model = Watching(), fresh(engine)
    fit(model, Pruning(0.8, start=1, end=4), watching, epochs=5)
    cubic = [0.8 * (1 - (1 - min(1, done / 3)) ** 3) for done in range(5)]
    assert [row["sparsity"] for row in model.history] == [1 - (400 - round(400 * s)) / 400 for s in cubic]
    for now, after in zip(watching.seen, watching.seen[1:]):
        assert all((after[name] >= now[name]).all() for name in WEIGHTS)
    totals = [sum(int(gone.sum()) for gone in seen.values()) for seen in watching.seen]
    assert totals == [round(400 * s) for s in cubic for _ in range(4)]


def test_a_schedule_in_updates():
    watching = Watching()
    fit(fresh(), Pruning(0.8, start=2, end=9, every=3, each="step", scope="layer"), watching, epochs=3)
    totals = [int(seen["0.weight"].sum()) for seen in watching.seen]
    cubic = [0.0] * 4 + [1 - (4 / 7) ** 3] * 3 + [1 - (1 / 7) ** 3] + [1.0] * 4
    assert totals == [round(96 * 0.8 * s) for s in cubic]
    assert [Pruning(0.8, start=5, end=5).sparsity(epoch) for epoch in (4, 5, 6)] == [0.0, 0.8, 0.8]


@ENGINES
def test_rewiring_keeps_the_number_of_connections(engine):
    watching, model = Watching(), fresh(engine)
    fit(model, Rewiring(0.75, fraction=0.5, start=2, end=5, each="step"), watching)
    for seen in watching.seen:
        assert {name: int(gone.sum()) for name, gone in seen.items()} == {"0.weight": 72, "1.connection.weight": 192,
                                                                           "2.weight": 36}  # fmt: skip
    moved = [sum(int((a[name] & ~b[name]).sum()) for name in WEIGHTS) for a, b in zip(watching.seen, watching.seen[1:])]
    connections = {"0.weight": 24, "1.connection.weight": 64, "2.weight": 12}
    falling = [0.5, 0.5 * 0.75, 0.5 * 0.25]  # (1 + cos(pi t / 3)) / 2
    assert moved == [sum(round(f * n) for n in connections.values()) for f in falling] + [0] * (len(moved) - 3)
    assert [row["sparsity"] for row in model.history] == [0.75] * 4


def test_new_connections_come_from_the_initialiser_and_replace_the_smallest():
    model = fresh()
    sc.compression.prune(model, 0.75, scope="layer")
    before = model.params()["0.weight"]
    sc.compression.rewire(model, 0.5, layers=["0"], seed=(7, "a"))
    after = model.params()["0.weight"]
    new, gone = (before == 0) & (after != 0), (before != 0) & (after == 0)
    assert new.sum() == gone.sum() == 12
    assert abs(before[gone]).max() <= abs(before[(before != 0) & ~gone]).min()
    assert np.array_equal(before[~new & ~gone], after[~new & ~gone])
    assert abs(after[new]).max() <= 1 / 6**0.5, "uniform in +-1/sqrt(fan_in)"
    assert len(set(np.round(after[new], 6))) == 12
    again = fresh("torch")
    sc.compression.prune(again, 0.75, scope="layer")
    sc.compression.rewire(again, 0.5, layers=["0"], seed=(7, "a"))
    assert np.array_equal(again.params()["0.weight"], after), "the same draws on every engine"
    zeros = sc.Model(sc.Sequential(sc.Linear(4, 4, weight_init=sc.init.constant(0.0)), sc.Leaky()))
    state = zeros.state()
    state["params"]["0.weight"][0] = 1.0
    zeros.load_state(state)
    sc.compression.rewire(zeros, 1.0)
    assert (zeros.params()["0.weight"] != 0).sum() == 4, "a new connection exists, whatever weight is drawn"


def test_a_new_connection_has_no_past():
    model = fit(fresh(), Rewiring(0.5, start=100, end=101))
    before = model.state()
    sc.compression.rewire(model, 0.5)
    state = model.state()
    for name in WEIGHTS:
        stays = (state["params"][name] != 0) & (before["params"][name] != 0)
        for slot in ("exp_avg", "exp_avg_sq"):
            now, was = state["optimizer"][f"{name}.{slot}"], before["optimizer"][f"{name}.{slot}"]
            assert not now[~stays].any()
            assert np.array_equal(now[stays], was[stays])


CALLBACKS = {
    "pruning": Pruning(0.8, start=1, end=4),
    "pruning-steps": Pruning(0.8, start=1, end=9, every=2, each="step"),
    "rewiring": Rewiring(0.8),
    "rewiring-steps": Rewiring(0.8, start=2, every=3, end=12, each="step"),
}


class Interrupting:
    """Ctrl-C behind an update, before the callbacks after it in line."""

    def __init__(self, at):
        self.left = at

    def after_step(self, model, step):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@ENGINES
@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("place", [5, 8])
def test_a_run_that_is_interrupted_and_resumed_has_the_same_bits(engine, callback, place, tmp_path):
    callback = CALLBACKS[callback]
    whole = fit(fresh(engine), callback)
    model = fresh(engine)
    with pytest.raises(KeyboardInterrupt):
        fit(model, Interrupting(place), callback)
    model.save(tmp_path / "model")
    model = sc.load(tmp_path / "model", engine=engine)
    same(fit(model, callback, resume=True), whole)


@ENGINES
@pytest.mark.parametrize("optimizer", [sc.SGD(momentum=0.9), sc.Adam(), sc.AdamW(), sc.RMSprop(momentum=0.9)], ids=str)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy, of infinity by infinity
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_make_no_connection(engine, optimizer, value):
    """A zero times NaN or infinity is NaN: the gradient must be replaced, not multiplied."""
    model = fresh(engine)
    sc.compression.prune(model, 0.5)
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    gone = absent(model)
    broken = {name: model.engine.asarray(np.full(np.shape(g), value, "float32")) for name, g in grads.items()}
    model.apply(broken, optimizer=replace(optimizer, keep_zeros=True))
    for name, mask in gone.items():
        assert np.array_equal(absent(model)[name], mask)
        for slot in optimizer.slots:
            assert not model.state()["optimizer"][f"{name}.{slot}"][mask].any()
            assert not np.isfinite(model.state()["optimizer"][f"{name}.{slot}"][~mask]).any()


@ENGINES
def test_gradients_from_outside_stay_as_they_are(engine):
    model = fresh(engine)
    sc.compression.prune(model, 0.5)
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    before = {name: np.array(model.engine.to_numpy(g)) for name, g in grads.items()}
    gone = absent(model)
    model.apply(grads, optimizer=KEEPING)
    assert all(np.array_equal(model.engine.to_numpy(g), before[name]) for name, g in grads.items())
    assert all(np.array_equal(absent(model)[name], gone[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    "options",
    [{"compute": sc.Compute(accumulate=2)}, {"optimizer": replace(KEEPING, clip_norm=0.1)}, {"learning": "eprop"}],
    ids=str,
)
@ENGINES
def test_zeros_stay_in_every_way_of_training(engine, options):
    flat = sc.Sequential(sc.Linear(6, 16), sc.Leaky(beta=0.9, threshold=0.3), sc.Linear(16, 3), sc.Leaky(threshold=0.3))
    model = sc.Model(flat if "learning" in options else NETWORK, engine, seed=3)
    names = [name for name in WEIGHTS if name in model.params()]
    sc.compression.prune(model, 0.6, scope="layer")
    before = {name: model.params()[name] == 0 for name in names}
    fit(model, loss=functional.mse_membrane_loss(), **options)
    after = model.params()
    assert all(np.array_equal(after[name] == 0, before[name]) for name in names)
    assert fresh().params()["0.bias"].shape == after["0.bias"].shape


def test_early_stopping_restores_no_weights_from_before_the_last_cut():
    """Each cut makes the loss worse here, but what was better was denser."""
    model = fresh()
    sc.compression.prune(model, 0.1)
    stopping = sc.EarlyStopping(patience=2, monitor="loss", min_delta=10.0)  # only the first epoch counts as better
    seen = {}

    class Noting:
        def after_step(self, model, step):
            seen[step.epoch] = model.params()

    fit(model, Pruning(0.8, start=1, end=4), Noting(), stopping, epochs=20)
    assert model.epochs_done == 6, "two epochs behind the last cut"
    assert all(np.array_equal(x, seen[4][name]) for name, x in model.params().items()), "of the first epoch behind it"


@ENGINES
def test_a_cut_that_empties_a_layer_leaves_the_training_as_it_is(engine):
    least = sc.Linear(16, 3, weight_init=sc.init.constant(1e-6))
    model = sc.Model(sc.Sequential(sc.Linear(6, 16), sc.Leaky(), least, sc.Leaky()), engine, seed=3)
    slow = sc.Adam(lr=1e-6, keep_zeros=True)
    message = r"epoch 2, sparsity 63.33%: prune: 2.weight would lose all.*scope='layer'.*resume=True"
    with pytest.warns(sc.errors.TrainingWarning), pytest.raises(ValueError, match=message):
        fit(model, Pruning(0.9, end=4), optimizer=slow)
    assert model.epochs_done == 1
    assert model.state()["step"] == 5, "the first update of the second epoch counts"
    fit(model, Pruning(0.9, end=4, scope="layer"), optimizer=slow, resume=True)
    assert model.state()["step"] == 16
    assert [row.existing for row in sc.compression.sparsity(model).weights] == [96 - round(86.4), 48 - round(43.2)]


def test_a_plateau_begins_anew_where_the_network_is_sparser():
    plateau = sc.schedule.reduce_on_plateau(patience=1, monitor="loss")
    losses, sparsities = [1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.5, 0.5]
    assert plateau(4, 9, [{"loss": loss} for loss in losses]) == 0.1
    assert plateau(4, 9, [{"loss": loss, "sparsity": s} for loss, s in zip(losses, sparsities)]) == 1.0


def test_the_optimiser_goes_on_from_one_that_does_not_keep_zeros():
    model = fit(fresh(), optimizer=sc.Adam(lr=0.01), epochs=1)
    steps = model.state()["step"]
    sc.compression.prune(model, 0.5)
    before = absent(model)
    fit(model, epochs=2)
    assert model.state()["step"] == 3 * steps, "its moments go on"
    assert all(np.array_equal(gone, before[name]) for name, gone in absent(model).items())
    assert "sparsity" not in model.history[0]
    assert model.history[-1]["sparsity"] == 0.5
