"""The benchmark of spoken digits, on a few tones that are named like recordings."""

from __future__ import annotations

import json
import wave
from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc

pytest.importorskip("torch", reason="the benchmark trains with torch")
spoken_digits = pytest.importorskip("benchmarks.spoken_digits", reason="benchmarks/ is not part of this tree")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings")
    for speaker in sum(spoken_digits.SPEAKERS.values(), ()):
        for digit, number in ((0, 0), (0, 1), (1, 0), (1, 1)):
            with wave.open(str(path / f"{digit}_{speaker}_{number}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
                tone = np.sin(2 * np.pi * (400 + 1500 * digit) * np.arange(1600 + 400 * number) / 8000)
                file.writeframes((20_000 * tone).astype("<i2").tobytes())
    return path


def test_speakers_are_kept_apart(folder):
    data = spoken_digits.read(folder)
    assert {part: len(recordings) for part, recordings in data.items()} == {"train": 12, "validation": 4, "test": 8}
    x, label = data["test"][0]
    assert x.shape == (spoken_digits.STEPS, spoken_digits.BANDS)
    assert label == 0
    varied = data["train"].map(spoken_digits.Vary(seed=1))
    first, second = varied.item(0, epoch=0), varied.item(0, epoch=1)
    assert first.shape == x.shape
    assert not np.array_equal(first, second)


def test_runs_are_written_down_and_not_repeated(folder, tmp_path, capsys):
    out = tmp_path / "runs.jsonl"
    options = [str(folder), "--seeds", "0", "--delays", "none", "random", "--hidden", "4", "--epochs", "1"]
    lines = spoken_digits.main([*options, "--out", str(out)])
    assert [line["delays"] for line in lines] == ["none", "random"]
    assert lines[1]["parameters"] - lines[0]["parameters"] == 20 * 4 + 4 * 4  # a delay per synapse of hidden layers
    assert all(0.0 <= line["accuracy"] <= 100.0 for line in lines)
    assert lines[0]["rounded"] == lines[0]["accuracy"]  # there is nothing to round
    assert "| none | 4 | 0.5 |" in capsys.readouterr().out
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines
    assert spoken_digits.main([*options, "--out", str(out)]) == lines
    assert len(out.read_text().splitlines()) == 2


def test_only_learned_delays_move(folder):
    data = spoken_digits.read(folder)["train"]
    for kind in ("learned", "random"):
        settings = spoken_digits.Settings(kind, hidden=4, epochs=1)
        model = spoken_digits.trained(settings, 0, data)
        before = spoken_digits.sc.Model(model.network, engine="torch", seed=0).params()["0.delay"]
        assert np.array_equal(model.params()["0.delay"], before) == (kind == "random")


def test_delays_are_rounded(folder):
    data = spoken_digits.read(folder)["train"]
    settings = spoken_digits.Settings("learned", hidden=4, epochs=1)
    model = spoken_digits.trained(settings, 0, data)
    delays = spoken_digits.in_whole_steps(model, settings, data).params()["0.delay"]
    assert np.array_equal(delays, np.round(delays))
    assert not np.array_equal(model.params()["0.delay"], delays)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no WAV files with names such as"):
        spoken_digits.read(tmp_path)


def test_the_weights_that_ship_have_whole_delays_and_the_network_of_their_notes(folder):
    weights = pytest.importorskip("benchmarks.weights")
    recipe = replace(weights.RECIPES["spoken_digits"], epochs=1, epochs_whole=1)
    train, test = recipe.parts(str(folder))
    kept, validation = train.split(int(len(train) * (1 - recipe.validation)))
    assert (len(kept), len(validation), len(test)) == (12, 4, 8)
    nicolas = spoken_digits.read(folder)["validation"]
    assert all(np.array_equal(validation[i][0], nicolas[i][0]) for i in range(4))
    model = recipe.fit(kept)
    assert model.network == eval(recipe.architecture, {"zoo": sc.zoo, "sc": sc})
    delays = model.params()["0.delay"]
    assert np.array_equal(delays, np.round(delays))
    assert [row["epoch"] for row in model.history] == [1, 2]
