"""Draws the pictures of pages, ``docs/pictures``, which are what the pages' own code saves.

The Python blocks of a page run in one namespace in an empty folder, so that what ``savefig("raster.png")`` writes is
what ``![…](pictures/raster.png)`` shows. ``python docs/builder/pictures.py [PAGE ...]`` draws those of pages whose code
has changed, and of those that are named; and ``drawings``, which are no plots, and the chart of Home, in any
case.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List

DOCS = Path(__file__).resolve().parents[1]
FOLDER = "pictures"
MADE_FROM = "made_from.json"  # in that folder: the code that drew the pictures of each page, as a hash
STYLE = Path(__file__).with_name("matplotlibrc")  # for light and for dark pages
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IMAGE = re.compile(rf"!\[[^\]]*\]\({FOLDER}/([^)]+)\)")


def shown(docs: Path) -> Dict[str, List[str]]:
    """The pictures that each page shows, for those that show some."""
    found = {page.name: IMAGE.findall(page.read_text(encoding="utf-8")) for page in sorted(docs.glob("*.md"))}
    return {page: names for page, names in found.items() if names}


def code_of(page: Path) -> str:
    """The hash of a page's code."""
    return hashlib.sha256("".join(BLOCK.findall(page.read_text(encoding="utf-8"))).encode()).hexdigest()[:16]


def made_from(docs: Path) -> Dict[str, str]:
    """The code that drew the pictures of each page, as its hash."""
    record = docs / FOLDER / MADE_FROM
    return dict(json.loads(record.read_text(encoding="utf-8"))) if record.is_file() else {}


def changed(docs: Path) -> List[str]:
    """The pages whose pictures are missing, or were drawn by other code."""
    known = made_from(docs)
    missing = {
        page for page, names in shown(docs).items() if not all((docs / FOLDER / each).is_file() for each in names)
    }
    return [page for page in shown(docs) if page in missing or known.get(page) != code_of(docs / page)]


def not_shown(docs: Path) -> List[Path]:
    """Pictures that no page shows."""
    names = {MADE_FROM}.union(*shown(docs).values())
    return [path for path in sorted((docs / FOLDER).glob("*")) if path.name not in names]


def build(docs: Path, pages: List[str]) -> None:
    """Draw the pictures of these pages, and remove those that no page shows."""
    known = made_from(docs)
    (docs / FOLDER).mkdir(exist_ok=True)
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            text = (docs / page).read_text(encoding="utf-8")
            for name in draw(text, Path(folder), page):
                (docs / FOLDER / name).write_bytes((Path(folder) / name).read_bytes())
        known[page] = code_of(docs / page)
    known = {page: code for page, code in sorted(known.items()) if page in shown(docs)}
    (docs / FOLDER / MADE_FROM).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    for path in not_shown(docs):
        path.unlink()


def draw(text: str, directory: Path, page: str = "gallery.md") -> List[str]:
    """Run the page's code in `directory`; returns the names of the pictures that the page shows."""
    import matplotlib

    names = IMAGE.findall(text)
    namespace: Dict[str, Any] = {"__name__": "__main__"}  # a module that exists: dataclasses look for theirs
    style = matplotlib.rc_context({"figure.dpi": 100}, fname=str(STYLE))
    with inside(directory), style, contextlib.redirect_stdout(io.StringIO()):
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start(1))
            exec(compile("\n" * line + block[1], page, "exec"), namespace)
    for name in names:
        if not (directory / name).is_file():
            raise FileNotFoundError(f'{page} shows {FOLDER}/{name}, and none of its blocks saves "{name}"')
    return names


@contextlib.contextmanager
def inside(directory: Path) -> Iterator[None]:
    """With this working directory."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the pages whose code has changed.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="drawn in any case, such as gallery.md")
    named = parser.parse_args().pages
    unknown = sorted(set(named) - set(shown(DOCS)))
    if unknown:
        parser.error(f"{', '.join(unknown)}: shows no picture of its code; these do: {', '.join(shown(DOCS))}")
    pages = named or changed(DOCS)
    build(DOCS, pages)
    import drawings  # beside this file, from where it is run

    drawings.CHART.write_text(drawings.chart(drawings.BENCHMARKS.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{len(pages)} pages drawn{': ' if pages else ''}{', '.join(pages)}; {drawings.build()} drawings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
