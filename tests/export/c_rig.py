"""Networks that are written in C, compiled and called from the tests."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.tree import flatten
from tests.export.export_rig import assert_outputs

#: What sums in another order and another ``exp`` may change in float32, over some steps.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
STRICT = "-std=c99 -Wall -Wextra -Wconversion -Wdouble-promotion -Wshadow -pedantic -Werror -ffp-contract=off".split()
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="neither gcc nor clang is installed")


def called(*words, **options):
    """Run a program; its errors are shown where it fails."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{words[0]}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
    return done.stdout


def numbers(header):
    """The macros of a header that are numbers, by their names without the prefix."""
    found = re.findall(r"#define \w+?_(INPUTS|OUTPUTS|STATE_BYTES|SCRATCH_BYTES|CONSTANT_BYTES) (\d+)", header)
    return {name: int(value) for name, value in found}


class InC:
    """A network in C.

    Args:
        library: what it has been compiled into.
        header: its header file.
    """

    def __init__(self, library, header):
        text, prefix = Path(header).read_text(), Path(header).stem
        self.sizes = numbers(text)
        self.names = re.findall(r"float \w+\[\d+\]; /\* (\S+): ", text)
        self.counts = [int(n) for n in re.findall(r"float \w+\[(\d+)\]; /\*", text)]
        self.step, self.reset = getattr(library, f"{prefix}_step"), getattr(library, f"{prefix}_reset")
        self.memory = np.zeros(self.sizes["STATE_BYTES"] + self.sizes["SCRATCH_BYTES"], np.uint8)

    def run(self, x):
        """Steps from rest, (time, *features): the outputs, flat, and the states after them by name."""
        out = np.empty((len(x), self.sizes["OUTPUTS"]), "float32")
        x = np.ascontiguousarray(x, "float32")
        assert x[0].size == self.sizes["INPUTS"]
        self.memory[:] = 255  # scratch may hold anything
        self.reset(ctypes.c_void_p(self.memory.ctypes.data))
        for row, target in zip(x, out):
            self.step(*(ctypes.c_void_p(a.ctypes.data) for a in (self.memory, row, target)))
        floats = self.memory[: self.sizes["STATE_BYTES"]].view("float32")
        return out, dict(zip(self.names, np.split(floats.copy(), np.cumsum(self.counts)[:-1])))


def in_c(models, folder, compiler=None, *options):
    """Export models and compile them into one library; a dict like ``models``.

    Args:
        models: by name, a word of C.
        folder: where the files go.
        compiler: its name; default: the first that is there.
        *options: for it, beside those that make warnings errors.
    """
    for name, model in models.items():
        sc.export(model, folder / name, example=False)
    library, whole = folder / "all.so", folder / "all.c"
    whole.write_text("\n".join(alone((folder / f"{name}.c").read_text(), name) for name in models))
    options = options or ("-O0",)
    called(compiler or COMPILERS[0], *STRICT, *options, "-shared", "-fPIC", whole, "-o", library, "-lm")
    loaded = ctypes.CDLL(str(library))
    return {name: InC(loaded, folder / f"{name}.h") for name in models}


def alone(text, name):
    """A source whose tables have the network's name before theirs, so that a compiler may take many as one file."""
    tables = re.findall(r"^static const \w+ (\w+)\[", text, re.MULTILINE)
    return re.sub(rf"\b({'|'.join(tables)})\b", rf"{name}_\1", text) if tables else text


def assert_same(net, model, x, exact=True):
    """Compare a network in C with the model: the outputs, and the states after the last step.

    Args:
        net: the network in C.
        model: the model.
        x: samples, (time, batch, *features).
        exact: whether outputs must be equal to the bit; else spikes must, and other numbers may differ by ``CLOSE``.
    """
    for b in range(x.shape[1]):
        expected = model(x[:, b : b + 1])  # alone: a program has the noise of the first sample of a call
        spikes = np.broadcast_to(expected.spikes, (len(x), *expected.spikes.shape[1:])).reshape(len(x), -1)
        out, states = net.run(x[:, b])
        if exact:
            np.testing.assert_array_equal(out, spikes)
        else:
            assert_outputs(out, spikes, CLOSE)
        for name, state in flatten(expected.state).items():
            np.testing.assert_allclose(states[name], np.asarray(state).reshape(-1), **CLOSE)


# ---- programs: the same steps on every compiler and machine ---------------------------------------------------------

PROGRAM_STEPS = 6
PROGRAM = """#include <stdio.h>
#include <stdint.h>
INCLUDES
static uint32_t seed;

static float drawn(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 28) / 8.0f;
}

static void show(const char *name, const float *numbers, int count)
{
    printf("%s", name);
    for (int i = 0; i < count; ++i) {
        printf(" %.9g", (double)numbers[i]);
    }
    printf("\\n");
}

int main(void)
{
CALLS
    return 0;
}
"""
CALL = """    {{
        static {p}_state state;
        static float in[{P}_INPUTS], out[{P}_OUTPUTS];
        {p}_reset(&state);
        seed = 1;
        for (int t = 0; t < {steps}; ++t) {{
            for (int i = 0; i < {P}_INPUTS; ++i) {{
                in[i] = drawn();
            }}
            {p}_step(&state, in, out);
            show("{p}", out, {P}_OUTPUTS);
        }}
    }}"""


def program(models, folder, main=PROGRAM, call=CALL, **options):
    """Export models, and write a program that runs some steps of each; returns its sources.

    Args:
        models: by name, a word of C.
        folder: where the files go.
        main: the program, without what it includes and what it does.
        call: what it does with a network.
        **options: of the export.
    """
    for name, model in models.items():
        sc.export(model, folder / name, example=False, **options)
    calls = [call.format(p=name, P=name.upper(), steps=PROGRAM_STEPS) for name in models]
    text = main.replace("INCLUDES", "\n".join(f'#include "{name}.h"' for name in models))
    (folder / "program.c").write_text(text.replace("CALLS", "\n".join(calls)))
    return [folder / f"{name}.c" for name in [*models, "program"]]


def assert_prints(printed, models):
    """Compare what the program has printed with the models."""
    lines = {}
    for line in printed.splitlines():
        name, *values = line.split()
        lines.setdefault(name, []).append([float(v) for v in values])
    assert sorted(lines) == sorted(models)
    for name, model in models.items():
        x = drawn_inputs((PROGRAM_STEPS, 1, *model.input_shape))
        spikes = model(x).spikes
        expected = np.broadcast_to(spikes, (PROGRAM_STEPS, *spikes.shape[1:])).reshape(PROGRAM_STEPS, -1)
        assert_outputs(lines[name], expected, {**CLOSE, "err_msg": f"{name}: {model.network}"})


def seeds(shape):
    """The numbers from which the program draws."""
    found = [1]
    for _ in range(int(np.prod(shape))):
        found.append((found[-1] * 1664525 + 1013904223) % 2**32)
    return np.reshape(found[1:], shape)


def drawn_inputs(shape):
    """What the program's ``drawn`` gives."""
    return ((seeds(shape) >> 28) / 8).astype("float32")
