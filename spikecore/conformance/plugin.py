"""The suite's options of pytest, its header, and the report at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List, Optional

import pytest

from spikecore.conformance import own, report
from spikecore.conformance.fixtures import FIXTURES
from spikecore.conformance.parts import parts_of
from spikecore.conformance.report import Outcome, SuiteRun
from spikecore.conformance.selection import selected
from spikecore.files import write_atomically

PROPERTY = "spikecore.conformance"
OUTPUTS = {"conformance_report": "--conformance-report", "badge": "--badge"}


def pytest_addoption(parser: Any) -> None:
    """Add the suite's options."""
    group = parser.getgroup("conformance", "conformance of spikecore's engines")
    group.addoption(
        "--engine",
        action="append",
        metavar="NAME[:option=value,...]",
        help="run the conformance suite on this engine (repeatable): any name that spikecore.get_engine knows, another "
        "package's included, e.g. torch:device=cuda; default: all engines that can be used here",
    )
    group.addoption(
        "--cases",
        action="append",
        metavar="MODULE:NAME",
        help="run the suite on layers, neurons, surrogates and losses of another package, and on nothing else "
        "(repeatable): a list of (name, object) or (name, layer, shape of one sample)",
    )
    group.addoption(
        "--conformance-report",
        metavar="PATH",
        help="write what each engine passes, fails and skips to PATH, as JSON, and beside it as a page (.md)",
    )
    group.addoption(
        "--badge", metavar="PATH", help="write a badge of the run to PATH, as JSON for shields.io's endpoint"
    )


def pytest_configure(config: Any) -> None:
    """Read the engines, and begin the report, if one is asked for."""
    try:
        selected(config.getoption("--engine"))
        for text in config.getoption("--cases") or ():
            own.add(text)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    config.addinivalue_line("markers", "slow: takes many seconds; `-m 'not slow'` leaves it out")
    if any(config.getoption(name) for name in OUTPUTS):
        config.pluginmanager.register(OutcomeCollector(config), "spikecore.conformance.watch")


def pytest_collection_modifyitems(config: Any, items: Any) -> None:
    """With cases of another package, leave out the tests of all others."""
    if config.getoption("--cases"):
        others = [item for item in items if not own.is_of_them(item)]
        items[:] = [item for item in items if own.is_of_them(item)]
        config.hook.pytest_deselected(items=others)


def pytest_report_header(config: Any) -> str:
    """Say on which engines the suite runs."""
    engines, missing = selected(config.getoption("--engine"))
    absentees = "".join(f"; not here: {name} ({reason})" for name, reason in missing.items())
    return f"conformance engines: {', '.join(one.label for one in engines)}{absentees}"


def label_of(item: Any) -> Optional[str]:
    """The label of the engine that a test runs on; None for tests that are not the suite's."""
    function = getattr(item, "function", None)
    if (
        function is None
        or not function.__module__.startswith("spikecore.conformance.")
        or not hasattr(item, "callspec")
    ):
        return None
    return next((item.callspec.params[name].label for name in FIXTURES if name in item.callspec.params), None)


class OutcomeCollector:
    """Collects outcomes and writes the report. With pytest-xdist the workers say what each test is about."""

    def __init__(self, config: Any) -> None:
        self.config, self.deselected = config, 0
        self.outcomes: List[Outcome] = []
        self.not_run: List[str] = []

    def pytest_itemcollected(self, item: Any) -> None:
        """Note on a test of the suite its engine and the parts of the library that it is about."""
        label = label_of(item)
        if label is not None:
            item.user_properties.append((PROPERTY, [label, parts_of(item)]))

    def pytest_deselected(self, items: Any) -> None:
        """Count what is left out."""
        self.deselected += sum(label_of(item) is not None for item in items)

    def pytest_collectreport(self, report: Any) -> None:
        """Note a file that is skipped as a whole or broken."""
        if report.skipped or report.failed:
            self.not_run.append(f"{report.nodeid}: {_why(report)}")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note what became of a test."""
        about = dict(report.user_properties).get(PROPERTY)
        if about is not None and (report.when == "call" or not report.passed):
            label, parts = about
            test = f"test_{parts[-1][1]}.py::{report.nodeid.partition('::')[2]}"  # a file by itself has no name there
            self.outcomes.append(Outcome(label, test, parts, report.outcome, _why(report)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of pytest-xdist has left out."""
        deselected, not_run = getattr(node, "workeroutput", {}).get(PROPERTY, (0, []))
        self.deselected, self.not_run = deselected, list(dict.fromkeys((*self.not_run, *not_run)))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the files; a worker hands over what only it knows."""
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            self.not_run.append(f"pytest ended with {pytest.ExitCode(exitstatus).name}")
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput[PROPERTY] = (self.deselected, self.not_run)
            return
        data = self.data()
        page, badge = (self.config.getoption(name) for name in OUTPUTS)
        if page:
            _write(Path(page), json.dumps(data, indent=1))
            _write(Path(page).with_suffix(".md"), report.as_markdown(data))
        if badge:
            _write(Path(badge), json.dumps(report.badge(data)))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the report in a few lines."""
        terminalreporter.section("conformance")
        for line in report.as_lines(self.data()):
            terminalreporter.write_line(line)

    def data(self) -> Any:
        """The report of what has run."""
        engines, missing = selected(self.config.getoption("--engine"))
        said = {one.label: repr(one.make("float32")) for one in engines}
        not_run = [*self.not_run, *self._not_asked_for()]
        return report.as_data(SuiteRun(self.outcomes, said, missing, self.deselected, not_run))

    def _not_asked_for(self) -> List[str]:
        """The files of the suite of which nothing has run, but those that say why."""
        ran = {name for one in self.outcomes for kind, name in one.parts if kind == "topics"}
        files = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
        said = " ".join(self.not_run)
        left = [file for file in files if file[len("test_") :] not in ran and f"{file}.py" not in said]
        return [f"nothing ran of {', '.join(left)}"] if left else []


def _write(path: Path, text: str) -> None:
    write_atomically(path, (text + "\n" * (not text.endswith("\n"))).encode())


def _why(report: Any) -> str:
    """The reason of a skip, or the line that says what failed."""
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).replace("Skipped: ", "", 1)
    lines = [line for line in str(report.longrepr).splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
    return (errors or lines or ["no message"])[0][:300]
