"""The README's chart says what the tables of docs/benchmarks.md say."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests import ROOT

DOCS = ROOT / "docs"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="docs/ is not part of this tree")


@pytest.fixture(scope="module")
def chart():
    pytest.importorskip("matplotlib", reason="the extra plot")
    spec = importlib.util.spec_from_file_location("make_chart", DOCS / "make_chart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(svg):
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def test_the_committed_chart_is_that_of_the_page(chart):
    drawn = chart.draw(chart.PAGE.read_text(encoding="utf-8")).decode()
    assert words(chart.CHART.read_text(encoding="utf-8")) == words(drawn), "run python docs/make_chart.py"


def test_another_figure_is_another_chart(chart):
    page = chart.PAGE.read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| Leaky | snnTorch |"))
    other = page.replace(row, re.sub(r"\| [\d.]+ \(", "| 12.3 (", row).replace("11×", "1.5×"))
    assert "1.5×" in "".join(words(chart.draw(other).decode()))


def test_a_row_that_is_gone_is_an_error(chart):
    page = chart.PAGE.read_text(encoding="utf-8").replace("| Leaky | snnTorch |", "| Leaky | snnTorch 2 |")
    with pytest.raises(KeyError, match="snnTorch"):
        chart.draw(page)
