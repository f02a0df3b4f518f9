"""The tutorials of the documentation: executed, then shown with what they print and draw.

MkDocs runs this as a hook. ``python docs/builder/tutorials.py [NAME ...]`` executes them alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, List

from execute import ROOT, TutorialError, executed
from page import download, write_page

SOURCES = ROOT / "docs" / "tutorials"
BUILD = ROOT / "build"


def build(pages: List[Path], directory: Path) -> List[str]:
    """Write page, pictures and notebook of each tutorial into `directory`; returns the names of the files."""
    import nbformat

    written = []
    for name, notebook in executed(pages, directory / "executed").items():
        written += write_page(notebook, name, directory)
        nbformat.write(download(notebook), directory / f"{name}.ipynb")
        written.append(f"{name}.ipynb")
    return written


def on_files(files: Any, config: Any) -> Any:
    """Add the tutorials to the files of the site."""
    from mkdocs.exceptions import PluginError
    from mkdocs.structure.files import File

    directory = BUILD / "tutorials"
    try:
        names = build(sorted(SOURCES.glob("*.py")), directory)
    except TutorialError as error:
        raise PluginError(str(error)) from error
    for name in names:
        file = File.generated(config, f"tutorials/{name}", abs_src_path=str(directory / name))
        if name.endswith(".md"):
            file.edit_uri = f"tutorials/{name[:-3]}.py"
        files.append(file)
    return files


def main() -> int:
    """Execute the tutorials that are named, or all; returns the exit status."""
    parser = argparse.ArgumentParser(description="Execute the tutorials and write their pages into build/tutorials.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as lif_neuron; default: all")
    names = parser.parse_args().names
    pages = [SOURCES / f"{name}.py" for name in names] or sorted(SOURCES.glob("*.py"))
    missing = [page.stem for page in pages if not page.is_file()]
    if missing:
        have = ", ".join(sorted(page.stem for page in SOURCES.glob("*.py")))
        parser.error(f"no tutorial {', '.join(missing)} in docs/tutorials: there are {have}")
    start = time.perf_counter()
    try:
        build(pages, BUILD / "tutorials")
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(pages)} tutorials in {time.perf_counter() - start:.0f} s, in build/tutorials")
    return 0


if __name__ == "__main__":
    sys.exit(main())
