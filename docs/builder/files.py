"""The page "Files": every file of the package with the first line of its own documentation."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, List

PAGE = "files.md"
HEAD = """# Files

Every file of the package in one line, which is the first line of the file itself. [Architecture](architecture.md) says
what each folder is for, and where to begin.
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the page to the files of the site."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    generated = File.generated(config, PAGE, content=listing(root / "spikecore"))
    generated.edit_uri = None
    files.append(generated)
    return files


def listing(package: Path) -> str:
    """The page, as Markdown."""
    folders: List[str] = [HEAD]
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        rows = [f"| `{path.name}` | {first_line(path)} |" for path in sorted(folder.glob("*.py")) if first_line(path)]
        name = folder.relative_to(package.parent).as_posix()
        folders.append("\n".join([f"## {name}/", "", "| file | |", "|---|---|", *rows, ""]))
    return "\n".join(folders)


def first_line(path: Path) -> str:
    """The first sentence or line of a module's docstring, with a table's characters escaped; "" without one."""
    documented = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = documented.partition("\n\n")[0].replace("\n", " ").replace("``", "`").replace("|", "\\|")
    return re.split(r"\.\s+(?=[A-Z`])", line)[0].rstrip(".")
