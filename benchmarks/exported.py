"""What an exported network costs: the C of trained networks of the zoo in floats and integers, and a file of ONNX.

python -m benchmarks.exported                  zoo.pretrained("digits")
python -m benchmarks.exported --data FOLDER    zoo.pretrained("fashion_mnist"), too, with the files of FashionMNIST

In C, a step is timed in a program that gcc compiles with ``-O3``, with a half and with all of the inputs other than
zero: the fastest of 20 runs of many steps. For ONNX it is the fastest of 20 runs of onnxruntime with one thread, calls
from Python included.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Tuple

import numpy as np

import spikecore as sc
from benchmarks import machine
from spikecore.datasets import Dataset, Loader, digits, fashion_mnist

ROUNDS = 20
PROGRAM = """
#include "net.h"
#include <stdio.h>
#include <time.h>

static net_state state;
static float numbers[NET_INPUTS];
#ifdef NET_INPUT_STEP
static net_input in[NET_INPUTS];
static net_output out[NET_OUTPUTS];
#else
static float *in = numbers;
static float out[NET_OUTPUTS];
#endif

int main(void)
{
    for (int every = 2; every > 0; --every) {
        double best = 1e9;
        for (int i = 0; i < NET_INPUTS; ++i) {
            numbers[i] = i % every ? 0.0f : 0.5f;
        }
#ifdef NET_INPUT_STEP
        net_quantise(numbers, in);
#endif
        net_reset(&state);
        for (int round = 0; round < ROUNDS; ++round) {
            const clock_t begun = clock();
            for (int step = 0; step < CALLS; ++step) {
                net_step(&state, in, out);
            }
            const double spent = (double)(clock() - begun) / CLOCKS_PER_SEC / CALLS * 1e6;
            best = spent < best ? spent : best;
        }
        printf("%.2f ", best);
    }
    return 0;
}
"""


def quantised(model: sc.Model, train: Dataset, **options: Any) -> sc.Model:
    """The model in few bits; ranges are those of 300 training samples."""
    x, steps = train.inputs[:300], model.notes["num_steps"]
    return sc.compression.quantize(model, states=16, parameters=8, inputs=8, x=x, num_steps=steps, **options)


def of_digits(train: Dataset) -> Iterator[Tuple[str, sc.Model]]:
    """The network in several widths of weights, those of few bits trained further."""
    model = sc.zoo.pretrained("digits")
    yield "float32", model
    yield "8 bits, as quantised", quantised(model, train)
    for name, epochs, options in (
        ("4 bits, trained for 5 more epochs", 5, {"weights": 4, "scale": "learned"}),
        ("ternary, trained for 15 more epochs", 15, {"weights": 2, "scale": "learned", "per": "channel"}),
    ):
        small, batches = quantised(model, train, **options), Loader(train, batch_size=64, seed=0)
        steps = model.notes["num_steps"]
        small.fit(batches, optimizer=sc.Adam(lr=2e-3), epochs=epochs, num_steps=steps, progress=False)
        yield name, small


def of_fashion(train: Dataset) -> Iterator[Tuple[str, sc.Model]]:
    """The convolutional network in several widths of weights, without further training."""
    model = sc.zoo.pretrained("fashion_mnist")
    yield "float32", model
    yield "8 bits, as quantised", quantised(model, train)
    yield "4 bits, as quantised", quantised(model, train, weights=4, scale="mse", per="channel")


def in_c(name: str, model: sc.Model, test: Dataset, steps: int) -> str:
    """A row: accuracy, memory, and microseconds of a step."""
    accuracy = model.evaluate(Loader(test, batch_size=200, shuffle=False), num_steps=steps)["accuracy"]
    with tempfile.TemporaryDirectory() as folder:
        sc.export(model, Path(folder, "net"), dtype="float32" if name == "float32" else "fixed", example=False)
        Path(folder, "main.c").write_text(PROGRAM)
        calls = 20_000 if model.input_shape == (64,) else 50
        options = ["-std=c99", "-O3", "-ffp-contract=off", f"-DROUNDS={ROUNDS}", f"-DCALLS={calls}", "-o", "timed"]
        subprocess.run(["gcc", *options, "main.c", "net.c", "-lm"], cwd=folder, check=True)
        printed = subprocess.run([str(Path(folder, "timed"))], capture_output=True, text=True, check=True).stdout
        header = Path(folder, "net.h").read_text()
    size = {kind: int(number) for kind, number in re.findall(r"#define NET_(\w+)_BYTES (\d+)", header)}
    ram = size["STATE"] + size["SCRATCH"]
    return f"| {name} | {accuracy:.1%} | {ram:,} | {size['CONSTANT']:,} | {' | '.join(printed.split())} |"


def fastest(call: Callable[[], Any], calls: int) -> float:
    """Microseconds of a call: the fastest of some rounds of so many calls."""
    spent = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(calls):
            call()
        spent.append((time.perf_counter() - begun) / calls * 1e6)
    return min(spent)


def in_onnx(model: sc.Model) -> Iterator[str]:
    """Rows: microseconds of a step in onnxruntime, and of the NumPy engine."""
    import onnxruntime

    alone = onnxruntime.SessionOptions()
    alone.intra_op_num_threads, alone.log_severity_level = 1, 3
    for title, steps, batch in (
        ("a step, one sample", 1, 1),
        ("a sequence, one sample", 1000, 1),
        ("a step, 64", 1, 64),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "net.onnx")
            sc.export(model, path, to="onnx", batch_size=batch, sequence=steps > 1)
            session = onnxruntime.InferenceSession(str(path), alone)
        x = np.random.default_rng(0).random((steps, batch, 64), dtype="float32")
        shown = {"input": x if steps > 1 else x[0]}
        spent = fastest(partial(session.run, None, shown), 2000 // steps) / steps
        yield f"| {title} | {spent:.1f} |"
    stream, sample = model.stream(), np.random.default_rng(0).random((1, 64), dtype="float32")
    yield f"| `model.stream()`, one sample | {fastest(lambda: stream.step(sample), 2000):.1f} |"
    x = np.random.default_rng(0).random((1000, 64, 64), dtype="float32")
    yield f"| NumPy engine, a sequence, 64 | {fastest(lambda: model(x), 1) / 1000:.1f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the files of FashionMNIST; default: digits alone")
    folder = parser.parse_args().data
    print(machine.sentence(machine.describe("cpu")))
    networks = [(of_digits, digits(), 15)]
    if folder is not None:
        networks.append((of_fashion, fashion_mnist(folder, image=True), 8))
    for variants, (train, test), steps in networks:
        print(
            "\n| weights | accuracy | RAM, bytes | tables in flash, bytes | a step, half of the inputs, µs | all, µs |"
        )
        print("|---|--:|--:|--:|--:|--:|")
        for name, model in variants(train):
            print(in_c(name, model, test, steps), flush=True)
    print("\n| ONNX, `digits` | a step, µs |\n|---|--:|")
    for row in in_onnx(sc.zoo.pretrained("digits")):
        print(row, flush=True)


if __name__ == "__main__":
    main()
