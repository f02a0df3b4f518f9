"""What a neuron is: its circuit, its membrane, its threshold, its answers."""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

from .canvas import Canvas, drawing


def leaky(
    current: Sequence[float], beta: float, threshold: float = 1.0, reset: str = "subtract"
) -> Tuple[List[float], List[int]]:
    """The membrane of a leaky neuron at each step, and the steps at which it fires."""
    mem, fired, membrane, steps = 0.0, False, [], []
    for step, given in enumerate(current):
        mem = beta * mem + given
        if fired:
            mem = {"subtract": mem - threshold, "zero": given, "none": mem}[reset]
        fired = mem > threshold
        membrane.append(mem)
        steps += [step] if fired else []
    return membrane, steps


@drawing(height=236)
def lif_circuit(d: Canvas) -> None:
    """The membrane as a circuit: a resistor and a capacitor in parallel, into which a current flows."""
    d.text(240, 20, "inside of the cell")
    d.arrow((72, 44), (122, 44), colour="orange", width=2)
    d.text(62, 49, "*I*(*t*)", "orange", "end")
    d.line((126, 44), (340, 44), (340, 104))
    d.line((190, 44), (190, 84))
    d.box(176, 84, 28, 56)
    d.text(166, 117, "*R*", anchor="end")
    d.line((190, 140), (190, 196))
    d.line((312, 104), (368, 104), width=3)
    d.line((312, 118), (368, 118), width=3)
    d.text(302, 116, "*C*", anchor="end")
    d.line((340, 118), (340, 196), (126, 196))
    for y in (44, 196):
        d.disc(126, y, 3, fade=1)
    d.arrow((216, 62), (216, 172), colour="orange")
    d.text(224, 122, "leaks", "orange", "start")
    d.arrow((352, 56), (352, 96), colour="orange")
    d.text(362, 80, "charges", "orange", "start")
    d.line((265, 196), (265, 206))
    for row, half in enumerate((14, 9, 4)):
        d.line((265 - half, 206 + 5 * row), (265 + half, 206 + 5 * row))
    d.text(288, 222, "outside", anchor="start")
    d.arrow((430, 190), (430, 50), colour="blue", width=2)
    d.text(438, 125, "*U*(*t*)", "blue", "start")


@drawing(height=190)
def lif_between(d: Canvas) -> None:
    """Three models of a nerve cell, from the most detailed one to the simplest."""
    names = ("Hodgkin–Huxley", "LIF", "artificial neuron")
    notes = ("4 equations:\nthe shape of a spike", "1 equation:\nthe time of a spike", "none:\nno time at all")
    for column, (name, note) in enumerate(zip(names, notes)):
        left = 14 + 160 * column
        d.text(left + 66, 18, f"**{name}**")
        d.box(left, 30, 132, 86, fade=0)
        d.text(left + 66, 138, note)
    shape = [math.exp(-(((i - 34) / 6) ** 2)) - 0.22 * math.exp(-(((i - 56) / 11) ** 2)) for i in range(100)]
    d.line(*((22 + 1.16 * i, 92 - 50 * value) for i, value in enumerate(shape)), colour="blue", width=2)
    membrane, steps = leaky([0.13] * 60, 0.93)
    d.line((178, 62), (302, 62), width=1, dash="4 3")
    d.line(*((180 + 2 * i, 106 - 44 * value) for i, value in enumerate(membrane)), colour="blue", width=2)
    for step in steps:
        d.line((180 + 2 * step, 54), (180 + 2 * step, 38), colour="orange", width=2.5)
    d.line(*((342 + 1.16 * i, 100 - 54 / (1 + math.exp(-(i - 50) / 9))) for i in range(100)), colour="blue", width=2)
    d.arrow((150, 182), (330, 182))
    d.text(142, 187, "detail", anchor="end")
    d.text(338, 187, "speed", anchor="start")


@drawing(height=262)
def lif_threshold(d: Canvas) -> None:
    """A membrane adds up its input, leaks, fires above the threshold, and is reset one step later."""
    current = [0.0] * 40
    for step in (3, 6, 9, 22, 31, 33):
        current[step] = 0.48
    membrane, steps = leaky(current, 0.9)
    d.text(84, 31, "input", anchor="end")
    d.spikes(94, 38, 374, [(i + 0.5) / 40 for i, value in enumerate(current) if value])
    to = d.axes(94, 66, 374, 130)
    d.text(84, 130, "membrane", anchor="end")
    top = 1.45
    d.line(to(0, 1 / top), to(1, 1 / top), dash="5 4", width=1.2)
    d.text(468, to(0, 1 / top)[1] - 7, "threshold *θ*", anchor="end")
    points = [(0.0, 0.0)]
    for i, value in enumerate(membrane):
        points += [(i / 40, value / top), ((i + 1) / 40, value / top)]
    d.line(*(to(a, b) for a, b in points), colour="blue", width=2)
    d.text(84, 236, "spikes", anchor="end")
    d.spikes(94, 242, 374, [(i + 0.5) / 40 for i in steps], "orange")
    first = steps[0]
    x, y = to((first + 1.4) / 40, 1.38 / top)
    d.text(x + 18, y + 5, "it fires …", "orange", "start")
    d.arrow((x + 14, y), to((first + 1.0) / 40, membrane[first] / top), colour="orange")
    x, y = to((first + 2.6) / 40, 0.62 / top)
    d.text(x + 22, y + 5, "… and loses *θ*", "orange", "start")
    d.arrow((x + 18, y), to((first + 1.1) / 40, 0.62 / top), colour="orange")
    d.text(468, 260, "time", anchor="end")
    x, y = to(25.3 / 40, 0.1 / top)
    d.text(x, y, "it leaks", "blue")


@drawing(height=196)
def lif_resets(d: Canvas) -> None:
    """The same input and three resets: by subtraction, to zero, none."""
    current = [0.0] * 24
    for step, size in ((2, 0.7), (4, 1.15), (12, 0.5), (15, 0.7)):
        current[step] = size
    notes = (
        "*U* − *θ*: what was\nabove it is kept",
        "*U* = 0: the rest\nis lost",
        "*U* stays: a voltage\nthat is read",
    )
    for column, (reset, note) in enumerate(zip(("subtract", "zero", "none"), notes)):
        left = 8 + 160 * column
        membrane, _ = leaky(current, 0.92, reset=reset)
        d.text(left + 70, 16, f"**{reset}**")
        to = d.axes(left, 34, 136, 104)
        d.line(to(0, 0.5), to(1, 0.5), dash="5 4", width=1.2)
        points = [(0.0, 0.0)]
        for i, value in enumerate(membrane):
            points += [(i / 24, value / 2), ((i + 1) / 24, value / 2)]
        d.line(*(to(a, b) for a, b in points), colour="blue", width=2)
        d.text(left + 70, 162, note)


@drawing(height=176)
def lif_coincidence(d: Canvas) -> None:
    """With a short time constant only spikes close together make a neuron fire; with a long one it counts them."""
    current = [0.0] * 36
    for step in (3, 5, 16, 25):
        current[step] = 0.6
    for column, (name, beta) in enumerate((("short *τ*: coincidences", 0.85), ("long *τ*: it counts", 0.985))):
        left = 8 + 244 * column
        membrane, steps = leaky(current, beta)
        d.text(left + 110, 16, name)
        d.spikes(left, 48, 220, [(i + 0.5) / 36 for i, value in enumerate(current) if value])
        to = d.axes(left, 60, 214, 84)
        d.line(to(0, 0.75), to(1, 0.75), dash="5 4", width=1.2)
        d.line(*to.curve([value / 1.34 for value in membrane], 0.5 / 36), colour="blue", width=2)
        for step in steps:
            x, y = to((step + 0.5) / 36, 0)
            d.line((x, 172), (x, 154), colour="orange", width=2.5)


@drawing(height=212)
def neuron_loop(d: Canvas) -> None:
    """The leaky neuron as a loop: input and what is left of the membrane are added, and compared with the threshold."""
    d.text(36, 97, "*X*[*t*]", "green")
    d.arrow((62, 92), (96, 92))
    d.box(96, 72, 44, 40, "*W*", "green")
    d.arrow((140, 92), (184, 92))
    d.disc(200, 92, 16, "+")
    d.arrow((216, 92), (262, 92))
    d.box(262, 72, 64, 40, "*U*[*t*]", "blue")
    d.arrow((326, 92), (366, 92))
    d.box(366, 72, 48, 40, "> *θ*", "orange")
    d.arrow((414, 92), (440, 92))
    d.text(444, 97, "*S*[*t*]", "orange", "start")
    d.arrow((294, 72), (294, 36), (200, 36), (200, 76), colour="blue")
    d.text(247, 28, "leak: × *β*", "blue")
    d.arrow((426, 92), (426, 158), (200, 158), (200, 108), colour="orange")
    d.text(313, 178, "reset: − *θ*, one step later", "orange")
    d.text(120, 136, "learned", "green")


@drawing(height=206)
def too_quiet_too_loud(d: Canvas) -> None:
    """Rasters of the same neurons with weights that are too small, right, and too large beside the threshold."""
    from random import Random

    draw = Random(3)
    cases = (
        ("too small", 0.012, "silent: says nothing"),
        ("fits", 0.18, "tells inputs apart"),
        ("too large", 0.93, "always on: says nothing"),
    )
    for column, (name, rate, note) in enumerate(cases):
        left = 8 + 160 * column
        d.text(left + 72, 16, f"**{name}**")
        d.box(left, 28, 144, 132, fade=0)
        for row in range(11):
            own = min(1.0, rate * draw.uniform(0.2, 1.8)) if column == 1 else rate
            for step in range(22):
                if draw.random() < own:
                    x = left + 8 + 6 * step
                    d.line(
                        (x, 35 + 11.2 * row), (x, 42 + 11.2 * row), colour=("ink", "blue", "orange")[column], width=2
                    )
        d.text(left + 72, 180, note.replace(": ", ":\n") if ":" in note else note)


@drawing(height=212)
def two_stages(d: Canvas) -> None:
    """A spike passes two leaky stages, the synaptic current and the membrane, before the threshold."""
    steps = range(40)
    syn = [0.0 if i < 4 else 0.86 ** (i - 4) for i in steps]
    mem, membrane = 0.0, []
    for value in syn:
        mem = 0.8 * mem + value
        membrane.append(mem)
    stages = (
        ("spikes in", "*X*", None),
        ("current *I*", "× *α*", syn),
        ("membrane *U*", "× *β*", [m / max(membrane) for m in membrane]),
    )
    for column, (name, factor, curve) in enumerate(stages):
        left = 6 + 160 * column
        colour = ("green", "purple", "blue")[column]
        d.text(left + 70, 18, name, colour)
        d.box(left, 62, 136, 84, colour=colour, fade=0.06)
        if curve is None:
            d.line((left + 10, 136), (left + 126, 136), width=1)
            d.line((left + 10 + 116 * 0.1, 136), (left + 10 + 116 * 0.1, 76), colour=colour, width=2.5)
        else:
            d.line(
                *((left + 10 + 116 * i / 39, 136 - 60 * value) for i, value in enumerate(curve)), colour=colour, width=2
            )
            d.arrow((left + 96, 62), (left + 96, 40), (left + 40, 40), (left + 40, 62), colour=colour)
            d.text(left + 104, 50, factor, colour, "start")
            d.arrow((left - 24, 104), (left, 104))
    d.text(74, 168, "one moment")
    d.text(234, 168, "jumps, then decays\nwhile channels close")
    d.text(394, 168, "rises, then falls:\nthe peak comes later")


@drawing(height=250)
def second_order_resets(d: Canvas) -> None:
    """States of Leaky, Synaptic and Alpha, their answers to a spike, and what a spike of their own resets."""
    alpha, beta, steps = 0.85, 0.72, range(26)
    answers = {
        "Leaky": [beta**i for i in steps],
        "Synaptic": [(alpha ** (i + 1) - beta ** (i + 1)) / (alpha - beta) for i in steps],
        "Alpha": [alpha**i - beta**i for i in steps],
    }
    states = {"Leaky": ["*U*"], "Synaptic": ["*I*", "*U*"], "Alpha": ["*I*_{exc}", "*I*_{inh}", "*U*"]}
    cleared = {"Leaky": ["*U*"], "Synaptic": ["*U*"], "Alpha": states["Alpha"]}
    for column, (name, answer) in enumerate(answers.items()):
        left = 12 + 160 * column
        d.text(left + 66, 16, f"**{name}**")
        to = d.axes(left, 34, 126, 84)
        top = 1.1 * max(answer)
        d.line(*([to(0, 0), to(0.12, 0)] + to.curve([value / top for value in answer], 0.12)), colour="blue", width=2)
        x, _ = to(0.12, 0)
        d.line((x, 126), (x, 140), colour="green", width=2.5)
        width = 40
        start = left + 63 - (len(states[name]) * (width + 6) - 6) / 2
        for place, state in enumerate(states[name]):
            reset = state in cleared[name]
            d.box(
                start + place * (width + 6),
                160,
                width,
                34,
                state,
                "orange" if reset else "ink",
                0.18 if reset else 0.05,
            )
    d.text(240, 222, "orange: reset by a spike of its own", "orange")
    d.text(240, 242, "grey: goes on")


@drawing(height=226)
def resonator_plane(d: Canvas) -> None:
    """The state of a resonator turns in a plane and shrinks; that of a leaky neuron only shrinks."""
    omega, rho = 0.5, 0.965
    u, v, path = 0.86, 0.0, [(0.86, 0.0)]
    for _ in range(46):
        u = rho * u - omega * v
        v = rho * v + omega * u
        path.append((u, v))
    x, y, scale = 130, 116, 92
    d.arrow((x - 108, y), (x + 122, y))
    d.arrow((x, y + 104), (x, y - 106))
    d.text(x + 124, y + 20, "*u*", "blue", "end")
    d.text(x - 10, y - 96, "*v*", anchor="end")
    d.line((x + 98, y - 92), (x + 98, y + 92), colour="orange", dash="5 4")
    d.text(x + 104, y - 80, "*θ*", "orange", "start")
    d.line(*((x + scale * a, y - scale * b) for a, b in path), colour="blue", width=2)
    d.disc(x + scale * path[0][0], y, 4, colour="blue", fade=1)
    to = d.axes(282, 18, 180, 84, "", "*u*: it swings")
    d.line(*to.curve([0.42 + 0.42 * a for a, _ in path]), colour="blue", width=2)
    to = d.axes(282, 132, 180, 66, "time", "leaky: it only decays")
    d.line(*to.curve([0.7 * 0.9**i for i in range(47)]), colour="green", width=2)
