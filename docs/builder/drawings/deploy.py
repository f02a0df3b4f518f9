"""Engines, compilers and devices: where one network is trained, checked and run."""

from __future__ import annotations

from .canvas import Canvas, drawing


@drawing(height=226)
def one_step_many_uses(d: Canvas) -> None:
    """One method of a neuron gives training on engines, gradients, a module, compiled code and a file."""
    d.box(6, 82, 124, 60, "**step**\nyour equations", "blue")
    uses = (
        ("torch engine", "trains by autograd", "green"),
        ("NumPy engine", "trains by rules", "green"),
        ("verify", "compares both", "orange"),
        ("nn module", "in a PyTorch program", "purple"),
        ("kernel", "compiled loop", "purple"),
    )
    for row, (name, note, colour) in enumerate(uses):
        y = 8 + 43 * row
        d.arrow((130, 112), (186, y + 17), colour=colour)
        d.box(188, y, 118, 34, name, colour)
        d.text(318, y + 22, note, colour, "start")


@drawing(height=232)
def ipu_lowering(d: Canvas) -> None:
    """Python runs once and is recorded; the whole training step is compiled, unrolled over time, for the device."""
    d.box(6, 12, 176, 206, fade=0.02)
    d.text(94, 34, "host")
    for row, (name, colour) in enumerate(
        (("your network", "blue"), ("PopTorch: records", "green"), ("compiler: once", "green"))
    ):
        d.box(18, 48 + 58 * row, 152, 36, name, colour)
        if row:
            d.arrow((94, 26 + 58 * row), (94, 46 + 58 * row))
    d.box(264, 12, 208, 206, fade=0.02)
    d.text(368, 34, "IPU")
    for step in range(4):
        d.box(278 + 46 * step, 48, 40, 30, ("1", "2", "…", "25")[step], "blue")
        d.box(278 + 46 * step, 108, 40, 30, ("1", "2", "…", "25")[step], "orange")
    d.text(368, 96, "forwards: a copy per step", "blue")
    d.text(368, 156, "backwards", "orange")
    d.box(278, 168, 178, 36, "optimiser, weights", "purple")
    d.arrow((182, 66), (262, 66))
    d.text(222, 57, "data")
    d.arrow((182, 182), (262, 182), colour="green", width=2)
    d.text(222, 172, "program", "green")


@drawing(height=232)
def dropped_backward(d: Canvas) -> None:
    """A custom backward is lost on the way to the device; the engine's spike has its slope in the forward pass."""
    rows = (
        ("a custom backward", "forwards: *Θ*(*u*)", "backwards: *h*(*u*)", "layers below do not"),
        ("the engine’s spike", "*Θ*(*u*) + *h*_{d} · (*u* − *u*_{d})", "derivative: *h*_{d}", "layers below learn"),
    )
    for row, (name, forwards, backwards, end) in enumerate(rows):
        y, colour = 18 + 112 * row, ("purple", "green")[row]
        d.text(8, y, f"**{name}**", anchor="start")
        d.box(8, y + 14, 168, 34, forwards, "blue")
        d.box(8, y + 54, 168, 34, backwards, "orange", stroke_dasharray="4 3" if row else None)
        d.arrow((176, y + 31), (296, y + 31), colour="blue")
        d.box(298, y + 14, 174, 34, "compiled", "blue")
        d.arrow((176, y + 71), (296 if row else 226, y + 71), colour="orange")
        if not row:
            d.line((232, y + 62), (248, y + 80), colour=colour, width=3)
            d.line((248, y + 62), (232, y + 80), colour=colour, width=3)
        d.box(298, y + 54, 174, 34, end, colour)


@drawing(height=206)
def parts_of_a_sequence(d: Canvas) -> None:
    """A program of ten steps is called for each part of a sequence: states pass on, gradients do not."""
    for part in range(4):
        x = 12 + 118 * part
        d.box(x, 52, 90, 58, colour="blue", fade=0.06)
        for step in range(10):
            d.box(x + 6 + 7.9 * step, 70, 6.5, 22, colour="blue", fade=0.3, rx=1, stroke_width=0.8)
        d.text(x + 45, 40, ("0 – 9", "10 – 19", "20 – 29", "30 – 39")[part])
        d.arrow((x + 84, 128), (x + 6, 128), colour="orange")
        if part < 3:
            d.arrow((x + 90, 81), (x + 118, 81), colour="green", width=2)
            d.line((x + 104, 116), (x + 104, 140), colour="purple", width=2.5)
    d.text(12, 18, "the same program of ten steps, four times", "blue", "start")
    d.text(12, 168, "states stay on the device", "green", "start")
    d.text(468, 168, "gradients: within a part", "orange", "end")
    d.text(12, 192, "cut between parts: truncated BPTT", "purple", "start")


@drawing(height=262)
def runtimes(d: Canvas) -> None:
    """A trained network and where it can go, with the call that takes it there."""
    d.box(12, 106, 110, 52, "trained\nnetwork", "blue", 0.2)
    targets = (
        ("save, load", "Python without torch", "green"),
        ("stream", "a step per call", "green"),
        ("run_events", "an event camera", "green"),
        ("to_torch", "a PyTorch program", "purple"),
        ("export_to_nir", "chips, other libraries", "orange"),
        ("export", "C, a microcontroller", "orange"),
    )
    for row, (call, name, colour) in enumerate(targets):
        y = 8 + 42 * row
        d.arrow((122, 132), (184, y + 17), colour=colour)
        d.box(186, y, 120, 34, call, colour)
        d.text(316, y + 22, name, colour, "start")


@drawing(height=236)
def sequence_or_stream(d: Canvas) -> None:
    """A model takes a whole sequence and gives all answers at its end; a stream takes a step and answers at once."""
    d.text(12, 20, "**model(x)**", anchor="start")
    for step in range(6):
        d.box(12 + 26 * step, 34, 22, 22, colour="green", fade=0.2)
    d.arrow((168, 45), (206, 45))
    d.box(208, 26, 74, 38, "network", "blue")
    d.arrow((282, 45), (312, 45))
    for step in range(6):
        d.box(314 + 26 * step, 34, 22, 22, colour="orange", fade=0.2)
    d.text(12, 78, "a whole sequence", "green", "start")
    d.text(466, 78, "all answers, at the end", "orange", "end")
    d.text(12, 120, "**stream.step(x)**", anchor="start")
    for step in range(4):
        x = 190 + 80 * step
        d.box(x - 11, 112, 22, 22, colour="green", fade=0.2)
        d.arrow((x, 134), (x, 150))
        d.box(x - 20, 152, 40, 36, colour="blue")
        d.arrow((x, 188), (x, 204))
        d.box(x - 11, 206, 22, 22, colour="orange", fade=0.2)
        if step < 3:
            d.arrow((x + 20, 170), (x + 58, 170), colour="blue")
    d.text(12, 176, "states are kept", "blue", "start")
    d.text(12, 222, "an answer per step", "orange", "start")


@drawing(height=150)
def nir_graph(d: Canvas) -> None:
    """The network as a graph of NIR: nodes with their parameters, in continuous time."""
    nodes = (
        ("Input", "(64)", "ink"),
        ("Affine", "*W*, *b*", "green"),
        ("LIF", "*τ*, *R*, *θ*", "blue"),
        ("Affine", "*W*, *b*", "green"),
        ("LIF", "*τ*, *R*, *θ*", "blue"),
        ("Output", "(10)", "ink"),
    )
    for place, (name, inside, colour) in enumerate(nodes):
        x = 8 + 79 * place
        d.box(x, 24, 62, 48, f"{name}", colour)
        d.text(x + 31, 92, inside, colour)
        if place < 5:
            d.arrow((x + 62, 48), (x + 79, 48))
    d.text(240, 124, "*τ* = d*t* / (1 − *β*)", "blue")


@drawing(height=232)
def c_files(d: Canvas) -> None:
    """The files that export writes, what a compiler makes of them, and what goes through the pipe."""
    d.box(6, 68, 76, 46, "model", "blue")
    d.arrow((82, 91), (148, 91))
    d.text(115, 82, "export")
    files = (
        ("net.h", "types, sizes"),
        ("net.c", "weights, step"),
        ("main.c", "an example"),
        ("net.md", "what it costs"),
    )
    for row, (name, note) in enumerate(files):
        y, colour = 14 + 52 * row, "green" if row < 3 else "ink"
        d.box(150, y, 78, 34, name, colour)
        d.text(236, y + 22, note, colour, "start")
        if row < 3:
            d.line((342, y + 17), (358, y + 17), (358, 83))
    d.arrow((358, 83), (384, 83))
    d.box(386, 62, 86, 42, "program", "orange")
    d.arrow((430, 22), (430, 60), colour="orange")
    d.text(424, 36, "pixels", "orange", "end")
    d.arrow((430, 104), (430, 150), colour="orange")
    d.text(430, 170, "counts of\nspikes", "orange")


@drawing(height=190)
def c_memory(d: Canvas) -> None:
    """On a microcontroller the weights are constants in flash; RAM holds the states and scratch memory."""
    d.box(10, 10, 460, 128, fade=0.02)
    d.box(26, 44, 190, 76, colour="green", fade=0.06)
    d.text(121, 34, "flash: constants", "green")
    d.box(40, 58, 98, 48, "weights", "green", 0.25)
    d.box(146, 58, 56, 48, "code", "green", 0.12)
    d.box(264, 44, 190, 76, colour="blue", fade=0.06)
    d.text(359, 34, "RAM: net_state", "blue")
    d.box(278, 58, 84, 48, "states", "blue", 0.25)
    d.box(370, 58, 70, 48, "scratch", "blue", 0.12)
    d.arrow((216, 82), (262, 82), width=2)
    d.text(240, 72, "step")
    d.arrow((320, 162), (320, 122), colour="orange")
    d.arrow((404, 122), (404, 162), colour="orange")
    d.text(312, 172, "input", "orange", "end")
    d.text(414, 172, "spikes", "orange", "start")


@drawing(height=206)
def three_engines(d: Canvas) -> None:
    """One description of a network is trained on torch, verified by NumPy, checked for the IPU, and saved once."""
    d.box(8, 74, 112, 56, "**network**\nwritten once", "blue", 0.2)
    engines = (
        ("torch", "for training", "green"),
        ("numpy", "gradients by hand", "green"),
        ("ipu", "checked, simulated", "purple"),
    )
    for row, (name, note, colour) in enumerate(engines):
        y = 12 + 72 * row
        d.arrow((120, 102), (188, y + 20), colour=colour)
        d.box(190, y, 84, 40, name, colour)
        d.text(286, y + 25, note, colour, "start")
    d.arrow((232, 52), (232, 82), colour="orange")
    d.arrow((232, 84), (232, 54), colour="orange")
    d.text(242, 73, "verify: equal gradients?", "orange", "start")


@drawing(height=222)
def quantization_grid(d: Canvas) -> None:
    """A number is rounded to the nearest value of a grid; numbers beyond its range are put on its bounds."""
    to = d.axes(110, 20, 250, 170, "", "")
    d.text(360, 210, "number", anchor="end")
    d.text(102, 30, "on the grid", anchor="end")
    low, high, steps = 0.16, 0.84, 7
    size = (high - low) / (steps - 1)
    d.line(to(0, 0), to(1, 1), dash="4 3", width=1)
    points = [to(0, low)]
    for level in range(steps - 1):
        edge = low + size * (level + 0.5)
        points += [to(edge, low + size * level), to(edge, low + size * (level + 1))]
    d.line(*points, to(1, high), colour="blue", width=2.2)
    for level in range(steps):
        x, y = to(0, low + size * level)
        d.line((x - 5, y), (x + 5, y))
    x, y = to(0, low + size * 3)
    d.line((x - 14, y), (x - 14, y - 170 * size), colour="green", width=2)
    d.text(x - 22, y - 85 * size + 5, "step", "green", "end")
    d.text(376, to(0, high)[1] + 5, "upper bound", "orange", "start")
    d.text(to(0.34, 0)[0], to(0, low)[1] + 5, "lower bound", "orange", "start")
    for start, end, level in ((0, low - size / 2, low), (high + size / 2, 1, high)):
        d.line(to(start, level), to(end, level), colour="orange", width=3.5)
    d.text(376, 96, "few bits:\nlarge steps", "green", "start")
