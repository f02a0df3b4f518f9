"""Pruning and rewiring: how many connections, which ones, when; files, copies and exports; going on."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import EMPTY, Init
from spikecore.api.layers.containers import connections_of
from spikecore.datasets import Loader

X = np.random.default_rng(0).random((26, 6)).astype("float32")
Y = X[:, :3].argmax(1).astype("int64")
NETWORK = sc.Sequential(
    sc.Linear(6, 16), sc.RLeaky(beta=sc.learn(0.8, per="neuron"), threshold=0.5, linear_features=16),
    sc.Linear(16, 3), sc.Leaky(beta=0.7, threshold=0.5),
)  # fmt: skip
WEIGHTS = ("0.weight", "1.connection.weight", "2.weight")
SIZES = {"0.weight": 96, "1.connection.weight": 256, "2.weight": 48}
KEEPING = sc.Adam(lr=0.01, keep_zeros=True)
ENGINES = pytest.mark.parametrize("engine", ["numpy", "torch"])


@pytest.fixture(autouse=True)
def listening():
    """Both engines, and Python's handler of Ctrl-C, which a shell's background jobs do not have."""
    pytest.importorskip("torch", reason="one of the engines here")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fresh(engine="numpy", **options):
    return sc.Model(NETWORK, engine, seed=3, **options)


def fit(model, *callbacks, optimizer=KEEPING, epochs=4, **options):
    """Four updates per epoch."""
    data = Loader(X, Y, batch_size=7, seed=1)
    model.fit(data, optimizer=optimizer, epochs=epochs, num_steps=4, progress=False, callbacks=callbacks, **options)
    return model


def absent(model):
    return {name: model.params()[name] == 0 for name in WEIGHTS}


def counts(model):
    return {name: int(gone.sum()) for name, gone in absent(model).items()}


def same(one, other):
    a, b = one.state(), other.state()
    assert (a["step"], a["lr"]) == (b["step"], b["lr"])
    for part in ("params", "buffers", "optimizer"):
        assert list(a[part]) == list(b[part])
        assert all(np.array_equal(a[part][name], b[part][name]) for name in a[part]), part
    times = ("seconds", "samples_per_s")
    rows = [[{key: x for key, x in row.items() if key not in times} for row in m.history] for m in (one, other)]
    assert rows[0] == rows[1]


# ---- which connections ----


def test_the_smallest_weights_of_all_layers_go():
    model = fresh()
    before = model.params()
    report = sc.prune(model, 0.7)
    assert report.possible - report.existing == round(0.7 * 400) == sum(counts(model).values())
    gone = absent(model)
    largest = max(abs(before[name][gone[name]]).max() for name in WEIGHTS)
    assert all((abs(before[name][~gone[name]]) >= largest).all() for name in WEIGHTS)
    for name, values in model.params().items():
        stays = ~gone.get(name, np.zeros(values.shape, dtype=bool))
        assert np.array_equal(values[stays], before[name][stays])
        assert values.dtype == before[name].dtype


def test_a_fraction_of_each_layer():
    model = fresh()
    sc.prune(model, 0.7, scope="layer")
    assert counts(model) == {name: round(0.7 * size) for name, size in SIZES.items()}


@pytest.mark.parametrize(
    ("layers", "pruned"),
    [(["0"], ["0.weight"]), (["1"], WEIGHTS[1:2]), (["2.weight", "0"], ["0.weight", "2.weight"]),
     (["?.weight"], ["0.weight", "2.weight"]), (("*",), WEIGHTS)],
)  # fmt: skip
def test_layers_by_name_or_pattern(layers, pruned):
    model = fresh()
    report = sc.prune(model, 0.5, scope="layer", layers=layers)
    assert [row.name for row in report.weights] == list(pruned)
    assert [name for name, n in counts(model).items() if n] == list(pruned)


def test_pruning_twice_is_pruning_once_and_more_takes_more():
    model = fresh()
    sc.prune(model, 0.5)
    first = absent(model)
    held = model.params()
    sc.prune(model, 0.5)
    sc.prune(model, 0.3)
    assert all(np.array_equal(held[name], x) for name, x in model.params().items())
    sc.prune(model, 0.8)
    assert all((absent(model)[name] >= first[name]).all() for name in WEIGHTS)
    assert sum(counts(model).values()) == round(0.8 * 400)


def test_equal_weights_are_taken_in_order():
    model = sc.Model(sc.Sequential(sc.Linear(4, 4, bias=False, weight_init=sc.init.constant(0.5)), sc.Leaky()))
    sc.prune(model, 0.5)
    assert (model.params()["0.weight"].reshape(-1) == [0.0] * 8 + [0.5] * 8).all()


@ENGINES
def test_a_random_choice_is_named_by_its_seed_and_keeps_the_variance(engine):
    big = sc.Sequential(sc.Linear(400, 100), sc.Leaky())
    models = [sc.Model(big, name, seed=1) for name in (engine, "numpy", engine)]
    before = models[0].params()["0.weight"]
    for model, seed in zip(models, (0, 0, 1)):
        sc.prune(model, 0.8, by="random", seed=seed)
    one, same, other = (model.params()["0.weight"] for model in models)
    assert np.array_equal(one, same)
    assert ((one == 0) != (other == 0)).any()
    assert (one == 0).sum() == round(0.8 * 40000)
    assert np.allclose(one[one != 0], before[one != 0] * 5**0.5)
    assert one.std() == pytest.approx(before.std(), rel=0.02)
    sc.prune(models[0], 0.8, by="random")
    assert np.array_equal(models[0].params()["0.weight"], one)


def test_moments_of_connections_that_are_gone_are_zero_and_others_stay():
    model = fit(fresh(), epochs=1)
    before = model.state()
    sc.prune(model, 0.6)
    state = model.state()
    for name in WEIGHTS:
        for slot in ("exp_avg", "exp_avg_sq"):
            now, was, gone = (
                state["optimizer"][f"{name}.{slot}"],
                before["optimizer"][f"{name}.{slot}"],
                absent(model)[name],
            )
            assert not now[gone].any()
            assert np.array_equal(now[~gone], was[~gone])
            assert was[gone].any()
    assert state["step"] == before["step"]


def test_connections_of_every_layer_are_parameters():
    """What a layer calls a connection is the name of a parameter of at least two axes."""
    layers = [
        (sc.Linear(4, 3), (4,)),
        (sc.Conv1d(2, 3, 3), (2, 5)),
        (sc.Conv2d(2, 4, 3, groups=2), (2, 5, 5)),
        (sc.ConvTranspose2d(2, 3, 3), (2, 4, 4)),
        (sc.SLSTM(input_size=4, hidden_size=3), (4,)),
        (sc.SConv2dLSTM(in_channels=1, out_channels=2), (1, 4, 4)),
        (sc.LinearLeaky(in_features=4, out_features=3), (4,)),
        (sc.LeakyParallel(input_size=4, hidden_size=3, dense=True), (4,)),
        (sc.AssociativeLeaky(in_dim=4, d_value=2, d_key=3), (4,)),
        (sc.RSynaptic(alpha=0.9, linear_features=4), (4,)),
        (sc.Refractory(sc.RLeaky(linear_features=4)), (4,)),
    ]
    for layer, shape in layers:
        params = sc.Model(sc.Sequential(layer), input_shape=shape).params()
        names = connections_of(sc.Sequential(layer))
        assert names, layer
        assert set(names) == {name for name, x in params.items() if x.ndim >= 2}, layer
    for layer in (sc.LayerNorm((2, 3)), sc.Leaky(beta=sc.learn(0.5, per="neuron")), sc.PSN(num_steps=3)):
        assert connections_of(layer) == ()
    from torch import nn

    inside = sc.Torch(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)))
    assert connections_of(sc.Sequential(inside)) == ("0.0.weight", "0.2.weight")


class Own(sc.Stateless):
    """A layer of a user's own, with a connection."""

    connections = ("kernel",)

    def init(self, key, shape):
        return Init(sc.Params(kernel=np.arange(1.0, 7.0).reshape(2, 3)), EMPTY, (2,))

    def apply(self, engine, params, buffers, x, *, train, key):
        return engine.xp.matmul(x, engine.xp.permute_dims(params.kernel, (1, 0))), buffers


def test_a_layer_of_ones_own_is_pruned():
    model = sc.Model(sc.Sequential(Own(), sc.Leaky()), input_shape=(3,))
    assert str(sc.prune(model, 0.5)).split("\n")[1].split() == ["0.kernel", "2", "x", "3", "3", "6", "50.00%"]
    assert (model.params()["0.kernel"] == [[0, 0, 0], [4, 5, 6]]).all()


# ---- what is refused ----


def _again(model, *callbacks):
    """Train on a model that another one's weights have gone to, so that it stays as it is."""
    other = fit(fresh(), epochs=4)
    assert sc.sparsity(other).sparsity == 0.0
    fit(other, *callbacks)


BAD = [
    (lambda m: sc.prune(m, 1.0), "amount=1.0 must be in"),
    (lambda m: sc.prune(m, -0.1), "amount=-0.1"),
    (lambda m: sc.prune(m, 0.5, scope="all"), "scope='all' must be 'global' or 'layer'"),
    (lambda m: sc.prune(m, 0.5, by="size"), "by='size'"),
    (lambda m: sc.prune(m, 0.5, layers=["3"]), r"'3' fits no layer with connections; the network has 0\.weight"),
    (lambda m: sc.prune(m, 0.5, layers="0"), "layers='0' must be"),
    (lambda m: sc.prune(m, 0.999, scope="layer"), "0.weight would lose all its connections: take a smaller amount$"),
    (lambda m: sc.rewire(m), "rewire: all connections exist"),
    (lambda m: sc.rewire(m, 1.5), "fraction=1.5"),
    (lambda m: sc.Pruning(1.0), "Pruning: amount=1.0"),
    (lambda m: sc.Pruning(start=5, end=4), "end=4 must be at least start=5"),
    (lambda m: sc.Pruning(each="batch"), "each='batch' must be 'epoch' or 'step'"),
    (lambda m: sc.Rewiring(fraction=-0.1), "fraction=-0.1"),
    (lambda m: sc.Rewiring(start=5, end=5), "end=5 must be greater than start=5"),
    (lambda m: fit(m, sc.Pruning(), optimizer=sc.Adam()), "Pruning: optimizer=.*add keep_zeros=True"),
    (lambda m: fit(m, sc.Rewiring(), optimizer=sc.Adam()), "Rewiring: optimizer=.*add keep_zeros=True"),
    (lambda m: fit(m, sc.Pruning(layers=["9"])), "'9' fits no layer"),
    (lambda m: _again(m, sc.Pruning(0.5, end=2)), "Pruning: end=2 is over: the model has done 4 epochs.*start=5"),
    (lambda m: _again(m, sc.Pruning(0.5, end=16, each="step")), "end=16 is over: the model has done 16 steps"),
    (lambda m: _again(m, sc.Rewiring(0.5, end=4)), "Rewiring: end=4 is over"),
    (lambda m: sc.prune(sc.Model(sc.Sequential(sc.Leaky()), input_shape=(3,))), "has no connections"),
    (lambda m: fit(m, metric={"sparsity": lambda out, y: 0.0}), "metric='sparsity' is the history's own"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_refused(call, message):
    model = fresh()
    before = model.params()
    with pytest.raises((ValueError, TypeError), match=message):
        call(model)
    assert all(np.array_equal(before[name], x) for name, x in model.params().items())


def test_a_model_without_weights_is_refused():
    with pytest.raises(RuntimeError, match="no weights yet"):
        sc.prune(sc.Model(sc.Sequential(sc.Leaky())))


# ---- in training ----


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
    fit(model, sc.Pruning(0.8, start=1, end=4), watching, epochs=5)
    cubic = [0.8 * (1 - (1 - min(1, done / 3)) ** 3) for done in range(5)]
    assert [row["sparsity"] for row in model.history] == [1 - (400 - round(400 * s)) / 400 for s in cubic]
    for now, after in zip(watching.seen, watching.seen[1:]):
        assert all((after[name] >= now[name]).all() for name in WEIGHTS)
    totals = [sum(int(gone.sum()) for gone in seen.values()) for seen in watching.seen]
    assert totals == [round(400 * s) for s in cubic for _ in range(4)]


def test_a_schedule_in_updates():
    watching = Watching()
    fit(fresh(), sc.Pruning(0.8, start=2, end=9, every=3, each="step", scope="layer"), watching, epochs=3)
    totals = [int(seen["0.weight"].sum()) for seen in watching.seen]
    cubic = [0.0] * 4 + [1 - (4 / 7) ** 3] * 3 + [1 - (1 / 7) ** 3] + [1.0] * 4
    assert totals == [round(96 * 0.8 * s) for s in cubic]


@ENGINES
def test_rewiring_keeps_the_number_of_connections(engine):
    watching, model = Watching(), fresh(engine)
    fit(model, sc.Rewiring(0.75, fraction=0.5, start=2, end=5, each="step"), watching)
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
    sc.prune(model, 0.75, scope="layer")
    before = model.params()["0.weight"]
    sc.rewire(model, 0.5, layers=["0"], seed=(7, "a"))
    after = model.params()["0.weight"]
    new, gone = (before == 0) & (after != 0), (before != 0) & (after == 0)
    assert new.sum() == gone.sum() == 12
    assert abs(before[gone]).max() <= abs(before[(before != 0) & ~gone]).min()
    assert np.array_equal(before[~new & ~gone], after[~new & ~gone])
    assert abs(after[new]).max() <= 1 / 6**0.5, "uniform in +-1/sqrt(fan_in)"
    assert len(set(np.round(after[new], 6))) == 12
    again = fresh("torch")
    sc.prune(again, 0.75, scope="layer")
    sc.rewire(again, 0.5, layers=["0"], seed=(7, "a"))
    assert np.array_equal(again.params()["0.weight"], after), "the same draws on every engine"
    zeros = sc.Model(sc.Sequential(sc.Linear(4, 4, weight_init=sc.init.constant(0.0)), sc.Leaky()))
    state = zeros.state()
    state["params"]["0.weight"][0] = 1.0
    zeros.load_state(state)
    sc.rewire(zeros, 1.0)
    assert (zeros.params()["0.weight"] != 0).sum() == 4, "a new connection exists, whatever weight is drawn"


def test_a_new_connection_has_no_past():
    model = fit(fresh(), sc.Rewiring(0.5, start=100, end=101))
    before = model.state()
    sc.rewire(model, 0.5)
    state = model.state()
    for name in WEIGHTS:
        stays = (state["params"][name] != 0) & (before["params"][name] != 0)
        for slot in ("exp_avg", "exp_avg_sq"):
            now, was = state["optimizer"][f"{name}.{slot}"], before["optimizer"][f"{name}.{slot}"]
            assert not now[~stays].any()
            assert np.array_equal(now[stays], was[stays])


CALLBACKS = {
    "pruning": sc.Pruning(0.8, start=1, end=4),
    "pruning-steps": sc.Pruning(0.8, start=1, end=9, every=2, each="step"),
    "rewiring": sc.Rewiring(0.8),
    "rewiring-steps": sc.Rewiring(0.8, start=2, every=3, end=12, each="step"),
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
    sc.prune(model, 0.5)
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
    sc.prune(model, 0.5)
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    before = {name: np.array(model.engine.to_numpy(g)) for name, g in grads.items()}
    gone = absent(model)
    model.apply(grads, optimizer=KEEPING)
    assert all(np.array_equal(model.engine.to_numpy(g), before[name]) for name, g in grads.items())
    assert all(np.array_equal(absent(model)[name], gone[name]) for name in WEIGHTS)


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"clip_norm": 0.1}, {"learning": "eprop"}], ids=str)
@ENGINES
def test_zeros_stay_in_every_way_of_training(engine, options):
    flat = sc.Sequential(sc.Linear(6, 16), sc.Leaky(beta=0.9, threshold=0.3), sc.Linear(16, 3), sc.Leaky(threshold=0.3))
    model = sc.Model(flat if "learning" in options else NETWORK, engine, seed=3)
    names = [name for name in WEIGHTS if name in model.params()]
    sc.prune(model, 0.6, scope="layer")
    before = {name: model.params()[name] == 0 for name in names}
    fit(model, loss=functional.mse_membrane_loss(), **options)
    after = model.params()
    assert all(np.array_equal(after[name] == 0, before[name]) for name in names)
    assert fresh().params()["0.bias"].shape == after["0.bias"].shape


def test_early_stopping_restores_no_weights_from_before_the_last_cut():
    """Each cut makes the loss worse here, but what was better was denser."""
    model = fresh()
    sc.prune(model, 0.1)
    stopping = sc.EarlyStopping(patience=2, monitor="loss", min_delta=10.0)  # only the first epoch counts as better
    seen = {}

    class Noting:
        def after_step(self, model, step):
            seen[step.epoch] = model.params()

    fit(model, sc.Pruning(0.8, start=1, end=4), Noting(), stopping, epochs=20)
    assert model.epochs_done == 6, "two epochs behind the last cut"
    assert all(np.array_equal(x, seen[4][name]) for name, x in model.params().items()), "of the first epoch behind it"


@ENGINES
def test_a_cut_that_empties_a_layer_leaves_the_training_as_it_is(engine):
    least = sc.Linear(16, 3, weight_init=sc.init.constant(1e-6))
    model = sc.Model(sc.Sequential(sc.Linear(6, 16), sc.Leaky(), least, sc.Leaky()), engine, seed=3)
    slow = sc.Adam(lr=1e-6, keep_zeros=True)
    message = r"epoch 2, sparsity 63.33%: prune: 2.weight would lose all.*scope='layer'.*resume=True"
    with pytest.warns(sc.TrainingWarning), pytest.raises(ValueError, match=message):
        fit(model, sc.Pruning(0.9, end=4), optimizer=slow)
    assert model.epochs_done == 1
    assert model.state()["step"] == 5, "the first update of the second epoch counts"
    fit(model, sc.Pruning(0.9, end=4, scope="layer"), optimizer=slow, resume=True)
    assert model.state()["step"] == 16
    assert [row.existing for row in sc.sparsity(model).weights] == [96 - round(86.4), 48 - round(43.2)]


def test_a_plateau_begins_anew_where_the_network_is_sparser():
    plateau = sc.schedule.reduce_on_plateau(patience=1, monitor="loss")
    losses, sparsities = [1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.5, 0.5]
    assert plateau(4, 9, [{"loss": loss} for loss in losses]) == 0.1
    assert plateau(4, 9, [{"loss": loss, "sparsity": s} for loss, s in zip(losses, sparsities)]) == 1.0


def test_the_optimiser_goes_on_from_one_that_does_not_keep_zeros():
    model = fit(fresh(), optimizer=sc.Adam(lr=0.01), epochs=1)
    steps = model.state()["step"]
    sc.prune(model, 0.5)
    before = absent(model)
    fit(model, epochs=2)
    assert model.state()["step"] == 3 * steps, "its moments go on"
    assert all(np.array_equal(gone, before[name]) for name, gone in absent(model).items())
    assert "sparsity" not in model.history[0]
    assert model.history[-1]["sparsity"] == 0.5


# ---- files, copies, exports, reports ----


@ENGINES
def test_files_copies_and_modules_of_torch_have_the_same_connections(engine, tmp_path):
    from spikecore.nn import from_torch, to_torch

    model = fit(fresh(engine), sc.Pruning(0.8, start=1, end=3))
    expected = absent(model)
    model.save(tmp_path / "model")
    for other in (sc.load(tmp_path / "model"), model.to_engine("numpy"), from_torch(to_torch(model))):
        found = {name: other.params()[name] == 0 for name in WEIGHTS}
        assert all(np.array_equal(found[name], gone) for name, gone in expected.items())


def test_a_module_that_torch_prunes_keeps_what_its_mask_leaves():
    import torch
    from torch.nn.utils import prune as torchs

    from spikecore import nn as snn

    net = torch.nn.Sequential(torch.nn.Linear(6, 4), snn.Leaky(beta=0.9, init_hidden=True))
    torchs.l1_unstructured(net[0], "weight", amount=0.5)
    model = snn.from_torch(net)
    assert np.array_equal(model.params()["0.weight"], net[0].weight.detach().numpy())
    assert sc.sparsity(model).sparsity == 0.5


def test_nir_has_the_same_connections(tmp_path):
    nir = pytest.importorskip("nir", reason="the NIR package is not installed (extra 'nir')")
    neuron = sc.Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False)
    model = sc.Model(sc.Sequential(sc.Linear(6, 4), neuron, sc.Linear(4, 3), neuron))
    sc.prune(model, 0.5)
    nir.write(tmp_path / "net.nir", sc.nir.export_to_nir(model))
    again = sc.nir.model_from_nir(nir.read(tmp_path / "net.nir"))
    assert [row[2:] for row in sc.sparsity(again).weights] == [row[2:] for row in sc.sparsity(model).weights]
    assert sc.sparsity(again).sparsity == 0.5


def test_reports():
    model = fresh()
    assert "sparsity" not in model.summary()
    sc.prune(model, 0.75, scope="layer")
    report = sc.sparsity(model)
    assert (report.existing, report.possible, report.sparsity) == (100, 400, 0.75)
    assert str(report).split("\n") == [
        "weight               shape    connections   of  sparsity",
        "0.weight             16 x 6            24   96    75.00%",
        "1.connection.weight  16 x 16           64  256    75.00%",
        "2.weight             3 x 16            12   48    75.00%",
        "total                                 100  400    75.00%",
    ]
    lines = [line.split() for line in model.summary().split("\n")]
    assert lines[0][-1] == "sparsity"
    assert [line[-1] for line in lines[2:]] == ["75.0%", "75.0%", "75.0%", "mem", "75.0%"]


@ENGINES
def test_operations_are_those_of_the_connections_that_exist(engine):
    network = sc.Sequential(
        sc.Conv2d(2, 4, 3, padding=1, groups=2), sc.Leaky(threshold=0.2), sc.Flatten(), sc.Linear(64, 5),
        sc.RLeaky(linear_features=5, threshold=0.1),
    )  # fmt: skip
    model = sc.Model(network, engine, seed=1, input_shape=(2, 4, 4))
    sc.prune(model, 0.6, scope="layer")
    x = (np.random.default_rng(0).random((5, 3, 2, 4, 4)) < 0.5).astype("float32")
    rows = {row.name: row for row in functional.activity(model, x).synapses}
    states = model(x, record=True).states
    spikes = {name: model.engine.to_numpy(state.spikes) for name, state in states.items()}
    exists = {name: w != 0 for name, w in model.params().items()}
    flat = spikes["1"].reshape(5, 3, 64)
    assert rows["3"].synops == np.einsum("tbi,oi->", flat, exists["3.weight"]) / 3
    back = spikes["4"][:-1]
    assert rows["4.connection"].synops == np.einsum("tbi,oi->", back, exists["4.connection.weight"]) / 3
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
    total = 0.0
    for filter_, kernel in enumerate(exists["0.weight"]):
        channel = filter_ // 2  # two groups of one channel and two filters
        for i in range(4):
            for j in range(4):
                total += (padded[:, :, channel, i : i + 3, j : j + 3] * kernel[0]).sum()
    assert rows["0"].synops == total / 3
    dense = {
        row.name: row
        for row in functional.activity(sc.Model(network, engine, seed=1, input_shape=(2, 4, 4)), x).synapses
    }
    assert {name: row.macs for name, row in dense.items()} == {name: row.macs for name, row in rows.items()}
