"""The picture of docs/what_it_learns.md, drawn from the table of that page."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Tuple

from .canvas import Canvas, drawing

PAGE = Path(__file__).resolve().parents[2] / "what_it_learns.md"
COLUMNS = ("recipe", "logistic or ridge", "MiniRocket or trees", "snnTorch")
ROW, LEFT, RIGHT, LEAST = 21, 192, 440, 10  # LEAST: percent at the left end of the axis


def accuracies(text: str) -> List[Tuple[str, Dict[str, float]]]:
    """The rows of the table that are in percent: the name of a set, and the figure of each method that has one."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    start = next(i for i, cells in enumerate(lines) if cells[0] == "set")
    rows = []
    for cells in lines[start + 2 :]:
        by_name = dict(zip(lines[start], cells))
        if "error" not in cells[0]:
            rows.append(
                (cells[0].replace(" \\*", ""), {name: float(by_name[name]) for name in COLUMNS if by_name[name] != "–"})
            )
    return rows


TABLE = accuracies(PAGE.read_text(encoding="utf-8"))


@drawing(height=50 + ROW * len(TABLE) + 24)
def learned(d: Canvas) -> None:
    """Accuracy of the recipe and of other methods on sets that packages carry."""
    bottom = 50 + ROW * len(TABLE)
    for x, y, colour, shape, said in (
        (8, 14, "orange", "disc", "**recipe**"), (192, 14, "ink", "disc", "logistic or ridge, the better"),
        (8, 34, "ink", "box", "MiniRocket or trees"), (192, 34, "blue", "line", "snnTorch, tutorial 5"),
    ):  # fmt: skip
        _mark(d, x, y, colour, shape)
        d.text(x + 12, y + 5, said, anchor="start")
    for share in (20, 40, 60, 80, 100):
        x = _at(share)
        d.line((x, 46), (x, bottom), width=1, fade=0.25)
        d.text(x, bottom + 18, f"{share} %" if share == 100 else f"{share}")
    for number, (name, by_method) in enumerate(TABLE):
        y = 50 + ROW * number + ROW / 2
        d.text(LEFT - 10, y + 5, name, anchor="end")
        if "snnTorch" in by_method:
            _mark(d, _at(by_method["snnTorch"]), y, "blue", "line")
        if "MiniRocket or trees" in by_method:
            _mark(d, _at(by_method["MiniRocket or trees"]), y, "ink", "box")
        _mark(d, _at(by_method["logistic or ridge"]), y, "ink", "disc")
        _mark(d, _at(by_method["recipe"]), y, "orange", "disc")


def _at(percent: float) -> float:
    return LEFT + (RIGHT - LEFT) * (percent - LEAST) / (100 - LEAST)


def _mark(d: Canvas, x: float, y: float, colour: str, shape: str) -> None:
    if shape == "disc":
        d.disc(x, y, 5, colour=colour, fade=0.9 if colour == "orange" else 0.1)
    elif shape == "box":
        d.box(x - 4, y - 4, 8, 8, colour=colour, fade=0.5, rx=0)
    else:
        d.line((x, y - 7), (x, y + 7), colour=colour, width=3)
