"""The first run says that it compiles, what is kept, and how to do it beforehand; only to somebody who watches."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba")

import spikecore as sc  # noqa: E402
from spikecore import progress  # noqa: E402
from spikecore.kernels import select  # noqa: E402
from spikecore.kernels.runtime import build, store  # noqa: E402


@pytest.fixture
def first(monkeypatch, tmp_path):
    """A kernel that is not on disk, in a process that has said nothing yet."""
    monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "said", set())
    monkeypatch.setattr(build, "at_hand", lambda recipe: None)
    monkeypatch.setattr(build, "load", lambda text, around: SimpleNamespace(tile=7))
    monkeypatch.setattr(build, "in_memory", {})
    monkeypatch.setattr(build, "_awaited", set())
    monkeypatch.setattr(build, "_took", [])
    return build.KernelRecipe("", "tile")


def test_a_line_comes_before_the_first_kernel_and_names_place_and_command(first, monkeypatch, capsys, tmp_path):
    lines = []

    def load(text, around):
        lines.append(capsys.readouterr().err)
        return SimpleNamespace(tile=7)

    monkeypatch.setattr(build, "load", load)
    monkeypatch.setattr(build, "watched", lambda: True)
    assert build.make(first) == build.make(first) == 7
    assert lines[0].startswith("spikecore: compiling kernels")
    assert str(tmp_path / "kernels") in lines[0]
    assert "`spikecore warm`" in lines[0]
    assert lines[1] == "spikecore: kernel 1 of 1 (tile) compiled in 0.0 s\n"  # where it is and how, once per process


def test_a_line_changes_each_second_with_the_count_and_the_time_left(first, monkeypatch, capsys):
    """No second passes without it, also while a compiler works; at the end one line stays."""
    second = build.KernelRecipe("", "other")

    def load(text, around):
        time.sleep(0.5)
        return SimpleNamespace(tile=7, other=8)

    monkeypatch.setattr(build, "load", load)
    monkeypatch.setattr(build, "watched", lambda: True)
    monkeypatch.setattr(progress, "watched", lambda: True)
    monkeypatch.setattr(progress, "FIRST", 0.05)
    monkeypatch.setattr(progress, "EVERY", 0.1)
    build.expect([first, second])
    build.make(first)
    _, *shown, removed, last = re.split("[\r\n]+", capsys.readouterr().err.strip("\n"))
    assert len(shown) >= 2
    assert shown[0].strip() == "spikecore: compiling kernel 1 of 2 (tile), 0 s, about 2 s left"
    assert not removed.strip()
    assert re.fullmatch(r"spikecore: kernel 1 of 2 \(tile\) compiled in \d\.\d s, about [12] s left", last)
    build.make(second)
    last = capsys.readouterr().err.strip("\n").split("\r")[-1]
    assert re.fullmatch(r"spikecore: kernel 2 of 2 \(other\) compiled in \d\.\d s", last)


def test_runs_say_how_many_kernels_they_need(first, monkeypatch):
    monkeypatch.setattr(build, "watched", lambda: True)
    select.remembered.cache_clear()
    x, y = np.zeros((4, 8, 5), "float32"), np.zeros(8, int)
    engine = sc.get_engine("numpy", fused=True)
    asked = []
    monkeypatch.setattr(build, "expect", lambda recipes: asked.extend(recipe.name for recipe in recipes))
    monkeypatch.setattr(select.SequenceNumba, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sc.Model(sc.Sequential(sc.Linear(5, 3), sc.Leaky(beta=0.9)), engine=engine).fit([(x, y)], epochs=1)
    assert asked == ["forward", "backward"]


def test_nothing_is_said_where_nobody_watches_or_the_command_has_lines_of_its_own(first, monkeypatch, capsys):
    build.make(first)  # pytest is no terminal
    monkeypatch.setattr(build, "watched", lambda: True)
    build.make(first, quiet=True)
    assert not capsys.readouterr().err


def test_kernels_that_cannot_be_kept_are_said_to_be_lost(first, monkeypatch, capsys):
    monkeypatch.setattr(build, "watched", lambda: True)
    monkeypatch.setattr(store, "can_keep", lambda: False)
    build.make(first)
    assert "cannot be kept: name a folder in SPIKECORE_CACHE" in capsys.readouterr().err
