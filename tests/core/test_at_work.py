"""A line that says what is done, while a block takes long: only on a terminal, and it leaves nothing behind."""

from __future__ import annotations

import time

import pytest

from spikecore import progress


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(progress, "watched", lambda: True)
    monkeypatch.setattr(progress, "FIRST", 0.02)
    monkeypatch.setattr(progress, "EVERY", 0.02)
    monkeypatch.setattr(progress, "_moved", 0.0)


def test_the_line_changes_and_is_removed(quick, capsys):
    with progress.at_work(lambda seconds: f"reading, {seconds:.2f} s"):
        time.sleep(0.3)
    said = capsys.readouterr().err
    lines = said.split("\r")
    assert len({line for line in lines if line.startswith("reading, 0.")}) >= 2
    assert said.endswith("\r")
    assert not lines[-2].strip()
    assert len(lines[-2]) == max(map(len, lines[1:-2]))


def test_of_blocks_in_each_other_the_innermost_speaks(quick, capsys):
    with progress.at_work(lambda seconds: "outer"):
        time.sleep(0.1)
        with progress.at_work(lambda seconds: "inner"):
            time.sleep(0.15)
        time.sleep(0.1)
    lines = [line.strip() for line in capsys.readouterr().err.split("\r")]
    said = [line for line, before in zip(lines[1:], lines) if line and line != before]
    assert said == ["outer", "inner", "outer"]


def test_an_error_passes_and_the_line_goes(quick, capsys):
    def fail():
        with progress.at_work(lambda seconds: "reading"):
            time.sleep(0.1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capsys.readouterr().err.endswith("\r")


def test_what_is_done_at_once_shows_none(monkeypatch, capsys):
    monkeypatch.setattr(progress, "watched", lambda: True)
    with progress.at_work(lambda seconds: "reading"):
        pass
    assert not capsys.readouterr().err


def test_nobody_watches(quick, monkeypatch, capsys):
    monkeypatch.setattr(progress, "watched", lambda: False)
    with progress.at_work(lambda seconds: "reading"):
        time.sleep(0.05)
    assert not capsys.readouterr().err


def test_a_bar_that_moves_is_left_alone(quick, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_moved", time.monotonic() + 1000.0)
    with progress.at_work(lambda seconds: "reading"):
        time.sleep(0.1)
    assert not capsys.readouterr().err


def test_who_wants_no_bars_gets_no_lines(quick, monkeypatch, capsys):
    with progress.at_work(lambda seconds: "working", False):
        time.sleep(0.2)
    monkeypatch.undo()
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    assert progress.watched()
    monkeypatch.setenv("TQDM_DISABLE", "1")  # turns tqdm's bars off
    assert not progress.watched()
    assert not capsys.readouterr().err
