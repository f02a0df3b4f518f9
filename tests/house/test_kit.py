"""The conformance suite as others use it: as a package, on an engine from outside, with its report."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from spikecore.api.core.words import WORDS
from spikecore.conformance import fixtures, on_demand, plugin, report
from spikecore.conformance.report import Outcome, SuiteRun
from spikecore.conformance.selection import Chosen, chosen, selected
from tests import ROOT
from tests.conformance import own_engines
from tests.docs.test_readme import python_blocks

KIT = ROOT / "spikecore" / "conformance"
EXAMPLE = ROOT / "examples" / "engines"
NEEDS_EXAMPLE = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="examples/ is not part of this tree")
SINGLE = """
from spikecore.engines.numpy.engine import NumpyEngine

class Single(NumpyEngine):
    name, lacks = "single", {"float64": "it computes in float32"}

    def raw_words(self):
        return {**super().raw_words(), "exp": lambda x: 1.0 + x}
"""


# ---- what is in it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(KIT.glob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_of_the_suite_takes_an_engine(path):
    tests = [node for node in ast.parse(path.read_text("utf-8")).body if getattr(node, "name", "").startswith("test_")]
    assert tests
    for test in tests:
        assert {"engine", "engine32"} & {argument.arg for argument in test.args.args}, test.name
    here = ROOT / "tests" / "conformance" / path.name
    assert f"from spikecore.conformance.{path.stem} import *" in here.read_text("utf-8"), "this repository runs it, too"


@pytest.mark.parametrize("path", sorted(KIT.glob("test_*.py")), ids=lambda path: path.stem)
def test_the_suite_asks_no_engine_who_it_is(path):
    asked = r"engine(32)?\.(name|device) (==|!=|in) |[\"'] in repr\(|isinstance\(engine"
    assert not re.search(asked, path.read_text("utf-8"))


def test_importing_it_imports_nothing_else():
    script = "import sys, spikecore.conformance.on_demand\nprint(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"pytest", "hypothesis", "numpy", "torch"} & set(done.stdout.split())


# ---- choosing engines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy", Chosen("numpy", "numpy", {})),
        ("torch:device=cuda", Chosen("torch:device=cuda", "torch", {"device": "cuda"})),
        ("gpu=torch:device=cuda:1,fused=false", Chosen("gpu", "torch", {"device": "cuda:1", "fused": False})),
        ("ipu:replication_factor=2", Chosen("ipu:replication_factor=2", "ipu", {"replication_factor": 2})),
    ],
)
def test_engines_by_text(text, expected):
    assert chosen(text) == expected


def test_an_option_needs_a_value():
    with pytest.raises(ValueError, match=r"--engine torch:cuda: 'cuda' must be option=value, as in torch:device=cuda"):
        chosen("torch:cuda")


def test_an_engine_that_cannot_be_read_is_a_mistake_of_usage():
    config = SimpleNamespace(getoption=lambda name: ["torch:cuda"])
    with pytest.raises(pytest.UsageError, match="--engine torch:cuda: 'cuda' must be option=value"):
        plugin.pytest_configure(config)


def test_the_suite_chooses_dtypes_itself():
    with pytest.raises(ValueError, match="--engine torch:dtype=float64: the suite runs in both dtypes, so leave dtype"):
        chosen("torch:dtype=float64")


def test_a_label_stands_for_one_engine():
    with pytest.raises(
        ValueError, match="--engine numpy: there are two engines of this label; give one another, as in"
    ):
        selected(["numpy", "torch", "numpy"])
    assert len(selected(["numpy", "other=numpy"])[0]) == 2


def test_an_engine_that_is_not_there_is_refused_before_any_test():
    with pytest.raises(pytest.Collector.CollectError, match="--engine lits: unknown engine 'lits'"):
        fixtures.check("lits", chosen("lits").make)


def test_this_repository_has_names_of_its_own():
    assert own_engines.texts(["numpy-strict", "double"]) == ["numpy-strict=numpy:namespace=array_api_strict", "double"]
    assert own_engines.texts(own_engines.texts(["ipu"])) == own_engines.texts(["ipu"])


def test_without_a_name_every_engine_that_is_here():
    engines, missing = selected(None)
    labels = [one.label for one in engines]
    assert "numpy" in labels
    assert not set(labels) & set(missing)
    assert repr(engines[0].make("float64")) == "NumpyEngine(dtype='float64')"


def test_options_exist_where_the_suite_is_named():
    loaded = []
    config = SimpleNamespace(pluginmanager=SimpleNamespace(import_plugin=loaded.append))
    on_demand.pytest_load_initial_conftests(config, ["tests/test_own.py", "-k", "conformance"])
    assert loaded == []
    for named in ("spikecore.conformance", "spikecore.conformance.test_words::test_value", str(KIT / "test_words.py")):
        on_demand.pytest_load_initial_conftests(config, ["--pyargs", named])
    assert loaded == ["spikecore.conformance.plugin"] * 3


# ---- what an engine lacks ------------------------------------------------------------------------------------------


def skipped(error, lacks):
    """The reason for which a case is skipped that ends with ``error``; None if it stays a failure."""
    found = []
    outcome = SimpleNamespace(excinfo=(type(error), error, None), force_exception=found.append)
    engine = SimpleNamespace(name="lists", lacks=lacks)
    hook = fixtures.pytest_pyfunc_call(SimpleNamespace(funcargs={"engine": engine}))
    next(hook)
    with pytest.raises(StopIteration):
        hook.send(outcome)
    return str(found[0]) if found else None


def test_a_lack_is_a_skip_only_if_the_class_says_so():
    lacks = {"gradients": "it only evaluates"}
    assert (
        skipped(NotImplementedError("lists: it only evaluates, see x"), lacks)
        == "lists lacks gradients: it only evaluates"
    )
    assert skipped(NotImplementedError("lists: no such word"), lacks) is None
    assert skipped(AssertionError("it only evaluates"), lacks) is None
    assert skipped(NotImplementedError("it only evaluates"), {}) is None
    assert skipped(NotImplementedError("lists: no such word"), {"gradients": ""}) is None, "no reason is none"


# ---- the report ----------------------------------------------------------------------------------------------------

OUTCOMES = [
    Outcome("a", "test_value[a-exp]", [("words", "exp"), ("topics", "words")], "passed"),
    Outcome("a", "test_gradient[a-exp]", [("words", "exp"), ("topics", "words")], "failed", "AssertionError: 2 > 1"),
    Outcome("a", "test_value[a-log]", [("words", "log"), ("topics", "words")], "passed"),
    Outcome("a", "test_gradient[a-log]", [("words", "log"), ("topics", "words")], "skipped", "a lacks gradients: why"),
    Outcome("a", "test_x[a-Leaky]", [("neurons", "Leaky"), ("topics", "scan")], "skipped", "a lacks gradients: why"),
]


def test_the_report_counts_parts():
    data = report.as_data(SuiteRun(OUTCOMES, {"a": "A()"}, {"b": "package b is not installed"}))
    found = data["engines"]["a"]
    assert [found[verdict] for verdict in report.VERDICTS] == [2, 1, 2]
    assert found["parts"]["words"]["exp"] == {"verdict": "failed", "passed": 1, "failed": 1, "skipped": 0}
    assert {name: row["verdict"] for name, row in found["parts"]["words"].items()} == {"exp": "failed", "log": "passed"}
    assert found["parts"]["neurons"]["Leaky"]["verdict"] == "skipped"
    assert found["skips"] == [{"reason": "a lacks gradients: why", "cases": 2}]
    assert found["failures"] == [{"test": "test_gradient[a-exp]", "why": "AssertionError: 2 > 1"}]
    assert json.loads(json.dumps(data)) == data
    lines = "\n".join(report.as_lines(data))
    assert "a: 2 cases passed, 1 failed, 2 skipped\n  words       1 of 2 pass; fail: exp\n" in lines
    assert "  neurons     0 of 1 pass; skipped: Leaky\n" in lines
    page = report.as_markdown(data)
    assert "| words | 1 | exp |  |\n" in page
    assert "- 2 cases: a lacks gradients: why\n" in page
    assert "Not the whole suite" not in page


def test_a_part_of_the_suite_is_not_reported_as_the_whole():
    data = report.as_data(SuiteRun(OUTCOMES[:1], {"a": "A()"}, {}, 7, ["test_layers.py: torch is not installed"]))
    assert not data["whole"]
    assert "not the whole suite: options of pytest left out 7 tests" in report.as_lines(data)
    assert "**Not the whole suite**: test_layers.py: torch is not installed." in report.as_markdown(data)
    assert report.badge(data)["message"] == "1 passed, not the whole suite"


@pytest.mark.parametrize(
    ("outcomes", "message", "color"),
    [
        (OUTCOMES[:1], "1 passed", "brightgreen"),
        (OUTCOMES[2:4], "1 passed, 1 skipped", "yellowgreen"),
        (OUTCOMES, "1 of 3 fail, 2 skipped", "red"),
        ([], "0 passed", "red"),
    ],
)
def test_the_badge(outcomes, message, color):
    found = report.badge(report.as_data(SuiteRun(outcomes, {"a": "A()"}, {})))
    assert (found["schemaVersion"], found["message"], found["color"]) == (1, message, color)
    assert found["label"].startswith("spikecore ")


# ---- an engine from outside ----------------------------------------------------------------------------------------


def outside(folder, *options):
    """Run the suite as someone does who has installed spikecore, the example's engine and another one."""
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "single.py").write_text(SINGLE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[spikecore.engines]\nlists = spikecore_lists:ENGINE\nsingle = single:Single\n"
        "[pytest11]\nspikecore = spikecore.conformance.on_demand\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, EXAMPLE, ROOT)))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", *options]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)


@NEEDS_EXAMPLE
def test_the_suite_runs_from_anywhere_on_any_engine(tmp_path):
    """On one that lacks gradients, and on one that has no float64 and computes exp wrongly."""
    done = outside(
        tmp_path, "spikecore.conformance.test_words", "-k", "exp or arange", "--engine", "lists",
        "--engine", "x=single:fused=false", "--conformance-report", "out/report.json", "--badge", "out/badge.json",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    lists, single = data["engines"]["lists"], data["engines"]["x"]
    assert not lists["failed"]
    assert lists["passed"] > 6
    assert [row["reason"] for row in lists["skips"]] == ["lists lacks gradients: engine 'lists' only evaluates"]
    assert lists["parts"]["words"]["expand_dims"]["verdict"] == "passed"
    assert [one["test"] for one in single["failures"]] == ["test_words.py::test_value_in_float32[x-exp]"]
    assert single["skips"][0]["reason"] == "x lacks float64: it computes in float32"
    assert data["deselected"] > 100
    assert not data["whole"]
    assert "nothing ran of test_attention, test_backprop," in data["not run"][0]
    assert json.loads((tmp_path / "out" / "badge.json").read_text())["color"] == "red"
    assert "fail: exp" in done.stdout
    assert "## lists" in (tmp_path / "out" / "report.md").read_text("utf-8")


@NEEDS_EXAMPLE
@pytest.mark.slow
def test_the_whole_suite_on_the_engine_of_the_guide(tmp_path):
    done = outside(tmp_path, "spikecore.conformance", "--engine", "lists", "--conformance-report", "report.json")
    assert done.returncode == 0, done.stdout
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["whole"]
    found = data["engines"]["lists"]
    assert set(found["parts"]["words"]) == set(WORDS)
    assert {row["reason"].partition(":")[0] for row in found["skips"]} == {"lists lacks gradients"}  # nor does it train
    for kind in ("words", "layers", "neurons", "surrogates", "encoders", "optimisers"):
        assert {row["verdict"] for row in found["parts"][kind].values()} == {"passed"}, kind


@NEEDS_EXAMPLE
def test_the_guide_shows_the_example():
    """Its blocks are the whole engine and excerpts of the words; one other, the last, uses the engine."""
    blocks = [code for _, code in python_blocks((ROOT / "docs" / "engine_on_lists.md").read_text("utf-8"))]
    engine, words = ((EXAMPLE / "spikecore_lists" / name).read_text("utf-8") for name in ("__init__.py", "words.py"))
    shown = [line for code in blocks if code.strip() in engine for line in code.splitlines() if line]
    assert shown == [line for line in engine.splitlines() if line]
    assert sum(code.strip() in words for code in blocks) >= 5
    assert [code for code in blocks if code.strip() not in engine and code.strip() not in words] == blocks[-1:]
