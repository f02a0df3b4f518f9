"""The Python blocks of the documentation run, page by page: the blocks of a page share one namespace."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types

import pytest

from tests import ROOT
from tests.docs import test_readme
from tests.docs.test_readme import PROMPTS, python_blocks, run, skip_without

DOCS = ROOT / "docs"
# Tutorials' pages are made from the files beside them, which `make tutorials-check` executes.
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not page.with_suffix(".py").is_file()]
# Pages that train or verify for many seconds: `make tutorials-check` runs them, and so does `.ci/run`.
LONG = {"attention", "exact_gradients", "gallery", "ipu", "memory", "verify"}
# What blocks that train reach at least, where the page says it, out of their names.
REACHED = {
    DOCS / "exact_gradients.md": (
        0.8,
        lambda n: n["sc"].eventprop.evaluate(n["network"], n["fitted"].params, n["test"], n["loss"]),
    )
}


@pytest.mark.skipif(not PAGES, reason="docs/ is not part of this tree")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.stem in LONG else ()) for page in PAGES],
    ids=[page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES],
)
def test_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.setattr(test_readme, "README", page)  # tracebacks then name the page
    monkeypatch.chdir(tmp_path)  # what the blocks save stays here
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "engines"))  # a page builds this package, and imports it
    module = types.ModuleType(f"docs_{page.stem}")  # dataclasses and pickle look their module up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    text = page.read_text(encoding="utf-8")
    for line, code in python_blocks(text):
        assert not code.lstrip().startswith(PROMPTS), f"{page.name}:{line}: write plain code, not a console session"
        skip_without(code)
        with contextlib.redirect_stdout(io.StringIO()):
            run(code, line, module.__dict__)
    if page in REACHED:
        least, measured = REACHED[page]
        assert measured(module.__dict__)["accuracy"] >= least
    for picture in re.findall(r"!\[[^\]]*\]\(pictures/([^)]+)\)", text):  # `make pictures` takes them from here
        assert (tmp_path / picture).is_file(), f"no block of {page.name} saves {picture!r}"
