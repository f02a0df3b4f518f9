"""Chips of which a test says what is known, networks that are small, and files of chips."""

from __future__ import annotations

import spikecore as sc
from spikecore import hardware

IMMEDIATE = {"reset_mechanism": "zero", "reset_delay": False}
SOURCES = {"here": "A. Author, A paper, 2026, https://example.org"}
BODY = """
name = "Test"
maker = "nobody"
about = "a chip for tests"
[sources]
here = "A. Author, A paper, 2026, https://example.org"
[limits]
{limits}
[supports]
{supports}
"""


def known(**values):
    return {name: hardware.Known(value, "here") for name, value in values.items()}


def chip(limits=(), supports=(), **others):
    """A chip of which only this is known."""
    return hardware.Chip(
        "Test", "nobody", "for tests", SOURCES, known(**dict(limits)), known(**dict(supports)), **others
    )


def model(*layers, shape=None):
    return sc.Model(sc.Sequential(*layers), "numpy", input_shape=shape)


def small():
    return model(sc.Linear(6, 5), sc.Leaky(**IMMEDIATE), sc.Linear(5, 3), sc.Leaky(**IMMEDIATE))


def said(report, what):
    return [one for one in report.objections if one.what == what]


def written(tmp_path, limits="", supports="", text=None):
    path = tmp_path / "mine.toml"
    path.write_text(BODY.format(limits=limits, supports=supports) if text is None else text, encoding="utf-8")
    return path
