"""Cameras of events, convolutions, batches of sequences."""

from __future__ import annotations

import math
from random import Random

from .canvas import Canvas, drawing


@drawing(height=236)
def event_pixel(d: Canvas) -> None:
    """A pixel sends an event each time the logarithm of its brightness has changed by a threshold."""
    signal = [0.12 + 0.62 * math.exp(-(((i - 34) / 15) ** 2)) + 0.2 / (1 + math.exp(-(i - 74) / 4)) for i in range(101)]
    to = d.axes(40, 24, 420, 140, "", "log *I*")
    theta, level, points, events = 0.16, signal[0], [to(0, signal[0])], []
    for i, value in enumerate(signal):
        if abs(value - level) >= theta:
            up = value > level
            points.append(to(i / 100, level))
            level += theta if up else -theta
            points.append(to(i / 100, level))
            events.append((i / 100, up))
    d.line(*points, to(1, level), colour="green", dash="4 3")
    d.line(*to.curve(signal), colour="blue", width=2)
    x, y = points[1]
    d.text(x + 8, (y + points[2][1]) / 2 + 7, "*C*", "green", "start")
    d.text(to(0.52, 0)[0], to(0, 0.82)[1], "level that it remembers", "green", "start")
    d.line((40, 196), (460, 196), width=1, fade=0.6)
    for when, up in events:
        x = 40 + 420 * when
        d.line((x, 196), (x, 180 if up else 212), colour="blue" if up else "orange", width=2.5)
    d.text(40, 230, "ON: brighter", "blue", "start")
    d.text(250, 230, "OFF: darker", "orange")
    d.text(460, 230, "time", anchor="end")


@drawing(height=234)
def events_to_frames(d: Canvas) -> None:
    """Events on a line of time are counted in steps; each step is a frame of ON and of OFF counts."""
    draw = Random(11)
    times = sorted(
        [draw.gauss(0.13, 0.05) for _ in range(9)] + [draw.gauss(0.62, 0.1) for _ in range(16)] + [0.93, 0.36]
    )
    for when in times:
        if 0.01 < when < 0.99:
            on = draw.random() < 0.5
            x = 20 + 440 * when
            d.line((x, 60), (x, 44 if on else 76), colour="blue" if on else "orange", width=2)
    d.line((20, 60), (460, 60), width=1, fade=0.6)
    d.text(20, 24, "events: (*t*, *x*, *y*, *p*)", anchor="start")
    for edge in range(5):
        d.line((20 + 110 * edge, 34), (20 + 110 * edge, 92), width=1, dash="4 3")
    for step in range(4):
        x = 20 + 110 * step
        d.arrow((x + 55, 88), (x + 55, 116))
        busy = (0.5, 0.14, 0.62, 0.1)[step]
        for sheet, colour in ((1, "orange"), (0, "blue")):
            for row in range(5):
                for column in range(5):
                    if sheet and row > 0 and column < 4:
                        continue
                    fade = round(draw.choice((0.3, 0.6, 0.95)), 2) if draw.random() < busy else 0.05
                    d.box(
                        x + 18 + 13 * column + 11 * sheet,
                        134 + 13 * row - 11 * sheet,
                        13,
                        13,
                        colour=colour,
                        fade=fade,
                        rx=0,
                        stroke_width=0.6,
                    )
    d.text(20, 226, "frames: (time, polarity, height, width)", anchor="start")


@drawing(height=196)
def padded_batch(d: Canvas) -> None:
    """Recordings of unequal length in a batch: the shorter ones end in empty steps."""
    draw = Random(12)
    for row, length in enumerate((16, 9, 12)):
        y = 20 + 42 * row
        d.text(84, y + 20, f"sample {row}", anchor="end")
        for step in range(16):
            x = 96 + 23 * step
            real = step < length
            d.box(
                x,
                y,
                20,
                30,
                colour="blue" if real else "ink",
                fade=0.1 if real else 0,
                stroke_width=1.2 if real else 0.8,
                stroke_dasharray=None if real else "3 3",
                rx=2,
            )
            for dot in range(3):
                if real and draw.random() < 0.6:
                    d.disc(x + 6 + 8 * draw.random(), y + 6 + 9 * dot, 1.8, colour="blue", fade=1)
    d.arrow((96, 158), (464, 158))
    d.text(96, 178, "frames", "blue", "start")
    d.text(280, 178, "dashed: empty steps")
    d.text(464, 178, "time", anchor="end")


@drawing(height=232)
def conv_events(d: Canvas) -> None:
    """A convolution over events: each pixel that fired adds the kernel around itself, and nothing else is computed."""
    size = 17

    def grid(x: float, y: float, n: int, said: str) -> None:
        for row in range(n):
            for column in range(n):
                d.box(x + size * column, y + size * row, size, size, fade=0.02, rx=0, stroke_width=0.6)
        d.text(x + size * n / 2, y - 12, said)

    grid(12, 44, 8, "events")
    for row, column, colour in ((2, 2, "blue"), (5, 5, "orange")):
        d.box(12 + size * column, 44 + size * row, size, size, colour=colour, fade=0.9, rx=0)
    kernel = ((0.2, 0.5, 0.2), (0.5, 0.95, 0.5), (0.2, 0.5, 0.2))
    grid(192, 86, 3, "kernel")
    for row in range(3):
        for column in range(3):
            d.box(
                192 + size * column,
                86 + size * row,
                size,
                size,
                colour="green",
                fade=kernel[row][column],
                rx=0,
                stroke_width=0.6,
            )
    d.arrow((156, 112), (184, 112))
    d.arrow((252, 112), (314, 112))
    grid(322, 44, 8, "currents")
    for at_row, at_column, colour in ((2, 2, "blue"), (5, 5, "orange")):
        for row in range(3):
            for column in range(3):
                d.box(
                    322 + size * (at_column + column - 1),
                    44 + size * (at_row + row - 1),
                    size,
                    size,
                    colour=colour,
                    fade=kernel[row][column],
                    rx=0,
                    stroke_width=0.6,
                )
    d.text(12, 204, "2 of 64 pixels fired:", anchor="start")
    d.text(12, 224, "18 additions, and no multiplication", "green", "start")


@drawing(height=208)
def conv_network(d: Canvas) -> None:
    """The network 12C5-MP2-64C5-MP2-FC10: maps become smaller and more, and neurons stand behind each stage."""
    stages = (
        (28, 1, "1", "28 × 28"),
        (24, 3, "12", "24 × 24"),
        (12, 3, "12", "12 × 12"),
        (8, 5, "64", "8 × 8"),
        (4, 5, "64", "4 × 4"),
    )
    x, spots = 10.0, []
    for side, sheets, count, name in stages:
        edge = 16 + 1.9 * side
        for sheet in range(sheets - 1, -1, -1):
            left, top = x + 5 * sheet, 110 - edge / 2 - 5 * sheet
            if sheet:
                d.line(
                    (left, top + 5),
                    (left, top),
                    (left + edge, top),
                    (left + edge, top + edge),
                    (left + edge - 5, top + edge),
                    colour="blue",
                    width=1,
                )
            else:
                d.box(left, top, edge, edge, colour="blue", fade=0.12, rx=0)
        d.text(x + edge / 2 + 2.5 * (sheets - 1), 180, f"{count}\n{name}", "blue")
        spots.append((x, x + edge + 5 * (sheets - 1)))
        x += edge + 5 * (sheets - 1) + 26
    for column in range(10):
        d.disc(456, 44 + 14.4 * column, 5, colour="orange", fade=0.9 if column == 3 else 0.1)
    spots.append((450, 462))
    for index, (_, end) in enumerate(spots[:-1]):
        d.arrow((end + 3, 110), (spots[index + 1][0] - 3, 110))
    for index, name in enumerate(("C5", "MP2", "C5", "MP2", "FC10")):
        middle = (spots[index][1] + spots[index + 1][0]) / 2
        d.text(middle, 24, name)
        d.line((middle, 30), (middle, 102), width=0.8, fade=0.6, dash="3 3")


@drawing(height=214)
def pool_currents(d: Canvas) -> None:
    """The maximum of four currents is one of them; the maximum of four spikes has many equals."""
    for column, (name, values, note) in enumerate(
        (
            ("maximum of currents", (("0.3", "0.8"), ("1.1", "1.2")), "one maximum\ngets the gradient"),
            ("maximum of spikes", (("0", "0"), ("1", "1")), "two maxima:\none must be chosen"),
        )
    ):
        left = 20 + 240 * column
        d.text(left + 100, 18, f"**{name}**")
        best = max(values[0] + values[1])
        for row in range(2):
            for place in range(2):
                said = values[row][place]
                top = said == best
                d.box(
                    left + 46 * place,
                    40 + 46 * row,
                    44,
                    44,
                    said,
                    "orange" if top else "ink",
                    0.3 if top else 0.06,
                    rx=0,
                )
        d.arrow((left + 100, 86), (left + 146, 86))
        d.text(left + 123, 76, "max")
        d.box(left + 152, 64, 44, 44, best, "orange", 0.3, rx=0)
        for place in range(2):
            if values[1][place] == best:
                d.arrow(
                    (left + 174, 114),
                    (left + 174, 152 + 8 * place),
                    (left + 22 + 46 * place, 152 + 8 * place),
                    (left + 22 + 46 * place, 134),
                    colour="blue",
                    dash="4 3",
                )
        d.text(left + 98, 186, note, "blue")
