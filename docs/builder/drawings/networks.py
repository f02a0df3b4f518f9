"""Networks: over time, recurrent, trained by a loss."""

from __future__ import annotations

from random import Random

from .canvas import Canvas, drawing


@drawing(height=252)
def network_in_time(d: Canvas) -> None:
    """Two layers over three steps: spikes pass through all layers within a step, membranes to the next step."""
    names = ("*X*", "*U*_{1}, *S*_{1}", "*U*_{2}, *S*_{2}")
    colours = ("green", "blue", "orange")
    for row in range(3):
        y = 182 - 68 * row
        d.text(10, y + 23, ("input", "layer 1", "layer 2")[row], colours[row], "start")
        for step in range(3):
            x = 92 + 132 * step
            d.box(x, y, 92, 36, names[row], colours[row])
            if row < 2:
                d.arrow((x + 46, y), (x + 46, y - 32))
            if row and step < 2:
                d.arrow((x + 92, y + 18), (x + 132, y + 18), colour=colours[row])
            elif row:
                d.arrow((x + 92, y + 18), (x + 116, y + 18), colour=colours[row])
    for step, name in enumerate(("*t* = 0", "*t* = 1", "*t* = 2")):
        d.text(138 + 132 * step, 240, name)
    d.text(148, 166, "*W*_{1}", "ink", "start")
    d.text(148, 98, "*W*_{2}", "ink", "start")
    d.text(204, 26, "between steps: leak and reset")
    d.arrow((204, 34), (204, 60), width=1)


@drawing(height=150)
def dense_network(d: Canvas) -> None:
    """784 pixels as constant currents, 1000 hidden neurons and 10 output neurons, over 25 steps."""
    draw = Random(8)
    d.text(40, 18, "784 pixels")
    for row in range(7):
        for column in range(7):
            d.box(
                12 + 8 * column,
                38 + 8 * row,
                8,
                8,
                fade=0.6 if (column - 3) ** 2 < 3 and row in (1, 3, 5) or (column == 4 and 0 < row < 6) else 0.04,
                rx=0,
                stroke_width=0.5,
            )
    d.text(40, 118, "a constant\ncurrent")
    d.arrow((74, 66), (110, 66))
    d.box(112, 46, 56, 40, "*W*_{1}", "green")
    d.arrow((168, 66), (190, 66))
    d.text(246, 18, "1000 neurons", "blue")
    d.box(192, 32, 108, 72, colour="blue", fade=0.05)
    for row in range(8):
        for step in range(25):
            if draw.random() < (0.5, 0.1, 0.25, 0, 0.35, 0.15, 0, 0.4)[row]:
                d.line((199 + 3.8 * step, 38 + 8 * row), (199 + 3.8 * step, 43 + 8 * row), colour="blue", width=1.8)
    d.text(246, 122, "25 steps", "blue")
    d.arrow((300, 66), (322, 66))
    d.box(324, 46, 56, 40, "*W*_{2}", "green")
    d.arrow((380, 66), (402, 66))
    d.text(436, 18, "10 neurons", "orange")
    for row in range(10):
        for step in range(11):
            if draw.random() < (0.85 if row == 3 else 0.12):
                d.line((408 + 5.4 * step, 32 + 7.4 * row), (408 + 5.4 * step, 37 + 7.4 * row), colour="orange", width=2)
    d.text(436, 122, "most spikes:\nthe answer", "orange")


@drawing(height=228)
def loss_and_decoder(d: Canvas) -> None:
    """An output neuron has a membrane and spikes; the loss reads one of them, the decoder reads one of them."""
    d.box(14, 84, 86, 52, "output\nneurons", "blue")
    d.arrow((100, 96), (160, 56), colour="blue")
    d.arrow((100, 124), (160, 164), colour="orange")
    d.box(162, 30, 116, 52, "membranes\ngraded", "blue", 0.08)
    d.box(162, 138, 116, 52, "spikes\n0 or 1", "orange", 0.08)
    d.box(362, 30, 104, 52, "loss", "green")
    d.box(362, 138, 104, 52, "decoder", "purple")
    d.arrow((278, 50), (360, 50), colour="green")
    d.arrow((278, 152), (360, 70), colour="green", dash="5 4")
    d.arrow((278, 176), (360, 176), colour="purple")
    d.arrow((278, 70), (360, 152), colour="purple", dash="5 4")
    d.text(240, 216, "straight across: they agree on what is read")


@drawing(height=236)
def recurrent_wirings(d: Canvas) -> None:
    """Three ways to feed spikes back: each neuron to itself, all to all, and by a kernel to its neighbours."""
    for column, name in enumerate(("one to one", "all to all", "convolution")):
        left = 8 + 160 * column
        d.text(left + 72, 18, f"**{name}**")
        for row in range(4):
            for other in range(4):
                if column == 1 or row == other or (column == 2 and abs(row - other) == 1):
                    d.arrow((left + 34, 66 + 40 * row), (left + 110, 66 + 40 * other), colour="purple", width=1.2)
        for row in range(4):
            d.disc(left + 22, 66 + 40 * row, 12, colour="orange")
            d.disc(left + 124, 66 + 40 * row, 12, colour="blue")
        d.text(left + 22, 44, "*S*[*t*−1]", "orange")
        d.text(left + 124, 44, "*U*[*t*]", "blue")
    d.text(80, 226, "*V*: one number each", "purple")
    d.text(240, 226, "*V*: a matrix", "purple")
    d.text(400, 226, "*V*: a kernel", "purple")


@drawing(height=226)
def time_unrolled(d: Canvas) -> None:
    """A recurrent layer, and the same layer unrolled over time as a chain that shares its weights."""
    d.arrow((70, 186), (70, 138), colour="green")
    d.text(78, 168, "*W*", "green", "start")
    d.text(70, 206, "*X*[*t*]", "green")
    d.box(36, 92, 68, 44, "layer", "blue")
    d.arrow((70, 92), (70, 40), colour="orange")
    d.text(70, 28, "*S*[*t*]", "orange")
    d.arrow((70, 64), (18, 64), (18, 114), (36, 114), colour="purple")
    d.text(10, 52, "*V*", "purple", "start")
    d.text(140, 120, "**=**")
    for step in range(3):
        x = 176 + 104 * step
        d.arrow((x + 34, 186), (x + 34, 138), colour="green")
        d.text(x + 40, 168, "*W*", "green", "start")
        d.text(x + 34, 206, f"*X*[{step}]", "green")
        d.box(x, 92, 68, 44, "layer", "blue")
        d.arrow((x + 34, 92), (x + 34, 40), colour="orange")
        d.text(x + 34, 28, f"*S*[{step}]", "orange")
        last = step == 2
        d.arrow((x + 68, 124), (x + (94 if last else 104), 124), colour="blue")
        d.arrow((x + 34, 66), (x + 86, 66), (x + 86, 102), (x + (94 if last else 104), 102), colour="purple")
        d.text(x + 70, 58, "*V*", "purple")
        d.text(x + 86, 142, "*β*", "blue")


@drawing(height=222)
def target_counts(d: Canvas) -> None:
    """Cross entropy pushes counts to the ends, all or nothing; regression names the numbers."""
    for column, (name, counts) in enumerate((("cross entropy", (10, 0, 0, 1)), ("regression", (8, 2, 2, 2)))):
        left = 14 + 240 * column
        d.text(left + 104, 18, f"**{name}**")
        for row, count in enumerate(counts):
            y = 58 + 36 * row
            colour = "orange" if row == 0 else "blue"
            when = [(i * 10 / count + 0.5 + row % 2) / 10 for i in range(count)] if count else []
            d.spikes(left, y, 170, [min(w, 0.97) for w in when], colour, h=18)
            d.text(left + 194, y - 3, str(count), colour)
    d.text(14, 206, "the right neuron", "orange", "start")
    d.text(160, 206, "the others", "blue", "start")
    d.text(466, 206, "spikes in 10 steps", anchor="end")


@drawing(height=216)
def delays(d: Canvas) -> None:
    """Two spikes that come one after the other have delays with which they arrive together, and the neuron fires."""
    for row, (when, length) in enumerate(((0.12, 0.6), (0.46, 0.26))):
        y = 44 + 58 * row
        x, end = 96 + 280 * when, 96 + 280 * (when + length)
        d.text(86, y - 4, f"input {row + 1}", "green", "end")
        d.spikes(96, y, 280, [when], "green")
        d.arrow((x + 4, y - 8), (end, y - 8), colour="purple", width=2)
        d.text((x + end) / 2, y - 15, f"*d*_{{{row + 1}}}", "purple")
        d.line((end, y), (end, y - 16), colour="purple", width=2.5)
    end = 96 + 280 * 0.72
    d.line((end, 44), (end, 86), width=1, dash="3 3")
    d.line((end, 102), (end, 130), width=1, dash="3 3")
    d.text(86, 166, "membrane", "blue", "end")
    d.line((96, 176), (376, 176), width=1, fade=0.6)
    d.line((96, 138), (376, 138), width=1.2, dash="5 4")
    d.line((96, 176), (end, 176), (end, 128), (end + 12, 128), (end + 12, 172), (376, 175), colour="blue", width=2)
    d.text(384, 133, "it fires", "orange", "start")
    d.text(384, 61, "they arrive", "purple", "start")
    d.text(384, 81, "together", "purple", "start")
    d.text(376, 204, "time", anchor="end")


@drawing(height=176)
def forecast_windows(d: Canvas) -> None:
    """A series in three parts; windows slide over each: what is seen, and what comes next."""
    parts = (("training", 12, 268, "blue"), ("validation", 280, 84, "green"), ("test", 364, 104, "orange"))
    for said, x, w, colour in parts:
        d.box(x, 30, w, 22, colour=colour, fade=0.25, rx=0)
        d.text(x + w / 2, 20, said, colour)
    for row, x in enumerate((24, 70, 116)):
        y = 72 + 22 * row
        d.box(x, y, 88, 16, colour="blue", fade=0.12, rx=2)
        d.box(x + 88, y, 44, 16, colour="purple", fade=0.3, rx=2)
    d.box(300, 72, 88, 16, colour="blue", fade=0.12, rx=2)
    d.box(388, 72, 44, 16, colour="purple", fade=0.3, rx=2)
    d.text(300, 112, "a target never", anchor="start")
    d.text(300, 130, "leaves its part", anchor="start")
    d.text(24, 164, "look back", "blue", "start")
    d.text(108, 164, "predict", "purple", "start")
    d.arrow((190, 160), (464, 160))
    d.text(464, 150, "time", anchor="end")


@drawing(height=178)
def read_then_answer(d: Canvas) -> None:
    """A network reads one hour a step; after the last one its membranes are the forecast of all coming hours."""
    names = ("*t* = 1", "*t* = 2", "…", "*t* = 48")
    for step, name in enumerate(names):
        x = 10 + 72 * step
        d.text(x + 26, 170, name)
        if name == "…":
            d.text(x + 26, 88, "…", "blue")
        else:
            d.box(x, 64, 52, 38, "spikes", "blue")
            d.arrow((x + 26, 148), (x + 26, 104), colour="green")
        if step < 3:
            d.arrow((x + 52, 83), (x + 72, 83), colour="blue")
    d.text(180, 132, "values of an hour", "green")
    d.arrow((278, 83), (304, 83))
    d.box(306, 56, 54, 54, "*U*[48]", "orange")
    d.text(333, 50, "LI neurons", "orange")
    for row, said in enumerate(("in 1 hour", "in 2 hours", "…", "in 24 hours")):
        d.text(372, 52 + 24 * row, said, "purple", "start")
    d.text(10, 34, "leaks of 2 to 48 hours carry what was read", "blue", "start")
