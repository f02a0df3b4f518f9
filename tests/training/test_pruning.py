"""Pruning and rewiring: which connections, and what is refused; files, copies, exports and reports."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import compression, functional
from spikecore.api.core.layer import EMPTY, Init
from spikecore.api.layers.containers import connections_of
from spikecore.api.layers.transposed import KERNELS
from spikecore.compression import Pruning, Rewiring
from tests.training.pruning_rig import ENGINES, SIZES, WEIGHTS, absent, counts, fit, fresh

pytest.importorskip("torch", reason="one of the engines here")


# ---- which connections ----


def test_the_smallest_weights_of_all_layers_go():
    model = fresh()
    before = model.params()
    report = compression.prune(model, 0.7)
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
    compression.prune(model, 0.7, scope="layer")
    assert counts(model) == {name: round(0.7 * size) for name, size in SIZES.items()}


@pytest.mark.parametrize(
    ("layers", "pruned"),
    [(["0"], ["0.weight"]), (["1"], WEIGHTS[1:2]), (["2.weight", "0"], ["0.weight", "2.weight"]),
     (["?.weight"], ["0.weight", "2.weight"]), (("*",), WEIGHTS)],
)  # fmt: skip
def test_layers_by_name_or_pattern(layers, pruned):
    model = fresh()
    report = compression.prune(model, 0.5, scope="layer", layers=layers)
    assert [row.name for row in report.weights] == list(pruned)
    assert [name for name, n in counts(model).items() if n] == list(pruned)


def test_pruning_twice_is_pruning_once_and_more_takes_more():
    model = fresh()
    compression.prune(model, 0.5)
    first = absent(model)
    held = model.params()
    compression.prune(model, 0.5)
    compression.prune(model, 0.3)
    assert all(np.array_equal(held[name], x) for name, x in model.params().items())
    compression.prune(model, 0.8)
    assert all((absent(model)[name] >= first[name]).all() for name in WEIGHTS)
    assert sum(counts(model).values()) == round(0.8 * 400)


def test_equal_weights_are_taken_in_order():
    model = sc.Model(sc.Sequential(sc.Linear(4, 4, bias=False, weight_init=sc.init.constant(0.5)), sc.Leaky()))
    compression.prune(model, 0.5)
    assert (model.params()["0.weight"].reshape(-1) == [0.0] * 8 + [0.5] * 8).all()


@ENGINES
def test_a_random_choice_is_named_by_its_seed_and_keeps_the_variance(engine):
    big = sc.Sequential(sc.Linear(400, 100), sc.Leaky())
    models = [sc.Model(big, name, seed=1) for name in (engine, "numpy", engine)]
    before = models[0].params()["0.weight"]
    for model, seed in zip(models, (0, 0, 1)):
        compression.prune(model, 0.8, by="random", seed=seed)
    one, same, other = (model.params()["0.weight"] for model in models)
    assert np.array_equal(one, same)
    assert ((one == 0) != (other == 0)).any()
    assert (one == 0).sum() == round(0.8 * 40000)
    assert np.allclose(one[one != 0], before[one != 0] * 5**0.5)  # rounded to float32
    assert one.std() == pytest.approx(before.std(), rel=0.02)  # three standard errors of 40,000 draws
    compression.prune(models[0], 0.8, by="random")
    assert np.array_equal(models[0].params()["0.weight"], one)


def test_moments_of_connections_that_are_gone_are_zero_and_others_stay():
    model = fit(fresh(), epochs=1)
    before = model.state()
    compression.prune(model, 0.6)
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
    for kind in KERNELS:
        module = getattr(nn, kind.__name__)(2, 2, 2)
        assert connections_of(sc.Sequential(sc.Torch(module))) == ("0.weight",), module


class Own(sc.base.Stateless):
    """A layer of a user's own, with a connection."""

    connections = ("kernel",)

    def init(self, key, shape):
        return Init(sc.base.Params(kernel=np.arange(1.0, 7.0).reshape(2, 3)), EMPTY, (2,))

    def apply(self, engine, params, buffers, x, *, train, key):
        return engine.xp.matmul(x, engine.xp.permute_dims(params.kernel, (1, 0))), buffers


def test_a_layer_of_ones_own_is_pruned():
    model = sc.Model(sc.Sequential(Own(), sc.Leaky()), input_shape=(3,))
    assert str(compression.prune(model, 0.5)).split("\n")[1].split() == [
        "0.kernel",
        "2",
        "x",
        "3",
        "3",
        "6",
        "50.00%",
    ]
    assert (model.params()["0.kernel"] == [[0, 0, 0], [4, 5, 6]]).all()


# ---- what is refused ----


def _resumed(*callbacks):
    """Resume the training of another model with callbacks."""
    other = fit(fresh(), epochs=4)
    assert compression.sparsity(other).sparsity == 0.0
    fit(other, *callbacks, resume=True, epochs=8)


BAD = [
    (lambda m: compression.prune(m, 1.0), "amount=1.0 must be in"),
    (lambda m: compression.prune(m, -0.1), "amount=-0.1"),
    (lambda m: compression.prune(m, 0.5, scope="all"), "scope='all' must be 'global' or 'layer'"),
    (lambda m: compression.prune(m, 0.5, by="size"), "by='size'"),
    (
        lambda m: compression.prune(m, 0.5, layers=["3"]),
        r"'3' fits no layer with connections; the network has 0\.weight",
    ),
    (lambda m: compression.prune(m, 0.5, layers="0"), "layers='0' must be"),
    (lambda m: compression.prune(m, 0.5, layers=[]), r"layers=\[\] names no layer: use \['\*'\] for all"),
    (lambda m: fit(m, Rewiring(layers=())), r"layers=\(\) names no layer"),
    (lambda m: compression.sparsity(m, ()), r"layers=\(\) names no layer"),
    (
        lambda m: compression.prune(m, 0.999, scope="layer"),
        "0.weight would lose all its connections: take a smaller amount$",
    ),
    (lambda m: compression.rewire(m), "rewire: all connections exist"),
    (lambda m: compression.rewire(m, 1.5), "fraction=1.5"),
    (lambda m: Pruning(1.0), "Pruning: amount=1.0"),
    (lambda m: Pruning(start=5, end=4), "end=4 must be at least start=5"),
    (lambda m: Pruning(each="batch"), "each='batch' must be 'epoch' or 'step'"),
    (lambda m: Rewiring(fraction=-0.1), "fraction=-0.1"),
    (lambda m: Rewiring(start=5, end=5), "end=5 must be greater than start=5"),
    (lambda m: fit(m, Pruning(), optimizer=sc.Adam()), "Pruning: optimizer=.*add keep_zeros=True"),
    (lambda m: fit(m, Rewiring(), optimizer=sc.Adam()), "Rewiring: optimizer=.*add keep_zeros=True"),
    (lambda m: fit(m, Pruning(layers=["9"])), "'9' fits no layer"),
    (lambda m: _resumed(Pruning(0.5, end=2)), "Pruning: end=2 is over: .* resumed has done 4 epochs.*start=5"),
    (lambda m: _resumed(Pruning(0.5, end=16, each="step")), "end=16 is over: the fit .* resumed has done 16 steps"),
    (lambda m: _resumed(Rewiring(0.5, end=4)), "Rewiring: end=4 is over"),
    (lambda m: compression.prune(sc.Model(sc.Sequential(sc.Leaky()), input_shape=(3,))), "has no connections"),
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
        compression.prune(sc.Model(sc.Sequential(sc.Leaky())))


# ---- files, copies, exports, reports ----


@ENGINES
def test_files_copies_and_modules_of_torch_have_the_same_connections(engine, tmp_path):
    from spikecore.nn import from_torch, to_torch

    model = fit(fresh(engine), Pruning(0.8, start=1, end=3))
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
    assert compression.sparsity(model).sparsity == 0.5


def test_reports():
    model = fresh()
    assert "sparsity" not in model.summary()
    compression.prune(model, 0.75, scope="layer")
    report = compression.sparsity(model)
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
    compression.prune(model, 0.6, scope="layer")
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
