"""The tutorials as pages and notebooks, beside their sources: ``python docs/builder/tutorials.py [NAME ...]``.

A tutorial is executed if its code has changed, or if it is named. ``--check`` executes all of them, writes nothing, and
fails if they show something else than the pages. MkDocs runs this as a hook, which executes nothing.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import percent
from execute import TutorialError, execute
from page import IMAGE, PICTURES, Shown, of_notebook, of_page, write_notebook, write_page

FOLDER = Path(__file__).resolve().parents[1] / "tutorials"
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
FOLDER_NAME = re.compile(r"[^\s'\"]*/tmp\w+/")
DPI = 150  # as in matplotlibrc
SITE_DPI = 100  # a picture of 7 inches fills the column, and has one and a half of its pixels for sharp screens


def kept(source: Path) -> Tuple[List[percent.Cell], Any]:
    """The cells of a tutorial, and what its page shows; None in its place if the code has changed since."""
    page = source.with_suffix(".md")
    cells = percent.read(source.read_text(encoding="utf-8"))
    shown = of_page(page.read_text(encoding="utf-8"), cells) if page.is_file() else None
    pictures = [source.parent / PICTURES / name for said in shown or () for name in IMAGE.findall(said)]
    return cells, shown if all(picture.is_file() for picture in pictures) else None


def texts(source: Path, cells: List[percent.Cell], shown: Shown) -> Dict[Path, str]:
    """Page and notebook of a tutorial, by their paths."""
    page = write_page(cells, shown, source.stem)
    return {source.with_suffix(".md"): page, source.with_suffix(".ipynb"): write_notebook(cells)}


def build(sources: List[Path], again: bool = False) -> int:
    """Write pages, notebooks and pictures beside their sources, and remove what has none; how many were executed.

    Args:
        sources: percent files.
        again: execute also those whose code has not changed.

    Raises:
        TutorialError: see ``execute``; the page of that tutorial is left as it was.
    """
    found = {source: kept(source) for source in sources}
    unknown = [source for source, (_, shown) in found.items() if again or shown is None]

    def write(source: Path, shown: Shown) -> None:
        for path, text in texts(source, found[source][0], shown).items():
            path.write_text(text, encoding="utf-8")

    def draw_and_write(source: Path, notebook: Any) -> None:
        shown, drawn = of_notebook(notebook, source.stem)
        (source.parent / PICTURES).mkdir(exist_ok=True)
        for name, pixels in drawn.items():
            (source.parent / PICTURES / name).write_bytes(pixels)
        write(source, shown)

    for source in set(sources) - set(unknown):
        write(source, found[source][1])
    execute(unknown, draw_and_write)
    for path in [path for folder in {source.parent for source in sources} for path in without_source(folder)]:
        path.unlink()
    return len(unknown)


def stale(folder: Path) -> List[str]:
    """What in a folder of tutorials is not what ``build`` makes of the sources; nothing is executed."""
    faults = [f"{path.name} has no source" for path in without_source(folder)]
    for source in sorted(folder.glob("*.py")):
        cells, shown = kept(source)
        if shown is None:
            faults.append(f"{source.name}: its code is not that which gave what its page shows")
            continue
        for path, text in texts(source, cells, shown).items():
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                faults.append(f"{path.name} is not made from {source.name} as it is")
    return faults


def without_source(folder: Path) -> List[Path]:
    """Pages, notebooks and pictures that no tutorial has made."""
    made = [path for path in [*folder.glob("*.md"), *folder.glob("*.ipynb")] if path.name != "index.md"]
    shown = {name for page in folder.glob("*.md") for name in IMAGE.findall(page.read_text(encoding="utf-8"))}
    pictures = [path for path in folder.glob(f"{PICTURES}/*") if path.name not in shown]
    return sorted([*(path for path in made if not path.with_suffix(".py").is_file()), *pictures])


def check(sources: List[Path]) -> List[str]:
    """Execute tutorials; returns how what they show differs from their pages, apart from numbers.

    Another processor rounds otherwise, which a training makes visible.
    """
    faults: List[str] = []

    def compare(source: Path, notebook: Any) -> None:
        both = kept(source)[1] or [], of_notebook(notebook, source.stem)[0]
        before, now = ("\n\n".join(map(masked, shown)) for shown in both)
        if before != now:
            lines = difflib.unified_diff(before.split("\n"), now.split("\n"), "the page", "now", lineterm="", n=1)
            faults.append("\n".join([f"{source.name} shows something else than its page:", *lines]))

    execute(sources, compare)
    return faults


def masked(text: str) -> str:
    """The text with every number as #, whatever room it takes, and without the names of temporary folders."""
    text = FOLDER_NAME.sub("", text)
    return "\n".join(" ".join(NUMBER.sub("#", line).split()) for line in text.split("\n"))


def on_files(files: Any, **kwargs: Any) -> Any:
    """A reader who edits a page of the site edits its source."""
    del kwargs
    for file in files.documentation_pages():
        if (FOLDER / f"{file.name}.py").is_file() and file.src_uri.startswith("tutorials/"):
            file.edit_uri = f"tutorials/{file.name}.py"
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Give the pictures of tutorials their width on the site; a code host shows them as wide as fits."""
    del kwargs
    return IMAGE.sub(wide, markdown) if page.file.src_uri.startswith("tutorials/") else markdown


def wide(image: Any) -> str:
    """The image with its width as an attribute."""
    pixels = int.from_bytes((FOLDER / PICTURES / image[1]).read_bytes()[16:20], "big")
    return f"{image[0]}{{ width={pixels * SITE_DPI // DPI} }}"


def main() -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the pages of the tutorials; execute those whose code changed.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="executed in any case, such as lif_neuron")
    parser.add_argument("--check", action="store_true", help="execute, write nothing, and compare with the pages")
    args = parser.parse_args()
    sources = [FOLDER / f"{name}.py" for name in args.names] or sorted(FOLDER.glob("*.py"))
    missing = [source.stem for source in sources if not source.is_file()]
    if missing:
        have = ", ".join(sorted(source.stem for source in FOLDER.glob("*.py")))
        parser.error(f"no tutorial {', '.join(missing)} in docs/tutorials: there are {have}")
    start = time.perf_counter()
    try:
        faults = check(sources) if args.check else []
        count = len(sources) if args.check else build(sources, again=bool(args.names))
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 1
    print(*faults, sep="\n\n", file=sys.stderr, end="\n" if faults else "")
    if faults:
        names = " ".join(fault.partition(".py ")[0] for fault in faults)
        print(f'\nIf that is right, `make tutorials NAMES="{names}"` writes these pages anew.', file=sys.stderr)
    print(f"{len(sources)} tutorials, {count} executed in {time.perf_counter() - start:.0f} s")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
