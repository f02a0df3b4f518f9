"""Where the tests of the command line begin: in a folder of their own, and pictures are drawn for those who look."""

from __future__ import annotations

import pytest


@pytest.fixture
def with_pictures():
    """For tests that look at a run's or a sweep's pictures. The others draw none: they take a second each."""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path, request):
    """An empty folder is the current one, and the environment names no engine."""
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    monkeypatch.chdir(tmp_path)
    if "with_pictures" not in request.fixturenames:
        pytest.importorskip("typer")
        from spikecore.cli import command_sweep, command_train

        monkeypatch.setattr(command_train, "_drawn", lambda job, model: [])
        monkeypatch.setattr(command_sweep, "_drawn", lambda ours: [])
