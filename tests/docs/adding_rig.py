"""The files of docs/adding.md and docs/own_loss.md, as somebody writes them in a folder of their own."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from tests import ROOT
from tests.docs.test_readme import python_blocks

PAGE = ROOT / "docs" / "adding.md"
PAGES = (PAGE, PAGE.with_name("own_loss.md"))
NAMES = ("mixed_pool", "rms_norm", "tired", "cosine", "margin", "sign_step", "power_pool")
needs_page = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")


@pytest.fixture(name="outside", scope="module")
def files(tmp_path_factory):
    """The pages' files in a folder on Python's path."""
    place = tmp_path_factory.mktemp("outside")
    for _, code in (block for page in PAGES for block in python_blocks(page.read_text(encoding="utf-8"))):
        name = re.match(r"# (\w+)\.py\n", code)
        if name:
            (place / f"{name[1]}.py").write_text(code, encoding="utf-8")
    sys.path.insert(0, str(place))
    yield place
    sys.path.remove(str(place))
    for name in NAMES:
        sys.modules.pop(name, None)


def own_part(name):
    """Something of the page by "module:name"."""
    module, _, thing = name.partition(":")
    return getattr(importlib.import_module(module), thing)
