"""Draws pictures while MkDocs builds the pages: they are what the pages' code saves, and are never committed.

The Python blocks of a page run in one namespace in the folder of the pictures, so that what ``savefig("raster.png")``
writes is what ``![…](pictures/raster.png)`` shows.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List

FOLDER = "pictures"
STYLE = Path(__file__).with_name("matplotlibrc")  # for light and for dark pages
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IMAGE = re.compile(rf"!\[[^\]]*\]\({FOLDER}/([^)]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures of all pages that show some to the files of the site."""
    from mkdocs.structure.files import File

    build = Path(config.config_file_path).parent / "build"
    shutil.rmtree(build / FOLDER, ignore_errors=True)  # what an earlier build wrote, such as a log
    for page in list(files.documentation_pages()):
        text = page.content_string
        for name in draw(text, build / FOLDER, page.src_uri) if IMAGE.search(text) else ():
            files.append(File(f"{FOLDER}/{name}", str(build), config.site_dir, config.use_directory_urls))
    return files


def draw(text: str, directory: Path, page: str = "gallery.md") -> List[str]:
    """Run the page's code in `directory`; returns the names of the pictures that the page shows."""
    import matplotlib

    names = IMAGE.findall(text)
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).unlink(missing_ok=True)  # an old one must not stand in for one that is no longer drawn
    namespace: Dict[str, Any] = {"__name__": "__main__"}  # a module that exists: dataclasses look for theirs
    with inside(directory), matplotlib.rc_context({"figure.dpi": 100}, fname=str(STYLE)):
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
