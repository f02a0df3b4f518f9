"""``sc.recipe``: what it says, what it learns, and where its networks go."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

import spikecore as sc
from spikecore.recipes import look
from spikecore.recipes.look import time_scales
from spikecore.recipes.rules import FEWEST, MOST, WINDOWS, batch_size
from spikecore.samples import DataError
from tests.export.c_rig import in_c, needs_compiler

RNG = np.random.default_rng(0)
SERIES = [RNG.normal(size=(n, 2)).astype("float32") for n in (5, 7, 6, 9) * 5]
ROWS, WALK = np.arange(20)[:, None], RNG.normal(5.0, 0.1, size=(36, 2)).cumsum(axis=0).astype("float32")
DATA = {
    "table": RNG.normal(50.0, 20.0, size=(20, 3)).astype("float32"),
    "series": RNG.normal(-4.0, 0.1, size=(20, 12, 2)).astype("float32"),
    "images": RNG.normal(128.0, 60.0, size=(20, 1, 8, 8)).astype("float32"),
    "unequal": SERIES,
    "windows": RNG.normal(-4.0, 0.1, size=(20, 2 * WINDOWS + 7, 2)).astype("float32"),  # of which windows are seen
    "forecast": WALK[ROWS + np.arange(12)],
    "labels": RNG.normal(3.0, 2.0, size=(20, 12, 2)).astype("float32"),  # a class at every step
}
Y = np.arange(20) % 2
TARGETS = {
    **dict.fromkeys(DATA, Y),
    "labels": np.arange(240).reshape(20, 12) // 4 % 3,
    "forecast": WALK[ROWS + np.arange(12, 16)].reshape(20, -1),
}


def trained(kind, engine="numpy"):
    """A model by the recipe, trained a little, and its recipe."""
    x, recipe = DATA[kind], sc.recipe(DATA[kind], TARGETS[kind])
    model = sc.Model(recipe.network, engine=engine, seed=0)
    model.fit(recipe.padded(x), TARGETS[kind], progress=False, **{**recipe.training, "epochs": 2})
    return model, recipe


@pytest.mark.parametrize("kind", DATA)
def test_every_choice_has_a_value_and_a_reason(kind):
    recipe = sc.recipe(DATA[kind], TARGETS[kind])
    said = str(recipe)
    for choice in recipe.choices:
        assert choice.value, choice
        assert len(choice.why) > 10, choice
        assert f"\n{choice.what} " in f"\n{said}"
    assert max(map(len, said.splitlines())) <= 118
    assert repr(recipe.network) == repr(sc.recipe(DATA[kind], TARGETS[kind]).network)


@pytest.mark.parametrize("kind", DATA)
def test_a_stream_gives_what_the_model_gives(kind):
    """The scaling included: inputs are far from 0 and of any size."""
    model, recipe = trained(kind)
    x = recipe.padded(DATA[kind])[:2]
    sequence = np.moveaxis(x, 1, 0) if "time_axis" in recipe.feed else np.stack([x] * recipe.feed["num_steps"])
    stream = model.stream(batch_size=2)
    found = np.stack([np.array(stream.step(step)) for step in sequence])
    np.testing.assert_allclose(found, model(sequence).spikes, rtol=1e-4, atol=1e-5)


@needs_compiler
def test_c_gives_what_the_model_gives(tmp_path):
    models, recipes = zip(*(trained(kind) for kind in DATA))
    models, recipes = dict(zip(DATA, models)), dict(zip(DATA, recipes))
    for kind, net in in_c(models, tmp_path).items():
        x = recipes[kind].padded(DATA[kind])[0]
        x = x if kind == "labels" else np.stack([x] * 4)
        np.testing.assert_allclose(
            net.run(x)[0], np.asarray(models[kind](x[:, None]).spikes)[:, 0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("kind", DATA)
def test_onnx_is_compared_when_it_is_written(kind, tmp_path):
    pytest.importorskip("onnx")
    assert sc.export(trained(kind)[0], tmp_path / f"{kind}.onnx").files


def test_it_learns_what_no_linear_method_does():
    """The exclusive or of two columns on scales of 1e-6 and 1e6, with a third that is constant."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(300, 3)).astype("float32")
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)
    x = (x * [1e-6, 1e6, 0.0] + [0.0, 1e6, 3.0]).astype("float32")
    recipe = sc.recipe(x[:200], y[:200])
    model = sc.Model(recipe.network, engine="numpy", seed=0)
    model.fit(x[:200], y[:200], progress=False, **recipe.training)
    assert (model.predict(x[200:], **recipe.feed) == y[200:]).mean() >= 0.9


@pytest.mark.slow
def test_it_finds_a_shape_wherever_it_is():
    """Two waves of different length in noise, at any place of the series."""
    rng = np.random.default_rng(2)
    y, t = np.arange(80) % 2, np.arange(16)
    x = rng.normal(size=(80, 64, 1)).astype("float32")
    for row, label in zip(x, y):
        start = rng.integers(48)
        row[start : start + 16, 0] += 3.0 * np.sin(2 * math.pi * t / (4, 8)[label])
    recipe = sc.recipe(x[:50], y[:50])
    model = sc.Model(recipe.network, engine="numpy", seed=0)
    model.fit(x[:50], y[:50], progress=False, **recipe.training)
    assert (model.predict(x[50:], **recipe.feed) == y[50:]).mean() >= 0.85


@pytest.mark.parametrize("tau", [3.0, 12.0])
def test_time_scales_are_those_of_the_data(tau):
    """Series x[t] = a x[t-1] + noise resemble themselves by a^k after k steps: 1/e at k = tau if a = exp(-1/tau)."""
    rng, x = np.random.default_rng(0), np.zeros((200, 300, 1))
    for t in range(1, 300):
        x[:, t, 0] = math.exp(-1.0 / tau) * x[:, t - 1, 0] + rng.normal(size=200)
    shortest, longest = time_scales(x, None, 300)
    assert shortest == pytest.approx(tau, rel=0.15)
    assert longest == 100.0
    assert time_scales(np.ones((4, 300, 1)), None, 300) == (1.0, 100.0)  # constant


def test_targets_that_continue_the_series_are_forecast_by_weights_that_all_series_share():
    """Whatever the order of the windows, their distance and the series' units; other numbers are no forecast."""
    noise, hours = np.random.default_rng(3), np.arange(1200)[:, None]
    table = np.sin(2 * np.pi * hours / 24 + np.arange(5)) + noise.normal(0.0, 0.3, (1200, 5))
    (train, test), _ = sc.datasets.windows(
        table * [1.0, 30.0, 1e-3, 7.0, 0.2] + 100.0, 48, 24, stride=2, parts=(0.7, 0.3)
    )
    order = noise.permutation(len(train))
    recipe = sc.recipe(train.inputs[order], train.targets[order])
    assert (recipe.facts.ahead, recipe.facts.outputs) == (24, 120)
    assert sc.recipe(train.inputs, train.targets[order]).facts.ahead == 0
    assert sc.recipe(train.inputs, train.targets[:, :7]).facts.ahead == 0, "not all series"
    model = sc.Model(recipe.network, engine="numpy", seed=0)
    model.fit(train.inputs, train.targets, progress=False, **recipe.training)
    wrong = model.predict(test.inputs, **recipe.feed) - test.targets
    best = 0.3**2 / table[:840].var(axis=0).mean()
    assert (wrong**2).mean() < 1.4 * best, "the noise itself has error 1"


def test_series_of_unequal_length_are_padded_to_the_longest_of_the_training_data():
    recipe = sc.recipe(SERIES, Y)
    padded = recipe.padded([*SERIES[:2], np.ones((11, 2), "float32")])
    assert padded.shape == (3, 9, 2)
    np.testing.assert_array_equal(padded[0, :5], SERIES[0])
    assert not padded[0, 5:].any()
    assert padded[2].all()
    assert sc.recipe(DATA["table"], Y).padded(DATA["table"]) is DATA["table"]
    assert sc.recipe(DATA["labels"], TARGETS["labels"]).padded(DATA["labels"]) is DATA["labels"]


def test_no_batch_has_a_single_sample():
    for samples in range(4, 2000):
        assert samples % batch_size(samples) != 1, samples
        assert FEWEST <= batch_size(samples) <= MOST + 2


@pytest.mark.parametrize("steps", [1301, 1999, 2000, 5000, 50_000])
def test_of_any_length_at_most_2_000_windows_are_seen(steps):
    """And the network does not grow with the length."""
    recipe = sc.recipe(np.ones((4, steps, 3), "float32"), Y[:4])
    window = steps // WINDOWS
    assert (f"Concat(AvgPool1d({window}), MaxPool1d({window}))" in repr(recipe.network)) == (window > 1)
    assert (f"means and maxima of {window} steps" in str(recipe)) == (window > 1)
    model = sc.Model(recipe.network, engine="numpy", seed=0)
    model.build((steps, 3))
    assert sum(value.size for value in model.params().values()) < 60_000


def test_what_a_recipe_reads_of_a_long_series_takes_little_memory():
    """Twice the memory of the series, not many times."""
    x = np.ones((40, 50_000, 2), "float32")
    tracemalloc.start()
    sc.recipe(x, Y.repeat(2))
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2 * x.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1301, 1999, 5000, 50_000])
def test_long_series_train(steps):
    """Which of two channels has more, all the time: it is learned within ten epochs, and losses stay finite."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, steps, 2)).astype("float32"), np.arange(64) % 2
    x[np.arange(64), :, y] += 0.3
    recipe = sc.recipe(x[:32], y[:32])
    model = sc.Model(recipe.network, engine=sc.get_engine("numpy", fused=True), seed=0)
    history = model.fit(x[:32], y[:32], progress=False, **{**recipe.training, "epochs": 10})
    losses = [row["loss"] for row in history]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]
    assert (model.predict(x[32:], **recipe.feed) == y[32:]).mean() >= 0.9


@pytest.mark.parametrize("columns", [(), (2,)])
def test_numbers_are_learned_in_their_own_unit(columns):
    """A line and a curve with offsets of 1e4: far better than the mean, which is 1, in the unit of the targets."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(150, 2)).astype("float32")
    y = 1e4 + 300.0 * np.stack([x[:, 0], x[:, 0] * x[:, 1]], axis=1)
    y = (y if columns else y[:, 0]).astype("float32")
    recipe = sc.recipe(x[:100], y[:100])
    model = sc.Model(recipe.network, engine="numpy", seed=0)
    model.fit(x[:100], y[:100], progress=False, **{**recipe.training, "epochs": 15})
    said = model.predict(x[100:], **recipe.feed)
    assert said.shape == (50, *columns)
    assert (((said - y[100:]) ** 2).mean(axis=0) < 0.6 * y.var(axis=0)).all()


X = DATA["table"]


def with_nan():
    x = X.copy()
    x[3, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (with_nan(), Y, r"x\[3\] has entries that are NaN or infinite, as have 1 samples of 20; .*nan_to_num"),
        (
            X,
            np.array(["cat", "dog"] * 10),
            r"number classes that have names: np.unique\(names, return_inverse=True\)\[1\]",
        ),
        (X.astype(str), Y, "the network takes numbers"),
        (X, np.zeros(20, int), "all samples are of class 0; there is nothing to tell apart"),
        (X, Y - 1, "y begins at -1; classes are counted from 0"),
        (X, Y[:19], "x has 20 samples and y 19 targets"),
        (X[:3], Y[:3], "3 samples are too few to learn from; give at least 4"),
        (X[:, 0], Y, r"x has shape \(20,\); tables are \(samples, features\)"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], Y[:2], r"x\[0\] has shape \(3, 2\) and x\[1\] \(3, 1\)"),
        (X, np.stack([Y, Y], axis=1), r"y has shape \(20, 2\); give one class per sample"),
        (
            DATA["series"],
            np.full((20, 11), 2),
            r"y has shape \(20, 11\); give one class per sample, \(n,\), one per step, \(20, 12\), or numbers",
        ),
        (DATA["series"], np.zeros((20, 12), int), r"all steps are of class \[0\]; there is nothing to tell apart"),
        (DATA["series"], TARGETS["labels"] - 2, "y has the class -2; classes are counted from 0, and -1 does not"),
    ],
)
def test_bad_data_is_named_with_the_remedy(x, y, said):
    with pytest.raises(DataError, match=said):
        sc.recipe(x, y)


def test_a_constant_column_is_no_fault():
    x = X.copy()
    x[:, 1] = 5.0
    assert look(x, Y).shape == (3,)
    model = sc.Model(sc.recipe(x, Y).network, engine="numpy", seed=0)
    history = model.fit(x, Y, progress=False, **{**sc.recipe(x, Y).training, "epochs": 1})
    assert np.isfinite(history[-1]["loss"])
