"""Drawings of the tutorials are what their code draws, can be read on light and dark pages, and are told in words."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as Tree

import pytest

from tests import ROOT
from tests.docs.browser_rig import Browser, chromium

DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)
sys.path.insert(0, str(DOCS / "builder"))
try:
    import drawings
finally:
    sys.path.remove(str(DOCS / "builder"))

NARROW = 358  # pixels that a telephone of 390 has for a picture
WHITE, SLATE = "#ffffff", "#1e2129"  # pages of the site, light and dark
PAGES = drawings.pages(DOCS)


def test_the_committed_drawings_are_what_the_code_draws():
    committed = {path.name: path.read_text(encoding="utf-8") for path in drawings.FOLDER.iterdir()}
    assert committed == drawings.files(), "`make pictures` writes them anew"


def test_tutorials_show_drawings_and_every_drawing_is_shown():
    tutorials = {page: shown for page, shown in PAGES.items() if page.startswith("tutorials/")}
    assert len(tutorials) == len(list((DOCS / "tutorials").glob("*.py")))
    assert min(len(shown) for shown in tutorials.values()) >= 2
    assert sum(len(shown) for shown in tutorials.values()) >= 30
    names = [name for shown in PAGES.values() for name, _ in shown]
    assert sorted(names) == sorted(drawings.DRAWINGS)


def test_every_drawing_is_told_in_words():
    told = {name: " ".join(alt.split()) for shown in PAGES.values() for name, alt in shown}
    assert {name: alt for name, alt in told.items() if len(alt) < 40} == {}


def test_building_removes_files_that_nothing_draws(tmp_path):
    (tmp_path / "old.svg").write_text("", encoding="utf-8")
    assert drawings.build(tmp_path) == len(drawings.DRAWINGS) == len(list(tmp_path.iterdir()))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", drawings.COLOURS)
def test_colours_are_clear_on_their_own_ground_and_readable_on_the_other(name):
    light, dark = drawings.COLOURS[name]
    assert min(contrast(light, WHITE), contrast(dark, SLATE)) >= 4.5
    assert min(contrast(light, SLATE), contrast(dark, WHITE)) >= 3


@pytest.mark.parametrize("name", drawings.DRAWINGS)
def test_a_drawing_is_a_small_picture_that_needs_nothing_else(name):
    text = drawings.DRAWINGS[name]().svg()
    assert len(text.encode()) < 60_000
    root = Tree.fromstring(text)
    width = float(root.get("viewBox").split()[2])
    assert drawings.SIZE * NARROW / width >= 10  # pixels on a narrow screen
    assert root.find("{*}title").text
    assert re.findall(r"url\(|href|@import", text) == []


def test_all_pictures_of_the_documentation_stay_small():
    pictures = [path for path in DOCS.rglob("*") if path.suffix in {".svg", ".png", ".gif"}]
    assert len(pictures) > 100
    assert sum(path.stat().st_size for path in pictures) < 8_000_000


FAULTS = """(() => {
    const {width, height} = document.documentElement.viewBox.baseVal
    const all = [...document.querySelectorAll('text')].map(one => [one.textContent, one.getBBox()])
    const beside = (a, b) => a.x + a.width < b.x + 2 || b.x + b.width < a.x + 2
    const below = (a, b) => a.y + a.height < b.y + 4 || b.y + b.height < a.y + 4
    const leaves = a => a.x < 0 || a.y < -2 || a.x + a.width > width || a.y + a.height > height + 2
    const faults = all.filter(([, a]) => leaves(a)).map(([said]) => said + ' is outside')
    all.forEach(([said, a], i) => all.slice(i + 1).forEach(
        ([other, b]) => { if (!beside(a, b) && !below(a, b)) faults.push(said + ' is on ' + other) }))
    return faults.join('; ')
})()"""


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_no_text_of_a_drawing_leaves_it_or_lies_on_another():
    pytest.importorskip("tornado")
    with Browser() as browser:
        for name in drawings.DRAWINGS:
            browser.open((drawings.FOLDER / f"{name}.svg").as_uri(), 600, "light")
            assert browser.value(FAULTS) == "", name
