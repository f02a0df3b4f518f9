"""Gradients: surrogates, backpropagation through time, rules that go forwards, spike timing."""

from __future__ import annotations

import math

from .canvas import Canvas, drawing


@drawing(height=216)
def surrogate_step(d: Canvas) -> None:
    """Forwards a spike is a step; backwards the derivative of a smooth curve takes the place of the step's."""
    left = d.axes(24, 34, 190, 120, "*U* − *θ*")
    d.text(119, 18, "**forwards: the spike**")
    d.line(left(0, 0), left(0.5, 0), left(0.5, 0.9), left(1, 0.9), colour="orange", width=2.5)
    smooth = [0.9 * (math.atan(math.pi * (i - 50) / 14) / math.pi + 0.5) for i in range(101)]
    d.line(*left.curve(smooth), colour="blue", dash="4 3")
    d.text(left(0.46, 0)[0], left(0, 0.9)[1] + 6, "*Θ*", "orange", "end")
    right = d.axes(266, 34, 190, 120, "*U* − *θ*")
    d.text(361, 18, "**backwards: its slope**")
    bell = [0.8 / (1 + (math.pi * (i - 50) / 20) ** 2) for i in range(101)]
    d.area(*right.curve(bell), colour="blue")
    d.line(*right.curve(bell), colour="blue", width=2.5)
    d.line(right(0, 0), right(0.5, 0), right(0.5, 1), right(0.5, 0), right(1, 0), colour="orange", width=2)
    d.text(right(0.56, 0)[0], right(0, 0.97)[1], "0 or ∞", "orange", "start")
    d.text(right(0.61, 0)[0], right(0, 0.5)[1], "surrogate", "blue", "start")
    d.text(119, 200, "0 or 1, as always")
    d.text(361, 200, "close to *θ*: it learns most")


@drawing(height=236)
def weight_over_time(d: Canvas) -> None:
    """One weight is used at every step, so its gradient is a sum over steps."""
    d.box(204, 18, 72, 38, "*W*", "green", 0.2)
    for step in range(4):
        x = 26 + 120 * step
        d.arrow((240, 56), (x + 34, 98), colour="green")
        d.box(x, 100, 68, 38, f"*U*[{step}]", "blue")
        if step < 3:
            d.arrow((x + 68, 113), (x + 120, 113), colour="blue")
            d.arrow((x + 120, 127), (x + 68, 127), colour="orange", dash="4 3")
        d.arrow((x + 24, 138), (x + 24, 176), colour="blue")
        d.arrow((x + 44, 176), (x + 44, 138), colour="orange", dash="4 3")
        d.text(x + 34, 194, f"*L*[{step}]", "ink")
    d.text(240, 107, "*β*", "blue")
    d.text(26, 226, "forwards", "blue", "start")
    d.text(116, 226, "backwards: every path from a loss to *W*", "orange", "start")


@drawing(height=262)
def bptt_graph(d: Canvas) -> None:
    """The steps of a neuron as a graph: where the membrane goes, with the derivative at each edge; the reset is cut."""
    for step in range(3):
        x = 40 + 160 * step
        name = ("*t*−1", "*t*", "*t*+1")[step]
        d.box(x, 122, 70, 40, f"*U*[{name}]", "blue", 0.2 if step == 1 else 0.1)
        d.box(x, 30, 70, 40, f"*S*[{name}]", "orange")
        d.arrow((x + 20, 122), (x + 20, 72), colour="ink")
        d.arrow((x + 50, 70), (x + 50, 120), colour="orange", dash="4 3")
        d.text(x + 56, 102, "*σ*′", "orange", "start")
        d.arrow((x + 20, 204), (x + 20, 164), colour="ink")
        d.text(x + 20, 222, "*I*", "green")
        if step < 2:
            d.arrow((x + 70, 134), (x + 160, 134))
            d.arrow((x + 160, 150), (x + 70, 150), colour="orange", dash="4 3")
            d.text(x + 115, 170, "*β*", "orange")
            d.line((x + 70, 50), (x + 92, 50), (x + 130, 92))
            d.arrow((x + 130, 92), (x + 158, 124))
            d.line((x + 104, 78), (x + 122, 66), colour="purple", width=2.5)
    d.text(98, 20, "reset: no derivative", "purple", "start")
    d.arrow((160, 24), (156, 58), colour="purple", width=1)
    d.text(40, 250, "grey: forwards", "ink", "start")
    d.text(440, 250, "orange: backwards, to *λ*[*t*]", "orange", "end")


@drawing(height=256)
def three_witnesses(d: Canvas) -> None:
    """A gradient is compared with finite differences, with autograd, and with a second engine."""
    d.box(150, 14, 180, 40, "forward pass", "blue")
    names = ("finite\ndifferences", "automatic\ndifferentiation", "the library’s\nengines")
    notes = ("of smooth spikes", "PyTorch’s own", "another loop")
    for column, (name, note) in enumerate(zip(names, notes)):
        x = 12 + 158 * column
        d.arrow((240, 54), (x + 70, 84), colour="blue")
        d.box(x, 86, 140, 52, name, "green")
        d.text(x + 70, 158, note)
        d.arrow((x + 70, 164), (240, 196) if column == 1 else (x + 70 + (1 - column) * 92, 196), colour="green")
    d.box(150, 198, 180, 44, "your gradient: equal?", "orange")


@drawing(height=224)
def three_factors(d: Canvas) -> None:
    """A synapse, its neuron and the learning signal: the three factors of e-prop."""
    d.arrow((20, 120), (150, 120), colour="green", width=2)
    d.spikes(24, 102, 100, [0.1, 0.28, 0.36, 0.7, 0.86], "green", h=14)
    d.disc(168, 120, 10, colour="purple", fade=0.5)
    d.text(168, 98, "*w*_{j}", "purple")
    d.arrow((178, 120), (246, 120), colour="purple", width=2)
    d.disc(280, 120, 32, "*U*[*t*]", "blue")
    d.arrow((312, 120), (450, 120), colour="blue", width=2)
    d.spikes(336, 108, 100, [0.3, 0.8], "blue", h=14)
    d.text(16, 152, "**presynaptic**", "green", "start")
    d.text(16, 173, "*e*_{j}: recent input,", "green", "start")
    d.text(16, 195, "leaking by *β*", "green", "start")
    d.text(280, 178, "**postsynaptic**", "blue")
    d.text(280, 198, "*σ*′: how close to\nthe threshold", "blue")
    d.text(280, 20, "**learning signal**", "orange")
    d.text(280, 40, "∂*L*/∂*S*: more or fewer spikes?", "orange")
    d.arrow((280, 48), (280, 84), colour="orange", width=2)


@drawing(height=252)
def missing_path(d: Canvas) -> None:
    """The way from an early spike of layer 1 to a late loss through the memory of layer 2, which e-prop leaves out."""
    for row in range(2):
        for step in range(4):
            x, y = 84 + 100 * step, 160 - 74 * row
            d.box(x, y, 58, 36, f"*U*_{{{row + 1}}}", ("blue", "green")[row])
            if step < 3:
                missing = row == 1
                d.arrow(
                    (x + 58, y + 18),
                    (x + 100, y + 18),
                    colour="orange" if missing else "blue",
                    dash="5 4" if missing else None,
                    width=2,
                )
            if row == 0:
                d.arrow((x + 29, y), (x + 29, y - 36))
            else:
                d.arrow((x + 29, y), (x + 29, y - 30))
    d.text(74, 183, "layer 1", "blue", "end")
    d.text(74, 109, "layer 2", "green", "end")
    for step in range(4):
        d.text(113 + 100 * step, 46, f"*L*[{step}]")
    d.text(12, 18, "learning signal of a step: through layers, not through time", anchor="start")
    d.text(84, 226, "memory of the layer’s own: in the trace", "blue", "start")
    d.text(84, 246, "memory of the layer behind: left out", "orange", "start")


@drawing(height=206)
def truncated_bptt(d: Canvas) -> None:
    """BPTT goes back to the first step; with a window of four steps the gradient is cut every four steps."""
    for row, (name, window) in enumerate((("BPTT", 12), ("window of 4", 4))):
        y = 46 + 86 * row
        d.text(14, y - 18, f"**{name}**", anchor="start")
        for step in range(12):
            x = 14 + 38.5 * step
            d.box(x, y, 26, 26, colour="blue")
            if step < 11:
                cut = (step + 1) % window == 0
                if cut:
                    d.line((x + 32.2, y - 8), (x + 32.2, y + 34), colour="purple", width=2.5)
                else:
                    d.arrow((x + 38.5, y + 13), (x + 26, y + 13), colour="orange")
    d.text(14, 196, "the gradient goes back", "orange", "start")
    d.text(466, 196, "cut: states cross, gradients do not", "purple", "end")


@drawing(height=246)
def stdp_traces(d: Canvas) -> None:
    """An input before the neuron's spike strengthens a synapse, one after it weakens it, by the traces at the time."""
    for column, (name, pre, post) in enumerate(
        (("input first: it grows", 24, 50), ("input later: it shrinks", 50, 24))
    ):
        left = 44 + 232 * column
        d.text(left + 92, 18, f"**{name}**")
        for row, (when, colour, label) in enumerate(((pre, "green", "*x*"), (post, "blue", "*y*"))):
            y = 84 + 62 * row
            d.line((left, y), (left + 184, y), width=1, fade=0.6)
            trace = [math.exp(-(i - when) / 14) for i in range(when, 101)]
            d.line(*((left + 1.84 * (when + i), y - 40 * value) for i, value in enumerate(trace)), colour=colour)
            d.line((left + 1.84 * when, y), (left + 1.84 * when, y - 40), colour=colour, width=2.5)
            if not column:
                d.text(left - 10, y - 8, label, colour, "end")
        late = max(pre, post)
        size = math.exp(-26 / 14)
        x = left + 1.84 * late
        source = 84 if column == 0 else 146
        d.disc(x, source - 40 * size, 4, colour="orange", fade=1)
        d.line((left, 206), (left + 184, 206), width=1, fade=0.6)
        d.line((x, 206), (x, 206 - 130 * size * (1 if column == 0 else -1)), colour="orange", width=5)
        d.line((x, source - 40 * size), (x, 206), colour="orange", dash="3 3", width=1)
    d.text(36, 210, "Δ*w*", "orange", "end")


@drawing(height=238)
def winner_takes_all(d: Canvas) -> None:
    """Pixels fire in the order of their brightness; the first neuron to fire learns and silences the others."""
    for row, time in enumerate((0.1, 0.18, 0.3, 0.52, 0.74, 0.9)):
        y = 52 + 28 * row
        d.spikes(16, y, 110, [time], "green", h=16)
        if time < 0.4:
            d.arrow((130, y - 6), (238, 112 + 5 * row), colour="orange", width=2.2)
        else:
            d.line((130, y - 6), (238, 112 + 5 * row), width=1.2, dash="4 3")
    d.text(16, 20, "brightest pixels first", "green", "start")
    for row in range(3):
        first = row == 1
        d.disc(262, 60 + 62 * row, 20, "1st" if first else "", "orange" if first else "ink", 0.25 if first else 0.04)
    d.arrow((262, 101), (262, 82), colour="purple")
    d.arrow((262, 143), (262, 162), colour="purple")
    d.text(292, 92, "silences the others", "purple", "start")
    d.text(292, 127, "fires first: it learns", "orange", "start")
    d.text(16, 228, "grows", "orange", "start")
    d.text(80, 228, "shrinks: it came too late", "ink", "start")
