"""The README's chart says what the tables of docs/benchmarks.md say, and can be read on a narrow screen."""

from __future__ import annotations

import re
import sys

import pytest

from tests import ROOT

DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)
sys.path.insert(0, str(DOCS / "builder"))
try:
    import drawings
finally:
    sys.path.remove(str(DOCS / "builder"))

NARROW = 358  # pixels that a telephone of 390 has for a picture


@pytest.fixture(scope="module")
def page():
    return drawings.BENCHMARKS.read_text(encoding="utf-8")


def words(svg):
    return re.sub(r"<[^>]+>", " ", svg.partition("</style>")[2])


def test_the_committed_chart_is_that_of_the_page(page):
    assert drawings.CHART.read_text(encoding="utf-8") == drawings.chart(page), "`make pictures` writes it anew"


def test_its_text_can_be_read_on_a_narrow_screen(page):
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawings.chart(page))[1])
    assert drawings.SIZE * NARROW / width >= 10


def test_another_figure_is_another_chart(page):
    row = next(line for line in page.splitlines() if line.startswith("| Leaky | snnTorch |"))
    other = page.replace(row, re.sub(r"\| [\d.]+ \(", "| 12.3 (", row).replace("11×", "1.5×"))
    assert "1.5×" not in words(drawings.chart(page))
    assert "1.5×" in words(drawings.chart(other))


def test_a_row_that_is_gone_is_an_error(page):
    with pytest.raises(KeyError, match="snnTorch"):
        drawings.chart(page.replace("| Leaky | snnTorch |", "| Leaky | snnTorch 2 |"))
