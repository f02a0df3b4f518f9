"""A tutorial as a page in Markdown, which a code host shows as well as the site does, and as a notebook.

The page keeps what the cells showed. A tutorial whose text alone has changed gets it from there, and is not executed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

import equations
from percent import Cell

PICTURES = "pictures"  # the folder, beside the pages
ANSWER = '<details class="success" markdown>\n<summary>Show the answer</summary>'
IMAGE = re.compile(rf"^!\[[^\]]*\]\({PICTURES}/([\w-]+\.png)\)$", re.MULTILINE)
SHOWN = re.compile(  # what follows the code of a cell
    rf'(?:\n\n(?:(`{{3,}})text\n.*?\n\1|!\[[^\]]*\]\({PICTURES}/[^)]+\)|<div class="shown">\n.*?\n</div>)(?=\n))*',
    re.DOTALL,
)


Shown = List[str]  # for each cell the Markdown of what it showed


def of_notebook(notebook: Any, name: str) -> Tuple[Shown, Dict[str, bytes]]:
    """What an executed notebook shows, and its pictures by the names of their files."""
    pictures: Dict[str, bytes] = {}
    shown = []
    for cell in notebook.cells:
        parts: List[str] = []
        said = ""
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" not in data and "text/html" not in data:
                said += (data.get("text/plain") or output.get("text", "")).rstrip() + "\n"
                continue
            parts += [_fence(said.rstrip(), "text")] if said.strip() else []
            said = ""
            if "image/png" in data:
                picture = f"{name}-{len(pictures) + 1}.png"
                pictures[picture] = base64.b64decode(data["image/png"])
                parts.append(f"![]({PICTURES}/{picture})")
            else:  # a blank line would end the HTML
                parts.append('<div class="shown">\n' + re.sub(r"\n\s*\n", "\n", data["text/html"].strip()) + "\n</div>")
        parts += [_fence(said.rstrip(), "text")] if said.strip() else []
        shown.append("\n\n".join(parts))
    return shown, pictures


def of_page(text: str, cells: Sequence[Cell]) -> Optional[Shown]:
    """What a page shows; None if other code than that of the cells gave it."""
    if not text.endswith(_made_from(cells)):
        return None
    shown = []
    end = 0
    for cell in cells:
        said = ""
        if cell.kind == "code" and cell.source:
            code = _fence(cell.source, "python")
            start = text.find(code, end)
            if start < 0:
                return None
            found = SHOWN.match(text, start + len(code))
            said, end = (found[0].strip("\n"), found.end()) if found else ("", end)
            said = IMAGE.sub(rf"![]({PICTURES}/\1)", said)
        shown.append(said)
    return shown


def write_page(cells: Sequence[Cell], shown: Shown, name: str) -> str:
    """The page."""
    parts: List[str] = []
    folded = False
    for cell, said in zip(cells, shown):
        is_answer = "answer" in cell.tags
        if is_answer != folded:
            parts.append(ANSWER if is_answer else "</details>")
            folded = is_answer
        if cell.kind == "markdown":
            parts.append(equations.for_hosts(cell.source))
        elif cell.source:
            parts.append(_fence(cell.source, "python"))
            alt = cell.alt.replace("[", "(").replace("]", ")")
            parts += [IMAGE.sub(lambda image, alt=alt: f"![{alt}]({PICTURES}/{image[1]})", said)] if said else []
    if folded:
        parts.append("</details>")
    text = "\n\n".join(parts) + "\n\n"
    title = re.search(r"^# .*$", text, re.MULTILINE)
    end = title.end() if title else 0
    return f"{text[:end]}\n\n[Open as a notebook]({name}.ipynb){text[end:]}{_made_from(cells)}"


def write_notebook(cells: Sequence[Cell]) -> str:
    """The notebook, without outputs: answers under a heading, links to other notebooks."""
    written: List[Dict[str, Any]] = []

    def add(kind: str, source: str) -> None:
        cell = {"cell_type": kind, "id": f"cell-{len(written) + 1}", "metadata": {}, "source": source.splitlines(True)}
        written.append({**cell, "execution_count": None, "outputs": []} if kind == "code" else cell)

    before = False
    for cell in cells:
        is_answer = "answer" in cell.tags
        if is_answer and not before:
            add("markdown", "#### Answer")
        before = is_answer
        if cell.kind == "markdown":
            add("markdown", re.sub(r"\]\((?!index\b)(\w+)\.md([)#])", r"](\1.ipynb\2", cell.source))
        elif cell.source:
            add("code", cell.source)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": written, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _made_from(cells: Sequence[Cell]) -> str:
    """The last line of a page, which no reader sees: which code gave what it shows."""
    code = json.dumps([cell.source for cell in cells if cell.kind == "code"])
    return f"<!-- made from code {hashlib.sha256(code.encode()).hexdigest()[:16]} -->\n"


def _fence(text: str, language: str) -> str:
    marks = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{marks}{language}\n{text}\n{marks}"
