"""``sc.recipe`` for a class at every step."""

from __future__ import annotations

import numpy as np

import spikecore as sc
from spikecore import functional
from spikecore.recipes import look

RNG = np.random.default_rng(0)


def echoes(samples=60, steps=60):
    """Pulses of two kinds, and for each step which kind there was 8 to 15 steps ago; 0: none."""
    kinds = RNG.choice(3, (samples, steps), p=(0.94, 0.03, 0.03))
    x = np.eye(3)[kinds][..., 1:].astype("float32")
    y = np.zeros((samples, steps), int)
    for place in range(steps):
        for ago in range(15, 7, -1):
            if place >= ago:
                y[:, place] = np.where(kinds[:, place - ago] > 0, kinds[:, place - ago], y[:, place])
    return x, y


def test_it_learns_what_was_when():
    x, y = echoes()
    recipe = sc.recipe(x[:40], y[:40])
    model = sc.Model(recipe.network, engine="numpy", seed=0)
    history = model.fit(x[:40], y[:40], progress=False, **{**recipe.training, "epochs": 10})
    assert history[-1]["accuracy_step"] > 0.9
    said = model.predict(x[40:], **recipe.feed)
    assert said.shape == (20, 60)
    assert (said == y[40:]).mean() > 0.9 > (y[40:] == 0).mean() + 0.1


def test_what_it_chooses():
    x, y = echoes(20, 60)
    recipe = sc.recipe(x, y)
    assert recipe.facts.by_step
    assert recipe.training["loss"] == functional.ce_step_loss()
    assert recipe.training["metric"] == "accuracy_step"
    assert recipe.training["learning"] == sc.BPTT(update_every=8)
    assert recipe.feed == {"time_axis": 1}
    assert "ALIF" in repr(recipe.network)
    assert "Linear(36, 3)" in repr(recipe.network)


def test_series_of_unequal_length_and_steps_that_do_not_count():
    """Labels beyond a series' end and of -1 are no classes; whole sequences are learned from, since they differ."""
    x, y = echoes(20, 30)
    lengths = [30 - i % 4 for i in range(20)]
    rows, labels = [row[:n] for row, n in zip(x, lengths)], [row[:n].copy() for row, n in zip(y, lengths)]
    labels[0][:5] = -1
    given, padded = sc.recipe(rows, labels), np.where(np.arange(30) < np.array(lengths)[:, None], y, 99)
    padded[0, :5] = -1
    assert given.facts == look(x * (np.arange(30) < np.array(lengths)[:, None])[..., None], padded, lengths)
    assert given.facts.classes == 3
    assert "learning" not in given.training
    model = sc.Model(given.network, engine="numpy", seed=0)
    training = dict(given.training)
    loader = sc.datasets.Loader(rows, labels, batch_size=training.pop("batch_size"), seed=0)
    assert np.isfinite(model.fit(loader, progress=False, **{**training, "epochs": 2})[-1]["loss"])
