"""What a checkpoint says and what it does not: classes, options, histories, notes."""

from __future__ import annotations

import json
import pickle
from dataclasses import InitVar, dataclass, field
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

import spikecore as sc
from spikecore.api.training import checkpoint
from spikecore.api.training.optimizers import Optimizer

X, Y = np.random.default_rng(0).random((4, 2)).astype("float32"), np.arange(4) % 2


def contents(path):
    return checkpoint.content_of(path)


def write(path, about, arrays):
    text = json.dumps(about)
    path.write_bytes(to_bytes(arrays, {"spikecore": text, "digest": checkpoint.digest_of(text, arrays)}))
    return path


def as_format_1(path):
    """The file as earlier versions wrote it: classes by their bare names."""
    about, arrays = contents(path)

    def bare(data):
        if isinstance(data, dict):
            return {k: v.rpartition(".")[2] if k == "class" else bare(v) for k, v in data.items()}
        return [bare(part) for part in data] if isinstance(data, list) else data

    return write(path, {**bare(about), "format": 1}, arrays)


def spikes(model):
    return float(model.engine.to_numpy(model(X, num_steps=12).spikes).sum())


# ---- C3: whose class it is -----------------------------------------------------------------------------------------

Theirs = sc.Leaky


@dataclass(frozen=True)
class Leaky(sc.Leaky):
    """A user's neuron that is called like the library's, and fires at every step."""

    def step(self, engine, params, state, x):
        _, after = super().step(engine, params, state, x)
        return engine.xp.ones_like(x), after


@dataclass(frozen=True)
class Adam(sc.Adam):
    """A user's optimiser that is called like the library's."""


@dataclass(frozen=True)
class atan(sc.surrogate.atan):  # noqa: N801
    """A user's surrogate that is called like the library's."""

    def derivative(self, xp, u):
        return xp.ones_like(u)


def elsewhere(name="Leaky", base=Theirs):
    """Another class of this name, of another module."""
    made = dataclass(frozen=True)(type(name, (base,), {"__annotations__": {}}))
    made.__module__ = "somewhere.else"
    return made


def model_of(*layers, **options):
    return sc.Model(sc.Sequential(sc.Linear(2, 2), *layers), "numpy", **options)


@pytest.mark.parametrize("neuron", [Leaky(), sc.Leaky(surrogate=atan())], ids=["neuron", "surrogate"])
def test_a_class_called_like_the_librarys_is_never_taken_for_it(tmp_path, neuron):
    """C3: it needs `classes=`, in which the class of the same module counts; the library's own stay what they are."""
    own = Leaky if isinstance(neuron, Leaky) else atan
    model = model_of(neuron, sc.Leaky())
    model.save(tmp_path / "model")
    with pytest.raises(
        sc.errors.CheckpointError, match=rf"unknown class '.*\.{own.__name__}'.*classes=\[{own.__name__}\]"
    ):
        sc.load(tmp_path / "model")
    for classes in ([own], [elsewhere(own.__name__, own), own], {f"{own.__module__}.{own.__name__}": own}):
        again = sc.load(tmp_path / "model", classes=classes)
        assert again.network == model.network
        assert [type(layer) for layer in again.network.layers] == [type(layer) for layer in model.network.layers]
        assert spikes(again) == spikes(model)


def test_an_optimiser_called_like_the_librarys(tmp_path):
    """C3: likewise."""
    model = model_of(sc.Leaky())
    model.fit([(X, Y)], num_steps=2, optimizer=Adam())
    model.save(tmp_path / "model")
    with pytest.raises(sc.errors.CheckpointError, match=r"unknown class '.*\.Adam'"):
        sc.load(tmp_path / "model")
    assert type(sc.load(tmp_path / "model", classes=[Adam]).trainer.optimizer) is Adam


def test_a_class_may_have_moved(tmp_path):
    """C3: a script's own `__main__.Leaky` is found by its name, if only one class has it; a renamed one by a dict."""
    moved = elsewhere("Leaky", Leaky)
    model = model_of(moved())
    model.save(tmp_path / "model")
    assert type(sc.load(tmp_path / "model", classes=[Leaky]).network.layers[1]) is Leaky
    with pytest.raises(sc.errors.CheckpointError, match=r"'somewhere\.else\.Leaky' may be .* or .*: say which"):
        sc.load(tmp_path / "model", classes=[Leaky, sc.Leaky])
    with pytest.raises(
        sc.errors.CheckpointError, match=r"from somewhere\.else, must be given: load\(\.\.\., classes=\[Leaky"
    ):
        sc.load(tmp_path / "model", classes=[Adam])
    renamed = dataclass(frozen=True)(type("Mine", (Leaky,), {"__annotations__": {}}))
    again = sc.load(tmp_path / "model", classes={"somewhere.else.Leaky": renamed})
    assert type(again.network.layers[1]) is renamed


def test_files_of_format_1_are_read_where_they_are_unambiguous(tmp_path):
    """C3: they name classes without modules; a name of the library's and of the user's could be either."""
    model = model_of(sc.Leaky(), Twice())
    model.save(tmp_path / "model")
    as_format_1(tmp_path / "model")
    with pytest.raises(sc.errors.CheckpointError, match="unknown class 'Twice'"):
        sc.load(tmp_path / "model")
    assert sc.load(tmp_path / "model", classes=[Twice]).network == model.network
    with pytest.raises(
        sc.errors.CheckpointError, match=r"'Leaky' may be the library's or .*Leaky: say which, .*\{'Leaky'"
    ):
        sc.load(tmp_path / "model", classes=[Twice, Leaky])
    both = {"Twice": Twice, "Leaky": Leaky}
    assert [type(one) for one in sc.load(tmp_path / "model", classes=both).network.layers[1:]] == [Leaky, Twice]
    both["Leaky"] = sc.Leaky
    assert sc.load(tmp_path / "model", classes=both).network == model.network


@pytest.mark.parametrize("classes", [["Leaky"], [5], [int], {"Leaky": "x"}])
def test_classes_that_are_none(tmp_path, classes):
    """C3: refused, not overlooked."""
    model_of(Leaky()).save(tmp_path / "model")
    with pytest.raises(TypeError, match=r"classes=.* must be classes of layers"):
        sc.load(tmp_path / "model", classes=classes)


# ---- C10: what is saved can be loaded ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Twice(sc.Leaky):
    gain: float = 2.0


@dataclass(frozen=True)
class Words(sc.Leaky):
    """Its fields are called like the words of the file."""

    learn: bool = True
    array: Any = (1, 2)
    per: str = "layer"
    number: Any = 3
    layers: Any = None
    dt: Any = float("inf")


@dataclass(frozen=True)
class Derived(sc.Leaky):
    made: int = field(default=0, init=False)


@dataclass(frozen=True)
class Momentum(Optimizer):
    array: float = 0.5
    learn: float = 1.0

    def rule(self, xp, param, grad, slots, now):
        return param - now["lr"] * grad, slots


@pytest.mark.parametrize(
    "neuron",
    [
        Words(), Words(array=None, learn=False), Words(dt=-np.inf, beta=sc.learn(0.5)), Derived(),
        Twice(gain=np.float32(0.5)), Twice(gain=np.int16(3)), Twice(gain=np.bool_(True)), Twice(gain=np.array(2.0)),
        sc.Leaky(reset_delay=False, beta=np.float32(0.3)), sc.Leaky(threshold=np.array([0.5, 1.5])),
    ],
    ids=lambda neuron: repr(neuron)[:60],
)  # fmt: skip
def test_fields_of_any_name_and_numbers_of_numpy_come_back(tmp_path, neuron):
    """C10: the file's own words as names of fields, fields that are no arguments, NumPy's numbers as options."""
    model = model_of(sc.Dropout(p=np.float32(0.25)), neuron)
    model.fit([(X, Y)], num_steps=2, optimizer=Momentum(lr=0.1))
    model.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", classes=[Words, Derived, Twice, Momentum])
    assert again.network == model.network
    assert again.trainer.optimizer == model.trainer.optimizer
    hash(again.network)


def test_histories_with_numbers_of_numpy(tmp_path):
    """C10: what callbacks add comes back as plain numbers and lists; what cannot be written names its row."""
    model = model_of(sc.Leaky())
    extra = {
        "rate": np.float32(0.5),
        "n": np.int64(3),
        "all": np.arange(3),
        "ok": np.bool_(True),
        "odd": np.nan,
        "x": {"number": 1},
    }
    model.fit([(X, Y)], num_steps=2, epochs=2, callbacks=(lambda model, row: row.update(extra),))
    model.save(tmp_path / "model")
    row = sc.load(tmp_path / "model").history[1]
    assert (row["rate"], row["n"], row["all"], row["ok"], row["epoch"]) == (0.5, 3, [0, 1, 2], True, 2)
    assert np.isnan(row["odd"])
    assert row["x"] == {"number": 1}
    model.history[1]["model"] = model
    before = (tmp_path / "model").read_bytes()
    with pytest.raises(TypeError, match=r"history\[1\] cannot be written as JSON: Model\(.*callbacks may add numbers"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before


def test_notes_are_kept_wherever_a_model_goes(tmp_path):
    model = model_of(sc.Leaky())
    model.notes = {"data": "digits", "accuracy": np.float64(0.9), "odd": np.inf, "recipe": {"epochs": [1, 2]}}
    model.save(tmp_path / "model")
    for again in (sc.load(tmp_path / "model"), model.to_engine("numpy"), pickle.loads(pickle.dumps(model))):
        assert again.notes == model.notes
    other = model.to_engine("numpy")
    other.notes["recipe"]["epochs"].append(3)
    assert model.notes["recipe"] == {"epochs": [1, 2]}
    for wrong, what in (
        ({1: 2}, "notes cannot be written as JSON"),
        ({"x": model}, "notes cannot"),
        ("digits", "a dict"),
    ):
        model.notes = wrong
        with pytest.raises(TypeError, match=what):
            model.save(tmp_path / "model")


@dataclass(frozen=True)
class Hidden(sc.Leaky):
    """It cannot be made of its fields."""

    scale: InitVar[float] = None

    def __post_init__(self, scale):
        super().__post_init__()
        if scale is None:
            raise TypeError("scale is needed")


@dataclass(frozen=True)
class Doubling(sc.Leaky):
    """Made of its fields, it is another."""

    gain: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "gain", 2 * self.gain)


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (Hidden(scale=2.0), "could be written, but not read again: .*scale is needed"),
        (Doubling(), "could be written, but would be .* when read again"),
        (Twice(gain=object()), "cannot be written as JSON"),
        (Twice(gain=np.ones(2)), "an array cannot be written as JSON: .*a tuple"),
        (Twice(gain=1j), "cannot be written as JSON"),
        (Twice(gain={"a": object()}), "cannot be written as JSON"),
        (Twice(gain={"a": 1}), "could be written, but not read again: .*neither a layer nor a parameter"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, neuron, message):
    """C10: refused when it is saved, not when it is needed; an older file stays."""
    model_of(sc.Leaky()).save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    with pytest.raises(TypeError, match=message):
        model_of(neuron).save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
