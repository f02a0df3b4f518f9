"""The site's search answers in users' words, and shows guides before internals.

The theme finds a page by its title and text. ``docs/search.txt`` adds what people type who look for it; a page is found
by these words as by a title. Entries of the reference count less than guides; pages about the library's inside least.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parents[2]
WORDS = ROOT / "docs" / "search.txt"
TAGS = 2_000.0  # what such words count; a title counts 1,000, text 1
REFERENCE, INSIDE = 0.5, 0.1
NAME = 4  # a class or function behind `sc.`; else nobody who types Synaptic would find it
EXACT = 6  # the same where the name is the beginning of others
INTERNALS = (
    "adding/",
    "architecture/",
    "design/",
    "files/",
    "kernel_internals/",
    "names/",
    "packages_on_top/",
    "project/changelog/",
)


def words(text: str) -> Dict[str, List[str]]:
    """What people type, by the page's place in the site."""
    lines = [line.partition(": ") for line in text.splitlines() if line and not line.startswith("#")]
    return {place(page): [each.strip() for each in typed.split(",")] for page, _, typed in lines}


def place(page: str) -> str:
    """Where a page's source lands: ``saving.md`` in ``saving/``, ``tutorials/index.md`` in ``tutorials/``."""
    return page[: -len("index.md")] if page.endswith("index.md") else f"{page[: -len('.md')]}/"


def on_post_build(config: Any, **kwargs: Any) -> None:
    """Write the weights and words into the index that browsers load.

    Raises:
        PluginError: ``docs/search.txt`` names a page that is not there.
    """
    from mkdocs.exceptions import PluginError

    del kwargs
    index = Path(config.site_dir) / "search" / "search_index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    typed = words(WORDS.read_text(encoding="utf-8"))
    absent = sorted(set(typed) - {entry["location"] for entry in content["docs"]})
    if absent:
        raise PluginError(f"docs/search.txt names pages that are not there: {', '.join(absent)}")
    weigh(content["docs"], typed)
    content["config"]["fields"]["tags"] = {"boost": TAGS}
    index.write_text(json.dumps(content), encoding="utf-8")


def weigh(entries: List[Dict[str, Any]], typed: Dict[str, List[str]]) -> None:
    """Give entries of the index their words and weights.

    A query's words are taken for beginnings of words. So "Leaky" would find ``LeakyParallel`` as well as ``Leaky``:
    a name that begins others counts more.
    """
    named = [entry for entry in entries if entry["location"].startswith("reference/") and "#" in entry["location"]]
    names = {name_in(entry) for entry in named}
    for entry in entries:
        if entry["location"] in typed:
            entry["tags"] = typed[entry["location"]]
        if entry["location"].startswith("reference/"):
            entry["boost"] = REFERENCE
        elif entry["location"].startswith(INTERNALS):
            entry["boost"] = INSIDE
    for entry in named:
        name = name_in(entry)
        if str(entry["title"]).count(".") == 1:
            entry["boost"] = NAME
        if name and any(other != name and other.startswith(name) for other in names):
            entry["boost"] = EXACT


def name_in(entry: Dict[str, Any]) -> str:
    """The last part of the name that an entry of the reference is about."""
    return str(entry["title"]).rpartition(".")[2]
