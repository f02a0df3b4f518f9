"""D1: everything that a run file may name is read, written, read again and trained, with each of its options.

The cases are made from the classes themselves: a class or an option that the library gains, and for which there is no
value here, fails the test.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pydantic")
tomli_w = pytest.importorskip("tomli_w")

import spikecore as sc  # noqa: E402
from spikecore import functional, schedule, surrogate  # noqa: E402
from spikecore.api.core.layer import Key  # noqa: E402
from spikecore.api.layers import merges  # noqa: E402
from spikecore.cli import run_file as config  # noqa: E402
from spikecore.cli.messages import ConfigError  # noqa: E402
from spikecore.cli.run_directory import TrainingRun  # noqa: E402
from tests.cli.config_values_rig import (  # noqa: E402
    CASES,
    GIVEN,
    GROUPS,
    LINEAR,
    MAP,
    NEEDED,
    REFUSED,
    ROW,
    SAMPLES,
    SELDOM,
    SHAPES,
    STEPS,
    fields,
)


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_every_class_has_a_case(group):
    """D1: what the other tests here do not try is named."""
    for name, target in GROUPS[group].items():
        tried = {key for kind, options in CASES[group] if kind == name for key in options}
        tried |= {option for kind, option, _ in REFUSED if kind == name} | set(NEEDED.get(name, ()))
        assert {field.name for field in fields(target)} <= tried, name


# ---- what a table means, said once more in Python ------------------------------------------------------------------

QUANTISERS = SimpleNamespace(
    state_quant=functional.quant.state_quant,
    FixedPoint=sc.compression.FixedPoint,
    ScaledInteger=sc.compression.ScaledInteger,
)
PARTS = {
    **dict.fromkeys(("neuron", "connection", "body", "shortcut", "query", "key", "value", "gate", "layer"), sc),
    "surrogate": surrogate,
    **dict.fromkeys(("state_quant", "weight_quant", "bias_quant", "input_quant", "output_quant"), QUANTISERS),
    "param_quant": QUANTISERS,
}


def meant(value):
    if isinstance(value, str) and value in vars(sc.init):
        return getattr(sc.init, value)()
    if isinstance(value, dict) and value.get("kind") in vars(sc.init):
        return getattr(sc.init, value["kind"])(**{key: x for key, x in value.items() if key != "kind"})
    if isinstance(value, dict) and "match" in value:
        return sc.Group(**value)
    if isinstance(value, dict):
        return sc.learn(meant(value["learn"]), **{key: x for key, x in value.items() if key != "learn"})
    return tuple(meant(part) for part in value) if isinstance(value, list) else value


def made(table, home=sc):
    """The object of a table, or of a name."""
    options = {"kind": table} if isinstance(table, str) else dict(table)
    kind = options.pop("kind")
    layers = [made(x) for x in options.pop("layers", ())] if home is sc else []
    for name in PARTS.keys() & options.keys() if home is sc else ():
        part = options[name]
        options[name] = made({"kind": name, **part} if name == "state_quant" else part, PARTS[name])
    options = {name: meant(value) for name, value in options.items()}
    if kind == "Graph":
        return sc.Graph(layers=tuple(layers), **options)
    return getattr(merges if kind in vars(merges) else home, kind)(*layers, **options)


# ---- reading, writing, training ------------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path):
    def with_tables(layers, shape=ROW, targets=(0, 1, 1, 1), **train):
        x, y = 3.0 * np.random.default_rng(0).random((SAMPLES, *shape)), np.asarray(targets)
        np.savez(tmp_path / "data.npz", x_train=x, x_test=x, y_train=y, y_test=y)
        data = {"name": "npz", "path": "data.npz", "batch_size": SAMPLES}
        tables = {"data": data, "encoder": {"num_steps": STEPS}, "network": {"layers": layers}}
        (tmp_path / "run.toml").write_text(tomli_w.dumps({**tables, "train": {"epochs": 1, **train}}))
        run = config.read(tmp_path / "run.toml")
        (tmp_path / "again.toml").write_bytes(config.write(run))
        assert config.read(tmp_path / "again.toml") == run, "what is written down means the same"
        return run

    return with_tables


def trained(run):
    """The model after one step, made and trained as ``spikecore train`` does."""
    job = TrainingRun(run)
    with job.start() as model:
        before = model.params()
        job.train(model, say=lambda line: None)
    assert math.isfinite(model.history[-1]["loss"])
    assert all(np.isfinite(x).all() for x in model.params().values())
    assert any((x != before[name]).any() for name, x in model.params().items())
    return model


def each(group):
    """The test for each case of a group; the table holds what is needed, too."""
    tables, names = [], []
    for name, options in CASES[group]:
        whole = {"kind": name, **NEEDED.get(name, {}), **options}
        seldom = name in SELDOM and options and options not in GIVEN.get(name, [])
        table = {key: x for key, x in whole.items() if x is not None}
        tables.append(pytest.param(table, marks=[pytest.mark.slow] if seldom else []))
        names.append(f"{name}-{','.join(f'{key}={x}' for key, x in options.items()) or 'defaults'}")
    return pytest.mark.parametrize("table", tables, ids=names)


def readout(features, classes=2):
    return [{"kind": "Linear", "in_features": features, "out_features": classes}, "Leaky"]


def with_layer(read, table):
    """A run whose first layer is that of a table, and this layer."""
    layer = made(table)
    shape = MAP if "conv2d_channels" in table else SHAPES.get(table["kind"], ROW)
    features = math.prod(layer.init(Key((0,)), shape).shape)
    return read([table, "Flatten", *readout(features)], shape), layer


@each("layers")
def test_layers(read, table):
    """D1: `RLeaky`, `RSynaptic`, `OneToOne` and `Lapicque` could not be used, since their defaults were refused."""
    run, layer = with_layer(read, table)
    assert run.network.make().layers[0] == layer


@pytest.mark.turns(3)
@each("layers")
def test_layers_train(read, table):
    trained(with_layer(read, table)[0])


@each("surrogates")
def test_surrogates(read, table):
    """D1."""
    run = read([LINEAR, {"kind": "Leaky", "surrogate": table}, *readout(4)])
    assert run.network.make().layers[1].surrogate == made(table, surrogate)
    trained(run)


@each("quantisation")
def test_state_quantisation(read, table):
    """D1."""
    run = read([LINEAR, {"kind": "Leaky", "state_quant": table}, *readout(4)])
    assert run.network.make().layers[1].state_quant == made(table, QUANTISERS)
    trained(run)


@each("grids")
def test_grids(read, table):
    run = read([{"kind": "Quantized", "layer": LINEAR, "weight_quant": table}, "Leaky", *readout(4)])
    assert run.network.make().layers[0].weight_quant == made(table, QUANTISERS)
    trained(run)


def targets_of(name, ignored=-1):
    """Targets for a loss: labels, those of each step, several at once, or values."""
    if name == "ce_step_loss":
        return [[0] * STEPS, [1] * STEPS, [ignored] * STEPS, [1] * STEPS]
    return [[0, 1], [1, 1], [1, 0], [0, 0]] if "value_loss" in name else (0, 1, 1, 1)


def sequences(blank=0):
    """Targets for ctc_loss, one sequence per sample."""
    label = 1 - blank
    return [[label, -1], [label, label], [-1, -1], [label, -1]]


@each("regularisers")
def test_regularisers(read, table):
    run = read(readout(4), regularisers=[table, "silence_loss"])
    expected = functional.ce_rate_loss() + made(table, functional) + functional.silence_loss()
    assert TrainingRun(run).loss == expected
    trained(run)


@each("losses")
def test_losses(read, table):
    """D1."""
    classes = 4 if "population_code" in table else 2
    targets = targets_of(table["kind"], table.get("ignore_index", -1))
    if table["kind"] == "ctc_loss":
        targets = sequences(blank=table.get("blank", 0))
    if table["kind"] == "quantile_value_loss":
        classes = len(table.get("quantiles", (0.1, 0.5, 0.9)))
        targets = [0.5, 1.0, 0.0, 2.0]
    if "target_is_time" in table:
        targets = [[0, 1], [1, 2], [2, 0], [0, 0]]
    if "time_var_targets" in table:
        targets = np.ones((SAMPLES, STEPS, classes))
    run = read(readout(4, classes), targets=targets, loss=table)
    assert run.train.loss.make() == made(table, functional)
    trained(run)


@each("initialisers")
def test_initialisers(read, table):
    run = read([{**LINEAR, "weight_init": table}, "Leaky", *readout(4)])
    assert run.network.make().layers[0].weight_init == made(table, sc.init)
    trained(run)


@pytest.mark.parametrize("word", ["learn", "learn_tau"])
@pytest.mark.parametrize(
    "how", [{"kind": "uniform", "low": 0.5, "high": 0.9}, {"kind": "gamma", "mean": 0.3, "high": 1.0}]
)
def test_parameters_that_are_drawn(read, word, how):
    run = read([LINEAR, {"kind": "Leaky", "beta": {word: how, "per": "neuron"}}, *readout(4)])
    options = {name: x for name, x in how.items() if name != "kind"}
    beta = getattr(sc, word)(getattr(sc.init, how["kind"])(**options), per="neuron")
    assert run.network.make().layers[1].beta == beta
    assert len(set(trained(run).params()["1.beta"])) > 1


@each("optimizers")
def test_optimizers(read, table):
    """D1."""
    run = read(readout(4), optimizer=table)
    assert run.train.optimizer.make() == made(table)
    assert trained(run).trainer.optimizer == made(table)


def test_a_group_that_matches_nothing_leaves_no_directory(read):
    run = read(readout(4), optimizer={"kind": "SGD", "groups": [{"match": "7.*", "frozen": True}]})
    wrong = r"train.optimizer.groups: match='7\.\*' matches no parameter; the network has 0.weight, 0.bias"
    with pytest.raises(ConfigError, match=wrong), TrainingRun(run).start():
        pass


def test_several_metrics_and_what_watches_them(read):
    watched = {
        "metric": ["accuracy", "accuracy_temporal", {"kind": "accuracy_membrane", "over_time": "mean"}],
        "schedule": {"kind": "reduce_on_plateau", "monitor": "val_accuracy_temporal"},
        "early_stopping": {"monitor": "val_accuracy_membrane"},
    }
    history = trained(read(readout(4), **watched)).history
    columns = ["loss", "accuracy", "accuracy_temporal", "accuracy_membrane"]
    assert {*columns, *(f"val_{name}" for name in columns)} <= set(history[0])
    for key in ("schedule", "early_stopping"):
        with pytest.raises(ConfigError, match=f"train.{key}.monitor = 'val_accuracy_rate'.*unknown column"):
            read(readout(4), **{**watched, key: {**watched[key], "monitor": "val_accuracy_rate"}})


@each("schedules")
def test_schedules(read, table):
    """D1."""
    run = read(readout(4), schedule=table, epochs=2)
    assert run.train.schedule.make() == made(table, schedule)
    trained(run)


@each("early stopping")
def test_early_stopping(read, table):
    """D1."""
    options = {key: x for key, x in table.items() if key != "kind"}
    run = read(readout(4), early_stopping=options, epochs=2)
    assert run.train.early_stopping.make() == sc.EarlyStopping(**options)
    trained(run)


@pytest.mark.parametrize("name", GROUPS["losses"])
def test_losses_that_give_a_value_per_sample(read, name):
    """D1: no number to minimise, said before there is a directory; it was a bare TypeError."""
    given = {"quantiles": [0.3, 0.7]} if name == "quantile_value_loss" else {}
    targets = [0.5, 1.0, 0.0, 2.0] if given else sequences() if name == "ctc_loss" else targets_of(name)
    run = read(readout(4), targets=targets, loss={"kind": name, "reduction": "none", **given})
    refused = pytest.raises(ConfigError, match=r"run\.toml: loss gave values of shape \(2.*, expected a scalar")
    with refused, TrainingRun(run).start():
        pass


@pytest.mark.parametrize(("name", "option", "value"), REFUSED)
def test_an_option_that_is_not_taken(read, name, option, value):
    """D1: refused when the file is read, and the layer or the loss is named."""
    table = {"kind": name, **NEEDED.get(name, {}), option: value}
    where = rf"train\.loss.*{name}" if name in GROUPS["losses"] else rf"network\.layers\[0\].*{name}"
    with pytest.raises(ConfigError, match=rf"{where}.*{option}"):
        _ = read(readout(4), loss=table) if name in GROUPS["losses"] else read([table])
