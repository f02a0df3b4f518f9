"""Draws the gallery while MkDocs builds it: its pictures are what its code blocks draw, and are never committed.

Each Python block of ``gallery.md`` that is followed by an image ``pictures/…`` leaves what is to be seen in the
variable ``picture``: a figure for a PNG, an animation for a GIF.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Iterator, List

PAGE, FOLDER = "gallery.md", "pictures"
BLOCK_OR_IMAGE = re.compile(r"^```python\n(?P<code>.*?)^```$|!\[[^\]]*\]\((?P<image>[^)]+)\)", re.DOTALL | re.MULTILINE)
DPI = {".png": 100, ".gif": 72}


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures to the files of the site."""
    from mkdocs.structure.files import File

    page = files.get_file_from_path(PAGE)
    build = Path(config.config_file_path).parent / "build"
    names = draw(Path(page.abs_src_path).read_text(encoding="utf-8"), build)
    for name in names:
        files.append(File(name, str(build), config.site_dir, config.use_directory_urls))
    return files


def draw(text: str, directory: Path) -> List[str]:
    """Run the page's code, write its pictures under `directory`; returns their paths as the page names them."""
    namespace: Dict[str, Any] = {"__name__": "gallery"}
    names = []
    for line, code, image in parts(text):
        if code:
            exec(compile("\n" * line + code, PAGE, "exec"), namespace)
        else:
            (directory / image).parent.mkdir(parents=True, exist_ok=True)
            save(namespace.pop("picture"), directory / image)
            names.append(image)
    return names


def parts(text: str) -> Iterator[Any]:
    """(line, code, image) of every Python block and picture, in order; one of the last two is empty."""
    for match in BLOCK_OR_IMAGE.finditer(text):
        code, image = match["code"] or "", match["image"] or ""
        if code or image.startswith(FOLDER):
            yield text.count("\n", 0, match.start()) + 1, code, image


def save(picture: Any, path: Path) -> None:
    """A figure or an animation, by the ending of the file."""
    if path.suffix == ".gif":
        picture.save(path, writer="pillow", dpi=DPI[".gif"])
    else:
        picture.savefig(path, dpi=DPI[".png"], pil_kwargs={"optimize": True})
