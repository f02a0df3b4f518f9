"""Networks in fixed point: drawn at random, compiled, run, and compared with the model number by number."""

from __future__ import annotations

import ctypes
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np

import spikecore as sc

STRICT = "-std=c99 -Wall -Wextra -Wconversion -Wdouble-promotion -pedantic -Werror".split()
TYPES = {"int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "uint32": np.uint32}


class Compiled:
    """A network in C as a shared library.

    Args:
        folder: where its files are.
        stem: their name.
        compiler: "gcc" or "clang".
        flags: more flags.
    """

    def __init__(self, folder: Path, stem: str = "net", compiler: str = "gcc", flags: tuple = ("-O1",)) -> None:
        library = folder / f"{stem}.{compiler}.so"
        command = [compiler, *STRICT, *flags, "-shared", "-fPIC", str(folder / f"{stem}.c"), "-o", str(library)]
        built = subprocess.run(command, check=False, capture_output=True, text=True)
        assert not built.returncode, built.stderr
        self.header, self.stem = (folder / f"{stem}.h").read_text(), stem
        loaded = ctypes.CDLL(str(library))
        self.reset, self.step, self.quantise = (loaded[f"{stem}_{n}"] for n in ("reset", "step", "quantise"))
        kinds = dict((b, a) for a, b in re.findall(rf"typedef (\w+)_t {stem}_(input|output);", self.header))
        self.x = np.zeros(self.macro("INPUTS"), TYPES[kinds["input"]])
        self.y = np.zeros(self.macro("OUTPUTS"), TYPES[kinds["output"]])
        self.memory = np.zeros(self.macro("STATE_BYTES") + self.macro("SCRATCH_BYTES"), np.uint8)
        struct = re.search(rf"typedef struct {stem}_state {{\n(.*?)}}", self.header, re.S).group(1)
        self.members, at = {}, 0
        for kind, name, _, count in re.findall(r"    (\w+?)_t (\w+)(\[(\d+)\])?;", struct):
            size = int(count or 1) * np.dtype(TYPES[kind]).itemsize
            self.members[name] = self.memory[at : at + size].view(TYPES[kind])
            at += size
        self.reset(pointer(self.memory))

    def macro(self, name: str) -> int:
        """The number that a macro of the header stands for."""
        return int(re.search(rf"#define {self.stem.upper()}_{name} \(?(-?\d+)", self.header).group(1))

    def numbers(self, x) -> None:
        """Quantise a sample to be the next input."""
        given = np.ascontiguousarray(x, np.float32).ravel()
        self.quantise(pointer(given), pointer(self.x))

    def __call__(self, x) -> np.ndarray:
        """A step; the output as integers."""
        self.numbers(x)
        self.step(pointer(self.memory), pointer(self.x), pointer(self.y))
        return self.y.copy()


def pointer(array: np.ndarray):
    return array.ctypes.data_as(ctypes.c_void_p)


def integers(values, fraction: int) -> list:
    """Numbers as integers times 2^-fraction; one that is on another grid is an error."""
    found = []
    for value in np.asarray(values, "float64").ravel().tolist():
        whole = Fraction(value) * Fraction(2) ** fraction
        assert whole.denominator == 1, (value, fraction)
        found.append(int(whole))
    return found


def grid(random):
    """The grid of a weight, at random."""
    per = str(random.choice(["tensor", "channel"]))
    return sc.ScaledInteger(int(random.choice([2, 3, 4, 8])), per=per, power_of_two=True)


def neuron(random):
    """A neuron at random, with quantised parameters and states."""
    states = sc.FixedPoint(int(random.choice([8, 12, 16])), int(random.choice([2, 4, 6])))
    reset = str(random.choice(["subtract", "subtract_decayed", "zero", "none"]))
    membrane = {"reset_mechanism": reset, "state_quant": states, "threshold": float(random.choice([0.5, 1.0, 0.8]))}
    membrane["reset_delay"] = bool(random.integers(2))
    kind = int(random.integers(7))
    beta = float(random.choice([0.5, 0.9, 0.97]))
    if kind == 0:
        made = sc.Leaky(beta=beta, inhibition=bool(random.integers(2)), **membrane)
    elif kind == 1:
        made = sc.IF(**membrane)
    elif kind == 2:
        made = sc.Synaptic(alpha=0.8, beta=beta, **membrane)
    elif kind == 3:
        made = sc.LI(beta=beta)
        return sc.QuantizedNeuron(made, sc.ScaledInteger(6), states)
    elif kind == 4:
        membrane.pop("reset_delay")
        made = sc.ALIF(beta=beta, rho=0.9, **membrane)
    elif kind == 5:
        made = sc.TernaryLeaky(beta=beta, **membrane) if hasattr(sc, "TernaryLeaky") else sc.IF(**membrane)
    else:
        made = sc.Leaky(beta=sc.learn(beta, per="neuron"), **membrane)
    return sc.QuantizedNeuron(made, sc.ScaledInteger(int(random.choice([4, 7]))))


def network(random):
    """A network at random, and the shape of its samples."""
    biases = sc.FixedPoint(16, int(random.choice([4, 8])))
    inputs = {"input_quant": sc.FixedPoint(8, 4, signed=bool(random.integers(2)))}
    layers = []

    def connect(layer):
        kept = {"bias_quant": biases} if layer.bias else {}
        layers.append(sc.Quantized(layer, grid(random), **kept, **(inputs if not layers else {})))

    if random.integers(2):
        shape, channels = (2, 8, 8), int(random.choice([3, 4]))
        stride, padding = int(random.choice([1, 2])), int(random.integers(2))
        groups = int(random.choice([1, 2])) if channels == 4 else 1
        connect(sc.Conv2d(2, channels, 3, stride=stride, padding=padding, groups=groups, bias=bool(random.integers(2))))
        layers += [neuron(random), [sc.AvgPool2d(2), sc.MaxPool2d(2)][random.integers(2)]]
        if random.integers(2):
            kind, more = [(sc.Conv2d, {"padding": 1}), (sc.ConvTranspose2d, {"stride": 2})][random.integers(2)]
            connect(kind(channels, 4, 2, **more))
            layers.append(neuron(random))
        layers.append(sc.Flatten())
        size = int(np.prod(sc.Model(sc.Sequential(*layers), "numpy", input_shape=shape).output_shape))
    else:
        shape, size = (7,), 7
    for _ in range(int(random.integers(1, 3))):
        wide = int(random.choice([5, 9]))
        connect(sc.Linear(size, wide, bias=bool(random.integers(2))))
        layers.append(neuron(random))
        if random.integers(3) == 0:
            back = sc.Quantized(sc.Linear(wide, wide), grid(random), biases)
            layers[-1] = sc.Recurrent(layers[-1], back)
        elif random.integers(3) == 0:
            layers.append(sc.Residual(sc.Sequential(sc.Quantized(sc.Linear(wide, wide, bias=False), grid(random)), neuron(random))))
        size = wide
    return sc.Sequential(*layers), shape
