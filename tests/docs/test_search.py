"""The site's search finds the page that answers an everyday question, by the script and index that browsers load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests import ROOT

SITE = ROOT / "build" / "site"
BUILDER = ROOT / "docs" / "builder"
if not BUILDER.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)
sys.path.insert(0, str(BUILDER))
try:
    import search
finally:
    sys.path.remove(str(BUILDER))

QUESTIONS = dict(
    line.split(" | ")
    for line in (ROOT / "tests/docs/search_questions.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
NAMES = ("Leaky", "Synaptic", "spike_count", "ce_rate_loss", "EarlyStopping", "Conv2d")
AT_LEAST = 0.925


@pytest.fixture(scope="module", name="found")
def first_three_results():
    """What each query finds first: places in the site, with anchors. One run, which builds the index once."""
    if shutil.which("node") is None:
        pytest.skip("the search is a script, which needs node")
    if not (SITE / "search" / "search_index.json").is_file():
        pytest.skip("build/site is not there: make docs")
    queries, script = [*QUESTIONS, *NAMES], str(ROOT / "tests/docs/search.js")
    ran = subprocess.run(
        ["node", script, str(SITE)],
        input="\n".join(queries),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return dict(zip(queries, map(json.loads, ran.stdout.splitlines())))


@pytest.mark.slow
def test_everyday_questions_find_their_page_among_the_first_three(found):
    missed = {
        question: found[question]
        for question, pages in QUESTIONS.items()
        if not {search.place(page) for page in pages.split()} & {each.partition("#")[0] for each in found[question]}
    }
    assert len(QUESTIONS) >= 100
    assert len(missed) <= (1 - AT_LEAST) * len(QUESTIONS), missed


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_name_finds_its_entry_in_the_reference(found, name):
    assert any(place.startswith(("reference/", "names/")) for place in found[name]), found[name]


def test_pages_and_words():
    typed = search.words("# a remark\nsaving.md: save a model, load\n\ntutorials/index.md: course\nindex.md: start\n")
    assert typed == {"saving/": ["save a model", "load"], "tutorials/": ["course"], "": ["start"]}


def test_weights_of_entries():
    places = {
        "reference/neurons/#a": "sc.Leaky",
        "reference/neurons/#b": "sc.LeakyParallel",
        "reference/models/#c": "sc.Model.fit",
        "reference/models/#d": "sc.Model",
        "x/#c": "Leaky",
        "design/": "Design",
        "saving/": "Saving",
    }
    entries = [{"location": where, "title": title} for where, title in places.items()]
    search.weigh(entries, {"saving/": ["save a model"]})
    boosts = [search.EXACT, search.NAME, search.REFERENCE, search.NAME, None, search.INSIDE, None]
    assert [each.get("boost") for each in entries] == boosts
    assert [each.get("tags") for each in entries] == [*[None] * 6, ["save a model"]]
