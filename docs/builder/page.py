"""Writes an executed notebook as a page in Markdown, and as a notebook to download."""

from __future__ import annotations

import base64
import copy
import re
from pathlib import Path
from typing import Any, List

DPI = 150  # as in matplotlibrc
PAGE_DPI = 100  # a picture of 7 inches fills the column, and has one and a half of its pixels for sharp screens


def write_page(notebook: Any, name: str, directory: Path) -> List[str]:
    """Write ``NAME.md`` and the pictures that it shows; returns the names of all files written."""
    written = [f"{name}.md"]
    parts: List[str] = []
    folded = False
    for number, cell in enumerate(notebook.cells, start=1):
        is_answer = "answer" in cell.metadata.get("tags", [])
        if is_answer != folded:
            parts.append("/// details | Show the answer\n    type: success\n" if is_answer else "///")
            folded = is_answer
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code" and cell.source.strip():
            parts.append(_fence(cell.source, "python"))
            said = ""
            for output in cell.outputs:
                data = output.get("data", {})
                if "image/png" not in data and "text/html" not in data:
                    said += (data.get("text/plain") or output.get("text", "")).rstrip() + "\n"
                    continue
                parts += [_fence(said.rstrip(), "text")] if said.strip() else []
                said = ""
                if "image/png" in data:
                    picture = f"{name}-{number}.png"
                    pixels = base64.b64decode(data["image/png"])
                    (directory / picture).write_bytes(pixels)
                    written.append(picture)
                    parts.append(_image(picture, cell.metadata["alt"], int.from_bytes(pixels[16:20], "big")))
                else:
                    parts.append(f'<div class="shown">{data["text/html"]}</div>')
            parts += [_fence(said.rstrip(), "text")] if said.strip() else []
    if folded:
        parts.append("///")
    line = f"[Download as a notebook]({name}.ipynb) · took {_seconds(notebook)} s on one core"
    text = "\n\n".join(parts) + "\n"
    title = re.search(r"^# .*$", text, re.MULTILINE)
    end = title.end() if title else 0
    (directory / f"{name}.md").write_text(f"{text[:end]}\n\n{line}\n{{ .download }}\n{text[end:]}", encoding="utf-8")
    return written


def download(notebook: Any) -> Any:
    """The notebook for readers: how long it takes, answers under a heading, links to other pages as plain words."""
    notebook = copy.deepcopy(notebook)
    took = f"Running all cells takes about {_seconds(notebook)} s on one core."
    cells: List[Any] = []
    before = False
    for cell in notebook.cells:
        is_answer = "answer" in cell.metadata.get("tags", [])
        if is_answer and not before:
            cells.append(type(cell)(cell_type="markdown", id=f"{cell.id}-answer", metadata={}, source="#### Answer"))
        before = is_answer
        if cell.cell_type == "markdown":  # the other pages do not lie beside it
            cell.source = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)\s]+\)", r"\1", cell.source)
            cell.source, took = "\n\n".join(filter(None, [cell.source, took])), ""
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata.pop("build", None)
    return notebook


def _seconds(notebook: Any) -> int:
    return max(round(notebook.metadata["build"]["seconds"]), 1)


def _fence(text: str, language: str) -> str:
    marks = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{marks}{language}\n{text}\n{marks}"


def _image(file: str, alt: str, pixels: int) -> str:
    quoted = alt.replace("[", "(").replace("]", ")")
    return f"![{quoted}]({file}){{ width={pixels * PAGE_DPI // DPI} }}"
