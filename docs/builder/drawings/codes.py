"""How numbers become spikes, and spikes numbers."""

from __future__ import annotations

import math
from random import Random

from .canvas import Canvas, drawing
from .neurons import leaky


@drawing(height=246)
def codes(d: Canvas) -> None:
    """A bright, a grey and a dark pixel as a rate code and as a latency code; a signal as changes."""
    draw = Random(4)
    for column, name in enumerate(("rate", "latency", "delta")):
        d.text((141, 287, 422)[column], 16, f"**{name}**")
    for row, value in enumerate((0.9, 0.5, 0.15)):
        y = 64 + 48 * row
        d.text(12, y - 5, f"*x* = {value}", anchor="start")
        rate = [(i + 0.5) / 20 for i in range(20) if draw.random() < value]
        d.spikes(82, y, 118, rate, "blue", h=20)
        d.spikes(228, y, 118, [1 - value], "green", h=20)
    d.text(141, 190, "how often")
    d.text(287, 190, "how early")
    signal = [0.14 + 0.72 / (1 + math.exp(-(i - 16) / 2.2)) - 0.5 / (1 + math.exp(-(i - 42) / 3.2)) for i in range(60)]
    d.line(*((370 + 104 * i / 59, 118 - 80 * value) for i, value in enumerate(signal)), width=2)
    d.line((370, 150), (474, 150), width=1, fade=0.6)
    level = signal[0]
    for i, value in enumerate(signal):
        if abs(value - level) >= 0.12:
            up = value > level
            level += 0.12 if up else -0.12
            x = 370 + 104 * i / 59
            d.line((x, 150), (x, 132 if up else 168), colour="blue" if up else "orange", width=2.5)
    d.text(422, 190, "when it changes")
    d.arrow((82, 214), (474, 214))
    d.text(474, 234, "time", anchor="end")


@drawing(height=214)
def spike_array(d: Canvas) -> None:
    """An array of spikes with the axes time, batch and features: a sheet for each step."""
    draw = Random(5)
    w, h, right, up = 104, 68, 30, 18
    for sheet in range(5, -1, -1):
        x, y = 72 + right * sheet, 112 - up * sheet
        seen = [(x, y), (x + w, y), (x + w, y + h)]
        hidden = [(x + w - right, y + h), (x + w - right, y + up), (x, y + up)] if sheet else [(x, y + h)]
        d.area(*seen, *hidden, colour="blue", fade=0.09)
        d.line(*seen, *hidden, seen[0], colour="blue")
        for row in range(4):
            for column in range(7):
                a, b = x + 12 + 13.3 * column, y + 10 + 16 * row
                covered = sheet and a < x + w - right + 4 and b > y + up - 4
                if draw.random() < 0.35 and not covered:
                    d.disc(a, b, 2.4, colour="blue", fade=1)
    d.arrow((62, 112), (62, 184))
    d.text(54, 152, "batch", anchor="end")
    d.arrow((72, 190), (178, 190))
    d.text(124, 208, "features")
    d.arrow((186, 186), (344, 91), colour="orange")
    d.text(284, 150, "time", "orange", "start")
    d.text(342, 40, "*S*[*t*], one step:", "blue", "start")
    d.text(342, 60, "0 or 1 for each\nsample, feature", "blue", "start")


@drawing(height=222)
def latency_membrane(d: Canvas) -> None:
    """Membranes charged by a strong, a medium and a weak input reach the threshold early, late and never."""
    to = d.axes(40, 24, 330, 150, "time", "*U*(*t*)")
    theta = 0.42
    d.line(to(0, theta), to(1, theta), dash="5 4")
    d.text(378, to(0, theta)[1] + 5, "threshold *θ*", anchor="start")
    for x, colour, name in ((0.95, "blue", "bright"), (0.58, "green", "grey"), (0.3, "orange", "dark")):
        curve = [x * (1 - math.exp(-i / 60 * 3.2)) for i in range(61)]
        d.line(*to.curve(curve), colour=colour, width=2)
        if x > theta:
            when = math.log(x / (x - theta)) / 3.2
            d.line(to(when, theta), to(when, 0), colour=colour, dash="3 3")
            at, _ = to(when, 0)
            d.line((at, 174), (at, 192), colour=colour, width=3)
        d.text(378, to(1, curve[-1])[1] + 5, name + (": never" if x < theta else ""), colour, "start")
    d.text(40, 214, "the spike: early for a bright pixel, late for a grey one", anchor="start")


@drawing(height=252)
def level_crossing(d: Canvas) -> None:
    """Delta misses a slow rise; level crossing compares with the level that the receiver has."""
    signal = [0.1] * 6 + [0.1 + 0.0165 * i for i in range(34)] + [0.645] * 5 + [0.25] * 15
    to = d.axes(84, 24, 380, 130)
    d.line(*to.curve(signal), width=2)
    d.text(94, 44, "signal: slow, then a step", anchor="start")
    theta, level, levels, up, down = 0.15, 0.1, [], [], []
    for i, value in enumerate(signal):
        while abs(value - level) >= theta:
            (up if value > level else down).append(i / 59)
            level += theta if value > level else -theta
        levels.append(level)
    steps = []
    for i, value in enumerate(levels):
        steps += [to(i / 59, value), to((i + 1) / 60, value)]
    d.line(*steps, colour="green", width=2)
    d.text(to(0.5, 0)[0] + 6, to(0, 0.13)[1], "level of the receiver", "green", "start")
    d.text(74, 180, "delta", anchor="end")
    d.line((84, 180), (464, 180), width=1, fade=0.6)
    jump = 45 / 59
    d.line((84 + 380 * jump, 180), (84 + 380 * jump, 196), colour="orange", width=2.5)
    d.text(74, 222, "level", anchor="end")
    d.line((84, 222), (464, 222), width=1, fade=0.6)
    for when in up:
        d.line((84 + 380 * when, 222), (84 + 380 * when, 206), colour="blue", width=2.5)
    for place, when in enumerate(down):
        x = 84 + 380 * when + 5 * place
        d.line((x, 222), (x, 238), colour="orange", width=2.5)
    d.text(84, 248, "upwards +1, downwards −1", anchor="start")


@drawing(height=150)
def coding_pipeline(d: Canvas) -> None:
    """From data by an encoder to a network, and from its output spikes by a decoder to an answer."""
    draw = Random(2)
    d.text(42, 18, "data")
    for row in range(6):
        for column in range(6):
            fade = 0.75 * math.exp(-((((row - 2.5) ** 2 + (column - 2.5) ** 2) - 4.5) ** 2) / 9)
            d.box(12 + 10 * column, 28 + 10 * row, 10, 10, fade=round(fade, 2), rx=0, stroke_width=0.5)
    d.arrow((76, 58), (98, 58))
    d.box(98, 34, 76, 48, "encoder", "green")
    for row in range(3):
        d.spikes(186, 46 + 18 * row, 52, [(i + 0.5) / 8 for i in range(8) if draw.random() < 0.5], "blue", h=11)
    d.box(250, 34, 76, 48, "network", "blue")
    for row in range(2):
        d.spikes(
            338, 56 + 18 * row, 46, [(i + 0.5) / 7 for i in range(7) if draw.random() < (0.9, 0.25)[row]], "blue", h=11
        )
    d.box(396, 34, 76, 48, "decoder", "orange")
    d.arrow((434, 82), (434, 114))
    d.text(434, 134, "“a 0”", "orange")
    d.text(136, 106, "rate, latency,\ndelta …", "green")
    d.text(360, 106, "counts, first\nspike …")


@drawing(height=226)
def neurons_or_time(d: Canvas) -> None:
    """Twenty-five tosses of a coin: one neuron in 25 steps, five in five, twenty-five in one."""
    draw = Random(7)
    for column, (neurons, steps) in enumerate(((1, 25), (5, 5), (25, 1))):
        left, size = (12, 222, 392)[column], 7
        name = ("25 steps", "5 × 5", "1 step")[column]
        x, y = left + 30, 34
        for n in range(neurons):
            for t in range(steps):
                fade = 0.85 if draw.random() < 0.4 else 0.08
                d.box(x + size * t, y + size * n, size, size, colour="blue", fade=fade, rx=0, stroke_width=0.6)
        d.text(x + size * steps / 2 if column < 2 else x + 4, 22, f"**{name}**")
        d.text(x - 6, y + size * neurons / 2 + 5, str(neurons), anchor="end")
    d.text(130, 64, "one neuron, long")
    d.text(270, 92, "some of both")
    d.text(380, 120, "many, at\nonce", anchor="end")
    d.text(12, 180, "rows: neurons, columns: steps", anchor="start")
    d.text(12, 204, "the same error, √(*p*(1 − *p*) / 25)", "orange", "start")


@drawing(height=232)
def population_vote(d: Canvas) -> None:
    """A hidden layer, groups of output neurons, one for each class, and their votes."""
    draw = Random(9)
    for row in range(7):
        d.disc(40, 34 + 26 * row, 9, colour="ink")
    d.text(40, 222, "hidden")
    for group, (name, share) in enumerate((("class 0", 0.1), ("class 1", 0.85), ("class 2", 0.25))):
        y = 22 + 64 * group
        for row in range(7):
            d.line((50, 34 + 26 * row), (158, y + 24), width=0.8, fade=0.35)
        d.box(160, y, 132, 48, colour="blue", fade=0.04)
        votes = 0
        for i in range(20):
            fires = draw.random() < share
            votes += fires
            d.disc(
                172 + 12 * (i % 10),
                y + 15 + 18 * (i // 10),
                4.2,
                colour="orange" if fires else "blue",
                fade=1 if fires else 0.1,
            )
        d.arrow((292, y + 24), (322, y + 24))
        d.box(328, y + 14, 3.4 * votes, 20, colour="orange" if group == 1 else "ink", fade=0.5, stroke_width=0)
        d.text(334 + 3.4 * votes, y + 29, str(votes), "orange" if group == 1 else "ink", "start")
        d.text(474, y + 29, name, "orange" if group == 1 else "ink", "end")
    d.text(226, 222, "a group for each class")
    d.text(474, 222, "most votes win", "orange", "end")


@drawing(height=226)
def readouts(d: Canvas) -> None:
    """Three ways to read a number from a neuron: count its spikes, time one, take its membrane."""
    d.text(12, 46, "count", "blue", "start")
    d.spikes(98, 52, 226, [0.08, 0.2, 0.33, 0.46, 0.6, 0.72, 0.87], "blue")
    d.text(340, 46, "7: whole numbers", "blue", "start")
    d.text(12, 106, "time", "green", "start")
    d.spikes(98, 112, 226, [0.42], "green")
    d.arrow((98, 124), (192, 124), colour="green")
    d.text(340, 106, "one per spike", "green", "start")
    d.text(12, 184, "membrane", "orange", "start")
    membrane, _ = leaky([0.2 if i % 9 in (1, 4, 5) and i > 4 else 0 for i in range(62)], 0.93, threshold=9)
    d.line((98, 212), (324, 212), width=1, fade=0.6)
    d.line(*((98 + 226 * i / 61, 212 - 56 * value) for i, value in enumerate(membrane)), colour="orange", width=2)
    d.text(340, 176, "one per step,", "orange", "start")
    d.text(340, 196, "any real number", "orange", "start")


@drawing(height=232)
def membrane_sum(d: Canvas) -> None:
    """Each spike adds its weight to a membrane, which decays; a reset would tear a hole into the sum."""
    current = [0.0] * 50
    for step, weight in ((4, 0.5), (11, 0.42), (17, 0.5), (26, 0.3), (31, 0.45), (40, 0.4)):
        current[step] = weight
    d.spikes(60, 34, 400, [(i + 0.5) / 50 for i, value in enumerate(current) if value], "green")
    d.text(50, 30, "*S*", "green", "end")
    to = d.axes(60, 52, 394, 150, "time", "")
    d.text(50, 70, "*U*", anchor="end")
    whole, _ = leaky(current, 0.94, reset="none")
    torn, steps = leaky(current, 0.94)
    top = 1.5
    d.line(to(0, 1 / top), to(1, 1 / top), dash="5 4", width=1)
    d.text(464, to(0, 1 / top)[1] + 18, "*θ*", anchor="end")
    d.line(*to.curve([value / top for value in torn], 0.01), colour="orange", width=1.8, dash="5 3")
    d.line(*to.curve([value / top for value in whole], 0.01), colour="blue", width=2.2)
    x, y = to(steps[0] / 50, 0)
    d.text(x, y + 22, "with a reset: a hole", "orange", "start")
    d.text(to(0.56, 0)[0], 70, "without a reset: *Σ* *β*^{k} *w*", "blue", "start")
