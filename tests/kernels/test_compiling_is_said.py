"""The first run says that it compiles, what is kept, and how to do it beforehand; only to somebody who watches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("numba")

from spikecore.kernels.runtime import build, store  # noqa: E402


@pytest.fixture
def first(monkeypatch, tmp_path):
    """A kernel that is not on disk, in a process that has said nothing yet."""
    monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_said", set())
    monkeypatch.setattr(build, "at_hand", lambda recipe: None)
    monkeypatch.setattr(build, "load", lambda text, around: SimpleNamespace(tile=7))
    monkeypatch.setattr(build, "in_memory", {})
    return build.Recipe("", "tile")


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
    assert not lines[1]  # once per process


def test_nothing_is_said_where_nobody_watches_or_the_command_has_lines_of_its_own(first, monkeypatch, capsys):
    monkeypatch.setattr(build, "SLOW", -1.0)
    build.make(first)  # pytest is no terminal
    monkeypatch.setattr(build, "watched", lambda: True)
    build.make(first, quiet=True)
    assert not capsys.readouterr().err
    build.make(first)
    assert "compiled a tile kernel in" in capsys.readouterr().err


def test_kernels_that_cannot_be_kept_are_said_to_be_lost(first, monkeypatch, capsys):
    monkeypatch.setattr(build, "watched", lambda: True)
    monkeypatch.setattr(store, "can_keep", lambda: False)
    build.make(first)
    assert "cannot be kept: name a folder in SPIKECORE_CACHE" in capsys.readouterr().err
