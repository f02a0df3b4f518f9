"""What a checkpoint says and what it does not: classes, options, histories, weights that are not finite, sizes."""

from __future__ import annotations

import json
import pickle
import time
import tracemalloc
from dataclasses import InitVar, dataclass, field
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

import spikecore as sc
from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.core.tree import flatten
from spikecore.api.surrogate import Surrogate
from spikecore.api.training import checkpoint
from spikecore.api.training.optimizers import Optimizer
from spikecore.conformance.cases import LAYERS, NEURONS

X, Y = np.random.default_rng(0).random((4, 2)).astype("float32"), np.arange(4) % 2


def contents(path):
    return checkpoint._read(path)


def write(path, about, arrays):
    text = json.dumps(about)
    path.write_bytes(to_bytes(arrays, {"spikecore": text, "digest": checkpoint._digest(text, arrays)}))
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
    with pytest.raises(sc.CheckpointError, match=rf"unknown class '.*\.{own.__name__}'.*classes=\[{own.__name__}\]"):
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
    with pytest.raises(sc.CheckpointError, match=r"unknown class '.*\.Adam'"):
        sc.load(tmp_path / "model")
    assert type(sc.load(tmp_path / "model", classes=[Adam]).trainer.optimizer) is Adam


def test_a_class_may_have_moved(tmp_path):
    """C3: a script's own `__main__.Leaky` is found by its name, if only one class has it; a renamed one by a dict."""
    moved = elsewhere("Leaky", Leaky)
    model = model_of(moved())
    model.save(tmp_path / "model")
    assert type(sc.load(tmp_path / "model", classes=[Leaky]).network.layers[1]) is Leaky
    with pytest.raises(sc.CheckpointError, match=r"'somewhere\.else\.Leaky' may be .* or .*: say which"):
        sc.load(tmp_path / "model", classes=[Leaky, sc.Leaky])
    with pytest.raises(sc.CheckpointError, match=r"from somewhere\.else, must be given: load\(\.\.\., classes=\[Leaky"):
        sc.load(tmp_path / "model", classes=[Adam])
    renamed = dataclass(frozen=True)(type("Mine", (Leaky,), {"__annotations__": {}}))
    again = sc.load(tmp_path / "model", classes={"somewhere.else.Leaky": renamed})
    assert type(again.network.layers[1]) is renamed


def test_files_of_format_1_are_read_where_they_are_unambiguous(tmp_path):
    """C3: they name classes without modules; a name of the library's and of the user's could be either."""
    model = model_of(sc.Leaky(), Twice())
    model.save(tmp_path / "model")
    as_format_1(tmp_path / "model")
    with pytest.raises(sc.CheckpointError, match="unknown class 'Twice'"):
        sc.load(tmp_path / "model")
    assert sc.load(tmp_path / "model", classes=[Twice]).network == model.network
    with pytest.raises(sc.CheckpointError, match=r"'Leaky' may be the library's or .*Leaky: say which, .*\{'Leaky'"):
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


# ---- C12, C9: numbers that are not finite --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["params", "buffers", "optimizer"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_weights_that_are_not_finite_do_not_replace_good_ones(tmp_path, engine, part, value):
    """C12: neither weights nor buffers nor slots; the file can be written and read by those who ask for it."""
    if engine == "torch":
        pytest.importorskip("torch")
    model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.BatchNorm1d(2), sc.Leaky()), engine)
    model.fit([(X, Y)], num_steps=2)
    model.save(tmp_path / "model")
    before, state = (tmp_path / "model").read_bytes(), model.state()
    name = next(iter(state[part]))
    state[part][name].reshape(-1)[0] = value
    model.load_state(state)
    with pytest.raises(
        sc.DivergedError, match=rf"{part}/{name} holds NaN or infinity: training has diverged.*clip_norm"
    ):
        model.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
    model.save(tmp_path / "model", check_finite=False)
    with pytest.raises(sc.CheckpointError, match=rf"model: {part}/{name} holds NaN or infinity.*check_finite=False"):
        sc.load(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine=engine, check_finite=False)
    np.testing.assert_array_equal(again.state()[part][name], state[part][name])


def test_large_numbers_are_finite(tmp_path):
    """C12: the ends of float64 may lie further apart than its largest number."""
    model = model_of(sc.Leaky(), dtype="float64")
    state = model.state()
    state["params"]["0.weight"][0] = [1.7e308, -1.7e308]
    model.load_state(state)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(sc.load(tmp_path / "model").params()["0.weight"], state["params"]["0.weight"])


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's own word
@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_training_that_diverges_ends(tmp_path, engine, epoch):
    """C12: at the end of the first epoch whose loss is not finite, before callbacks save it; on demand it goes on."""
    if engine == "torch":
        pytest.importorskip("torch")

    def loss(out, targets):
        xp, after = sc.engine_of(out.spikes).xp, len(model.history) + 1 >= epoch
        return xp.mean(out.membrane) * (float("inf") if after else 1.0)

    model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.LI()), engine)
    keep = lambda model, row: model.save(tmp_path / "model")  # noqa: E731
    keep(model, None)
    with pytest.raises(sc.DivergedError, match=rf"loss of epoch {epoch} is (inf|-inf|nan).*diverged.*learning rate"):
        model.fit([(X, Y)], loss=loss, num_steps=2, epochs=5, callbacks=(keep,))
    good = sc.load(tmp_path / "model", engine=engine)
    assert good.epochs_done == model.epochs_done == epoch - 1
    assert all(np.isfinite(x).all() for x in good.params().values())
    model.fit([(X, Y)], loss=loss, num_steps=2, epochs=2, compute=sc.Compute(check_finite=False))
    assert not np.isfinite(model.history[-1]["loss"])


def test_the_files_json_is_strict(tmp_path):
    """C12: NaN and infinity in a history are written so that every reader of JSON can read the file, and come back."""
    model = model_of(sc.Leaky())
    model.history = [{"epoch": 1, "loss": float("nan"), "val_loss": float("inf"), "list": [float("-inf"), 1]}]
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], parse_constant=pytest.fail)
    json.loads(header["__metadata__"]["spikecore"], parse_constant=pytest.fail)
    row = sc.load(tmp_path / "model").history[0]
    assert np.isnan(row["loss"])
    assert (row["val_loss"], row["list"]) == (np.inf, [-np.inf, 1])


def test_histories_of_format_1_with_nan(tmp_path):
    """C12: earlier versions wrote NaN as Python does."""
    model_of(sc.Leaky()).save(tmp_path / "model")
    about, arrays = contents(tmp_path / "model")
    write(tmp_path / "model", {**about, "format": 1, "history": [{"epoch": 1, "loss": float("nan")}]}, arrays)
    assert np.isnan(sc.load(tmp_path / "model").history[0]["loss"])


# ---- C8: shapes before memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*LAYERS, *NEURONS], ids=lambda case: case.name)
def test_shapes_are_known_without_drawing(case):
    """C8: of every layer; what stands for the weights takes no memory."""
    drawn, blank = case.layer.init(Key((0, "init")), case.shape), shapes_of(case.layer, case.shape)
    assert blank.shape == drawn.shape
    for part in ("params", "buffers"):
        a, b = flatten(getattr(drawn, part)), flatten(getattr(blank, part))
        assert {name: x.shape for name, x in a.items()} == {name: x.shape for name, x in b.items()}


def peak_of(call, most):
    """What a call returns or raises, having taken no more than so much memory."""
    tracemalloc.start()
    try:
        return call()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most, f"{peak} bytes"


HUGE = [
    [sc.Linear(2, 2**30)],
    [sc.Linear(2, 2), sc.Leaky(), sc.Linear(2, 2**40)],
    [sc.Linear(2, 2**20), sc.Leaky(beta=sc.learn(0.5, per="neuron")), sc.Linear(2**20, 2**20)],
    [sc.Linear(2, 2), sc.SLSTM(input_size=2, hidden_size=2**20)],
    [sc.Linear(2, 2**20), sc.RLeaky(linear_features=2**20)],
    [sc.Linear(2, 2**31), sc.BatchNorm1d(2**31), sc.LayerNorm(2**31), sc.GradedSpikes(2**31)],
    [sc.Linear(2, 2**31), sc.StateLeaky(beta=sc.learn(0.5, per="neuron"))],
    [sc.Linear(2, 2), sc.AssociativeLeaky(in_dim=2, d_value=2**15, d_key=2**15)],
    [sc.Linear(2, 2**62), sc.Linear(2**62, 2**62)],
]


@pytest.mark.parametrize("layers", HUGE, ids=lambda layers: type(layers[-1]).__name__)
@pytest.mark.parametrize("optimizer", [None, sc.Adam()])
def test_a_small_file_cannot_ask_for_much_memory(tmp_path, layers, optimizer):
    """C8: shapes are compared before anything of that size is made."""
    model = model_of(sc.Leaky())
    if optimizer is not None:
        model.fit([(X, Y)], num_steps=2, optimizer=optimizer)
    model.save(tmp_path / "model")
    about, arrays = contents(tmp_path / "model")
    path = write(tmp_path / "model", {**about, "network": checkpoint.describe(sc.Sequential(*layers))}, arrays)
    with pytest.raises(sc.CheckpointError, match="do not belong together|does not take samples|64 bits"):
        peak_of(lambda: sc.load(path), 1 << 20)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_loading_draws_no_weights(tmp_path, engine, monkeypatch):
    """C8: those of the file are all that it needs; likewise for a copy, and when training goes on."""
    if engine == "torch":
        pytest.importorskip("torch")
    model = sc.Model(sc.Sequential(sc.Linear(2, 3), sc.Leaky(beta=sc.learn(0.5, per="neuron"))), engine)
    model.fit([(X, Y)], num_steps=2)
    model.save(tmp_path / "model")

    def never(*args, **options):
        raise AssertionError("first weights are drawn")

    for name in ("numpy", "torch"):
        monkeypatch.setattr(type(sc.get_engine(name)), "uniform", never)
    again = sc.load(tmp_path / "model", engine=engine)
    again.to_engine("numpy")
    again.fit([(X, Y)], num_steps=2, epochs=2, resume=True)
    assert "Linear" in again.summary()
    with pytest.raises(AssertionError, match="first weights"):
        sc.Model(model.network, engine)


def test_a_large_file_is_loaded_in_little_time_and_memory(tmp_path):
    """C8: it took more than a second, for drawing; memory is a few times the file's size."""
    model = sc.Model(sc.Sequential(sc.Linear(3000, 3000), sc.Leaky(), sc.Linear(3000, 10)), "numpy")
    model.save(tmp_path / "model")
    size = (tmp_path / "model").stat().st_size
    assert size > 36e6
    begun = time.perf_counter()
    again = peak_of(lambda: sc.load(tmp_path / "model", engine="numpy"), 3 * size + (1 << 20))
    print(f"{size / 1e6:.1f} MB in {time.perf_counter() - begun:.2f} s")
    np.testing.assert_array_equal(again.params()["0.weight"], model.params()["0.weight"])


# ---- C9: what is no file -------------------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_not_read(tmp_path):
    """C9: a device has no end, and a pipe makes wait."""
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(sc.CheckpointError, match=f"{path}: a device, a pipe or a socket"):
            sc.load(path)
    with pytest.raises(IsADirectoryError):
        sc.load(tmp_path)


def test_surrogates_and_optimisers_without_a_rule_are_no_classes_of_the_library(tmp_path):
    """C9: their bases have none, and would fail at the first step."""
    known = checkpoint.known_classes().values()
    assert not {Surrogate, Optimizer} & set(known)
