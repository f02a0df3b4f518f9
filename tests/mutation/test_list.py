"""The list of ``make mutants`` fits the sources: each line is there, each mutant is Python, its tests exist."""

from __future__ import annotations

import ast
import importlib.util
import json

from tests import ROOT

spec = importlib.util.spec_from_file_location("mutation_run", ROOT / "tests" / "mutation" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)
MUTANTS = json.loads(run.LIST.read_text(encoding="utf-8"))


def test_there_are_sixty_and_each_can_be_made(tmp_path):
    assert len(MUTANTS) == run.COUNT == 60
    for mutant in MUTANTS:
        copy = tmp_path / "copy.py"
        text = (ROOT / mutant["file"]).read_text(encoding="utf-8")
        copy.write_text(text, encoding="utf-8")
        run.apply(mutant, copy)
        assert copy.read_text(encoding="utf-8") != text
        ast.parse(copy.read_text(encoding="utf-8"))
        assert all((ROOT / test).is_file() for test in run.tests_of(mutant["file"])), mutant["file"]


def test_equivalents_say_why():
    assert all(len(mutant.get("equivalent", "a reason")) > 5 for mutant in MUTANTS)


def test_places_can_be_drawn():
    drawn = run.draw()
    assert len({(one["file"], one["old"], one["new"]) for one in drawn}) > 50
    assert all(one["old"] != one["new"] for one in drawn)
