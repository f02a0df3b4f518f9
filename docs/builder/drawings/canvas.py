"""A canvas that writes SVG: lines, arrows, boxes, spikes and text, readable on light pages and on dark ones.

A picture in a page sees whether its reader prefers dark pages, and only that: a notebook may be light all the same. So
each colour is clear on its own ground and readable on the other. A drawing is 480 units wide and its text is 14 high,
so that it fits a column and can be read on a telephone.
"""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

Point = Tuple[float, float]

WIDTH, SHOWN = 480, 560  # units of a drawing, and the pixels that it takes where there is room
SIZE, SMALL = 14, 11  # of text, and of its indices
COLOURS = {  # on light pages, on dark ones
    "ink": ("#6a727d", "#878f99"),
    "blue": ("#1b75be", "#3293e2"),
    "orange": ("#c84605", "#f95807"),
    "green": ("#0a815e", "#0da175"),
    "purple": ("#ac4d9d", "#c074b4"),
}
SANS = "system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,sans-serif"
SERIF = "'STIX Two Text',Cambria,'Times New Roman',serif"
STYLE = (
    "".join(f".{name}{{color:{light}}}" for name, (light, _) in COLOURS.items())
    + "@media(prefers-color-scheme:dark){"
    + "".join(f".{name}{{color:{dark}}}" for name, (_, dark) in COLOURS.items())
    + f"}}text{{font:{SIZE}px {SANS};fill:currentColor}}.m{{font-family:{SERIF};font-style:italic;font-size:1.1em}}"
    + f".s{{font-size:{SMALL}px}}.b{{font-weight:600}}"
)
MARKS = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*|([_^])\{(.+?)\}|([^*_^]+|[*_^])")

DRAWINGS: Dict[str, Callable[[], Canvas]] = {}  # by the names of their files


def drawing(height: float, width: float = WIDTH) -> Callable[[Callable[[Canvas], None]], Callable[[Canvas], None]]:
    """Register a function that draws; its name is that of the file, its first line the title."""

    def register(draw: Callable[[Canvas], None]) -> Callable[[Canvas], None]:
        def made() -> Canvas:
            canvas = Canvas(height, width, (draw.__doc__ or "").strip().partition("\n")[0])
            draw(canvas)
            return canvas

        DRAWINGS[draw.__name__] = made
        return draw

    return register


class Canvas:
    """What is drawn, in order; x to the right, y downwards. Colours are names of COLOURS."""

    def __init__(self, height: float, width: float = WIDTH, title: str = "") -> None:
        self.height, self.width, self.title = height, width, title
        self.parts: List[str] = []

    def svg(self) -> str:
        """The file."""
        size = f'width="{number(self.width * SHOWN / WIDTH)}" height="{number(self.height * SHOWN / WIDTH)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {self.width} {self.height}">'
        title = f"<title>{escape(self.title)}</title>"
        return "\n".join([head, title, f"<style>{STYLE}</style>", *self.parts, "</svg>"]) + "\n"

    def add(self, tag: str, colour: str, text: str = "", **attributes: Any) -> None:
        """An element; attributes with the value None are left out, and underscores in their names are hyphens."""
        assert colour in COLOURS, colour
        given = {key.replace("_", "-"): value for key, value in attributes.items() if value is not None}
        said = "".join(f' {key}="{number(v) if isinstance(v, (int, float)) else v}"' for key, v in given.items())
        self.parts.append(f'<{tag} class="{colour}"{said}' + (f">{text}</{tag}>" if text else "/>"))

    def text(self, x: float, y: float, said: str, colour: str = "ink", anchor: str = "middle") -> None:
        """Lines of text, the first with its baseline at y. ``*U*`` is mathematics, ``**bold**``, ``_{j}``, ``^{2}``."""
        for row, line in enumerate(said.split("\n")):
            ends = None if anchor == "start" else anchor
            self.add("text", colour, _spans(line), x=x, y=y + 18 * row, text_anchor=ends)

    def line(self, *points: Point, colour: str = "ink", width: float = 1.5, dash: Any = None, fade: Any = None) -> None:
        """A line through points."""
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        stroke = {"stroke": "currentColor", "stroke_width": width, "stroke_dasharray": dash, "opacity": fade}
        self.add("polyline", colour, points=path, fill="none", stroke_linejoin="round", **stroke)

    def arrow(self, *points: Point, colour: str = "ink", width: float = 1.5, dash: Any = None, bend: float = 0) -> None:
        """A line that ends in a head at its last point; with two points, bent to its left by so many units."""
        (x, y), (end_x, end_y) = points[-2], points[-1]
        middle = None
        if bend:
            length = math.hypot(end_x - x, end_y - y)
            middle = (
                (x + end_x) / 2 + bend * 2 * (end_y - y) / length,
                (y + end_y) / 2 - bend * 2 * (end_x - x) / length,
            )
            x, y = middle
        length = math.hypot(end_x - x, end_y - y)
        a, b = (end_x - x) / length, (end_y - y) / length
        size = 5 + 1.5 * width
        back = end_x - size * a, end_y - size * b
        if middle:
            (start_x, start_y), (at_x, at_y) = points[0], middle
            where = f"M{number(start_x)} {number(start_y)}Q{number(at_x)} {number(at_y)} "
            where += f"{number(back[0])} {number(back[1])}"
            self.add(
                "path", colour, d=where, fill="none", stroke="currentColor", stroke_width=width, stroke_dasharray=dash
            )
        else:
            self.line(*points[:-1], back, colour=colour, width=width, dash=dash)
        half = size * 0.45
        corners = ((end_x, end_y), (back[0] - half * b, back[1] + half * a), (back[0] + half * b, back[1] - half * a))
        self.area(*corners, colour=colour, fade=1)

    def area(self, *corners: Point, colour: str = "ink", fade: float = 0.15) -> None:
        """A filled polygon."""
        path = " ".join(f"{number(x)},{number(y)}" for x, y in corners)
        self.add("polygon", colour, points=path, fill="currentColor", fill_opacity=None if fade == 1 else fade)

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        said: str = "",
        colour: str = "ink",
        fade: float = 0.12,
        **more: Any,
    ) -> None:
        """A rectangle with its upper left corner at (x, y), and text in its middle."""
        look = {"fill": "currentColor", "fill_opacity": fade, "stroke": "currentColor", "stroke_width": 1.5}
        self.add("rect", colour, **{**look, "x": x, "y": y, "width": w, "height": h, "rx": 4, **more})
        self.middle(x + w / 2, y + h / 2, said, colour)

    def disc(self, x: float, y: float, r: float, said: str = "", colour: str = "ink", fade: float = 0.12) -> None:
        """A circle with text in its middle; such as a neuron."""
        look = {"fill": "currentColor", "fill_opacity": fade, "stroke": "currentColor", "stroke_width": 1.5}
        self.add("circle", colour, cx=x, cy=y, r=r, **look)
        self.middle(x, y, said, colour)

    def middle(self, x: float, y: float, said: str, colour: str = "ink") -> None:
        """Lines of text around a point."""
        if said:
            self.text(x, y + 5 - 9 * said.count("\n"), said, colour)

    def spikes(self, x: float, y: float, w: float, when: Iterable[float], colour: str = "ink", h: float = 16) -> None:
        """A spike train: a base line, and a bar at each share of its width."""
        self.line((x, y), (x + w, y), colour="ink", width=1, fade=0.6)
        for share in when:
            self.line((x + w * share, y), (x + w * share, y - h), colour=colour, width=2.5)

    def axes(self, x: float, y: float, w: float, h: float, across: str = "", up: str = "") -> Frame:
        """Two arrows from the lower left corner of a frame whose upper left corner is (x, y), with their names."""
        self.arrow((x, y + h), (x, y - 6))
        self.arrow((x, y + h), (x + w + 6, y + h))
        self.text(x + w, y + h + 18, across, anchor="end")
        self.text(x + 8, y + 4, up, anchor="start")
        return Frame(x, y, w, h)


class Frame:
    """Where the points of a curve are: from (0, 0), the lower left corner, to (1, 1), the upper right one."""

    def __init__(self, x: float, y: float, w: float, h: float) -> None:
        self.x, self.y, self.w, self.h = x, y, w, h

    def __call__(self, across: float, up: float) -> Point:
        return self.x + self.w * across, self.y + self.h * (1 - up)

    def curve(self, ups: Sequence[float], first: float = 0, last: float = 1) -> List[Point]:
        """Values at equal distances from one place to another."""
        return [self(first + (last - first) * i / (len(ups) - 1), up) for i, up in enumerate(ups)]


def number(value: float) -> str:
    """With two digits after the point at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _spans(line: str) -> str:
    """The marks of a line of text as SVG."""
    parts, shift = [], 0
    for bold, maths, mark, index, plain in MARKS.findall(line):
        wanted = {"_": 4, "^": -5}.get(mark, 0)
        moved = f' dy="{wanted - shift}"' if wanted != shift else ""
        shift = wanted
        kind = "b" if bold else "m" if maths else "s" if mark else ""
        said = escape(bold or maths or index or plain, quote=False)
        style = f' class="{kind}"' if kind else ""
        parts.append(f"<tspan{moved}{style}>{said}</tspan>" if moved or style else said)
    return "".join(parts)
