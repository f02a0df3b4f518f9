"""Networks in fixed point: drawn at random, compiled, run, and compared with the model number by number."""

from __future__ import annotations

import ctypes
import re
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

import spikecore as sc
from spikecore.compression import FixedPoint, ScaledInteger
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.export.c.fixed_step import fixed_step
from tests.export import c_rig
from tests.export.c_rig import COMPILERS, PROGRAM_STEPS, STRICT, called, seeds

TYPES = {"int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "uint32": np.uint32}


class InFixedPoint:
    """A network in C.

    Args:
        library: what it has been compiled into.
        header: its header file.
    """

    def __init__(self, library, header):
        self.text, self.stem = header.read_text(), header.stem
        self._reset, self._step, self._quantise = (library[f"{self.stem}_{n}"] for n in ("reset", "step", "quantise"))
        kinds = {b: TYPES[a] for a, b in re.findall(rf"typedef (\w+)_t {self.stem}_(input|output);", self.text)}
        self.x, self.y = np.zeros(self["INPUTS"], kinds["input"]), np.zeros(self["OUTPUTS"], kinds["output"])
        self.memory = np.full(self["STATE_BYTES"] + self["SCRATCH_BYTES"], 255, np.uint8)  # scratch may hold anything
        self.members, at = {}, 0
        struct = re.search(rf"struct {self.stem}_state {{\n(.*?)}}", self.text, re.S).group(1)
        for kind, name, _, count, dotted in re.findall(r" (\w+?)_t (\w+)(\[(\d+)\])?;(?: /\* (\S+): )?", struct):
            end = at + int(count or 1) * np.dtype(TYPES[kind]).itemsize
            self.members[dotted or f".{name}"] = self.memory[at:end].view(TYPES[kind])
            at = end

    def __getitem__(self, macro):
        """The number that a macro of the header stands for."""
        return int(re.search(rf"#define {self.stem.upper()}_{macro} \(?(-?\d+)", self.text).group(1))

    def reset(self):
        self._reset(pointer(self.memory))

    def quantise(self, x):
        """Make a sample the next input."""
        self._quantise(pointer(np.ascontiguousarray(x, np.float32)), pointer(self.x))
        return self.x

    def step(self):
        """The output of a step, as integers."""
        self._step(pointer(self.memory), pointer(self.x), pointer(self.y))
        return self.y.tolist()


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def in_fixed_point(models, folder, compiler=None, *options, **given):
    """Export models and compile them into one library; a dict like ``models``.

    Args:
        models: by name, a word of C.
        folder: where the files go.
        compiler: its name; default: the first that is there.
        *options: for it, beside those that make warnings errors.
        **given: options of the export.
    """
    for name, model in models.items():
        sc.export(model, folder / name, example=False, dtype="fixed", **given)
    sources = [folder / f"{name}.c" for name in models]
    command = [compiler or COMPILERS[0], *STRICT, *(options or ("-O0",)), "-shared", "-fPIC", *sources]
    called(*command, "-o", folder / "all.so")
    library = ctypes.CDLL(str(folder / "all.so"))
    return {name: InFixedPoint(library, folder / f"{name}.h") for name in models}


def assert_equal(net, model, x, **given):
    """Compare a network in C with its model, to the bit: outputs, states and the count of saturations at every step.

    Args:
        net: the network in C.
        model: the model.
        x: one sample, (time, *features).
        **given: options of the export.

    Returns:
        whether an output was not zero, and how many numbers were cut off.
    """
    step = fixed_step(model, **given)
    graph, formats = step.graph, step.formats
    states, saturated, active = graph.rest(), 0, False
    net.reset()
    for row in x:
        on_grid = net.quantise(row).reshape(1, *row.shape) * 2.0 ** -formats[graph.x].fraction
        saturated += cut_off(run(step, on_grid, states))
        y, states = graph.step(row[None].astype(graph.dtype), states)
        assert net.step() == integers(y, formats[step.tasks.output].fraction)
        for state, value in zip(graph.states, states):
            assert net.members[state.name].tolist() == integers(value, formats[state.before].fraction), state.name
        assert net.members[".saturations"][0] == saturated
        active = active or bool(np.any(y))
    return active, saturated


def integers(values, fraction):
    """Numbers as integers times 2^-fraction; one that is on another grid is an error."""
    found = []
    for value in np.asarray(values, "float64").ravel().tolist():
        whole = Fraction(value) * Fraction(2) ** fraction
        assert whole.denominator == 1, (value, fraction)
        found.append(int(whole))
    return found


# ---- the tasks of a step, computed in float64 -----------------------------------------------------------------------


def run(step, x, states):
    """What each task of a step reads and gives, in order: (task, operands, result)."""
    tasks, words = step.tasks, NumpyEngine("float64", fused=False).raw_words()
    arrays = {value: np.ravel(array).astype("float64") for value, array in tasks.constants.items()}
    arrays[tasks.x] = np.ravel(x).astype("float64")
    arrays.update((s.before, np.ravel(given).astype("float64")) for s, given in zip(tasks.states, states))
    found = []
    for task in tasks.tasks:
        arrays.setdefault(task.out, np.full(tasks.size(task.out), np.nan))
        given = [_seen(arrays, r) if hasattr(r, "root") else r for r in task.reads]
        result = np.asarray(_computed(words, task, given), "float64")
        result = result.reshape(task.to.shape) if result.ndim else np.full(task.to.shape, result)
        _seen(arrays, task.to)[...] = result
        found.append((task, given, result))
    return found


def _seen(arrays, view):
    strides = [8 * s for s in view.strides]
    return as_strided(arrays[view.root][view.offset :], view.shape, strides)


def _computed(words, task, given):
    options, x = dict(task.options), given[0]
    if task.word == "product":
        return x @ options["weight"].astype("float64")
    if task.word == "convolve":
        weight = np.moveaxis(options["weight"].astype("float64"), -1, 2)  # groups, channels, filters, kernel
        groups, where = len(weight), (options["stride"], options["padding"])
        if not options["transposed"]:
            weight = weight.swapaxes(1, 2).reshape(-1, *weight.shape[1:2], *weight.shape[3:])
            return words["conv"](x, weight, None, *where, options["dilation"], groups)
        weight = weight.reshape(-1, *weight.shape[2:])
        kernel, sizes = weight.shape[2:], zip(x.shape[2:], *where, options["dilation"], weight.shape[2:])
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in sizes]
        extra = tuple(n - m for n, m in zip(task.to.shape[2:], least))
        assert len(kernel) == len(extra)
        return words["conv_transpose"](x, weight, None, *where, extra, options["dilation"], groups)
    if task.word == "window":
        n = np.prod(options["kernel"]) if options["kind"] == "sum" else 1
        word = "avg_pool" if options["kind"] == "sum" else "max_pool"
        return n * words[word](x, options["kernel"], options["stride"], options["padding"])
    if "kept" in options:
        gone = tuple(range(options["kept"], x.ndim))
        if task.word in ("argmax", "argmin"):
            return words[task.word](x.reshape(*x.shape[: options["kept"]], -1), axis=-1)
        return words[task.word](x != 0 if task.word in ("any", "all") else x, axis=gone)
    if task.word == "copy":
        return x
    if task.word == "astype":
        return x != 0 if options["dtype"] == "bool" else x
    if task.word.startswith("logical"):
        return words[task.word](*(np.asarray(g) != 0 for g in given))
    if task.word == "where":
        return np.where(given[0] != 0, *given[1:])
    options.pop("counted", None)
    return words[task.word](*given, **options)


def cut_off(values):
    """How many numbers the quantisers of a step have cut off."""
    return sum(int((given[0] != result).sum()) for task, given, result in values if task.options.get("counted"))


# ---- networks at random ---------------------------------------------------------------------------------------------


def grid(random):
    """The grid of a weight, at random."""
    per = str(random.choice(["tensor", "channel"]))
    return ScaledInteger(int(random.choice([2, 3, 4, 8])), per=per, power_of_two=True)


def neuron(random):
    """A neuron at random, with quantised parameters and states."""
    states = FixedPoint(int(random.choice([8, 12, 16])), int(random.choice([2, 4, 6])))
    reset = str(random.choice(["subtract", "subtract_decayed", "zero", "none"]))
    membrane = {"reset_mechanism": reset, "state_quant": states, "threshold": float(random.choice([0.5, 1.0, 0.8]))}
    beta, delayed = float(random.choice([0.5, 0.9, 0.97])), {**membrane, "reset_delay": bool(random.integers(2))}
    parameters = ScaledInteger(int(random.choice([4, 7])))
    kinds = [
        lambda: sc.Leaky(beta=beta, inhibition=bool(random.integers(2)), **delayed),
        lambda: sc.Leaky(beta=sc.learn(beta, per="neuron"), **delayed),
        lambda: sc.IF(**delayed),
        lambda: sc.Synaptic(alpha=0.8, beta=beta, **delayed),
        lambda: sc.ALIF(beta=beta, rho=0.9, **membrane),
        lambda: sc.TernaryLeaky(beta=beta, **delayed),
        lambda: sc.LI(beta=beta),
    ]
    made = kinds[random.integers(len(kinds))]()
    return sc.QuantizedNeuron(made, parameters, states if isinstance(made, sc.LI) else None)


def network(random):
    """A network at random, and the shape of its samples."""
    biases = FixedPoint(16, int(random.choice([4, 8])))
    inputs = {"input_quant": FixedPoint(8, 4, signed=bool(random.integers(2)))}
    layers = []

    def connect(layer):
        kept = {"bias_quant": biases} if layer.bias else {}
        layers.append(sc.Quantized(layer, grid(random), **kept, **(inputs if not layers else {})))

    if random.integers(2):
        shape, channels = (2, 8, 8), int(random.choice([3, 4, 5]))
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
        around = sc.Quantized(sc.Linear(wide, wide), grid(random), biases)
        if random.integers(3) == 0 and layers[-1].spiking:  # the output of LI is not quantised
            layers[-1] = sc.Recurrent(layers[-1], around)
        elif random.integers(3) == 0:
            layers.append(sc.Residual(sc.Sequential(around, neuron(random))))
        size = wide
    return sc.Sequential(*layers), shape


def drawn(seed):
    """A model at random."""
    net, shape = network(np.random.default_rng(seed))
    return sc.Model(net, "numpy", seed=seed, input_shape=shape)


# ---- programs: the same steps on every compiler and machine ---------------------------------------------------------

PROGRAM = """#include <stdio.h>
INCLUDES
static uint32_t seed;

static int32_t drawn(int64_t low, int64_t high)
{
    seed = seed * 1664525u + 1013904223u;
    return (int32_t)(low + (int64_t)(seed >> 8) % (high - low + 1));
}

int main(void)
{
CALLS
    return 0;
}
"""
CALL = """    {{
        static {p}_state state;
        static {p}_input in[{P}_INPUTS];
        static {p}_output out[{P}_OUTPUTS];
        {p}_reset(&state);
        seed = 1;
        for (int t = 0; t < {steps}; ++t) {{
            for (int i = 0; i < {P}_INPUTS; ++i) {{
                in[i] = ({p}_input)drawn({P}_INPUT_LOWEST, {P}_INPUT_HIGHEST);
            }}
            {p}_step(&state, in, out);
            printf("{p} %lu", (unsigned long)state.saturations);
            for (int o = 0; o < {P}_OUTPUTS; ++o) {{
                printf(" %lld", (long long)out[o]);
            }}
            printf("\\n");
        }}
    }}"""


program = partial(c_rig.program, main=PROGRAM, call=CALL, dtype="fixed")


def printed_by(models):
    """What the program must print."""
    lines = []
    for name, model in models.items():
        step, saturated = fixed_step(model), 0
        kind, states = step.formats[step.graph.x], step.graph.rest()
        for row in seeds((PROGRAM_STEPS, 1, *model.input_shape)):
            x = (kind.low + (row >> 8) % (kind.high - kind.low + 1)) * 2.0**-kind.fraction
            saturated += cut_off(run(step, x, states))
            y, states = step.graph.step(x.astype(step.graph.dtype), states)
            lines.append(" ".join(map(str, [name, saturated, *integers(y, step.formats[step.tasks.output].fraction)])))
    return "\n".join(lines) + "\n"
