"""``make orders``: the tests that compare engines, kernels and trainings, under other orders of summation.

    python tests/orders.py [NAME ...]          # all orders, or those of these names

Numbers in float32 are added up in one order on one processor and in another on the next: by other vector units, another
number of threads, another library of products. So the last bit of a sum differs, sooner or later a spike flips, and
two trainings part. A test of two paths must hold under every order: it compares in float64, or before a spike can flip,
or over seeds. Each order here is one that some processor has, but for the drawn ones, see ``permuted_sums.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What compares engines and ways to run or to train with one another, or figures of trained networks: under every order.
FILES = """
cli/test_demo.py conformance/test_cross.py core/test_delays.py core/test_psn.py docs/test_examples.py
docs/test_readme.py engines/test_precision.py engines/test_torch_layer.py learning/test_backprop.py
learning/test_backprop_modules.py learning/test_online_rules.py learning/test_plasticity_training.py nn/test_run.py
nn/test_run_noticed.py nn/test_step.py training/test_diagnosis.py training/test_fit_callbacks.py
training/test_fit_sequences.py training/test_fit_steps.py training/test_model.py training/test_own_loop.py
training/test_predict.py training/test_pruning_training.py training/test_quantize.py
training/test_quantize_training.py training/test_resume.py zoo/test_pretrained.py
""".split()
# What takes long, under the orders that can change it. Kernels are compiled for another processor in one order alone,
# and meet other products where these are drawn; the rest runs under one order.
KERNELS = """
conformance/test_kernels.py conformance/test_scan.py kernels/test_kernels.py kernels/test_narrow.py nn/test_narrow.py
""".split()
LONG = {
    **dict.fromkeys(KERNELS, "before-avx drawn-2"),
    "kernels/test_kernels_threads.py": "before-avx two-threads", "kernels/test_compile.py": "before-avx",
    "kernels/test_narrow_torch.py": "drawn-2", "conformance/test_executors.py": "drawn-2 two-threads",
    "docs/test_docs.py": "drawn-1", "convert/test_convert.py": "avx2", "engines/test_memory_budget.py": "two-threads",
    "engines/test_torch_modes.py": "avx2", "kernels/test_stream.py": "drawn-1",
    "datasets/test_stream_events.py": "avx2", "training/test_fit_accumulate.py": "drawn-1", "zoo/test_zoo.py": "avx2",
}  # fmt: skip
try:
    from numpy._core._multiarray_umath import __cpu_dispatch__ as vector_units
except ImportError:  # NumPy 1
    from numpy.core._multiarray_umath import __cpu_dispatch__ as vector_units  # noqa: NPY001

ORDERS = {
    "two-threads": {"OMP_NUM_THREADS": "2"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"},
    "avx512": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "before-avx": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": " ".join(vector_units),
        "NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "",
    },
    "drawn-1": {"PERMUTED_SUMS": "1"},
    "drawn-2": {"PERMUTED_SUMS": "2"},
}  # fmt: skip
NEEDS = {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}


def lacking(order):
    """What this processor lacks for an order: a library that was told otherwise would end by an illegal instruction."""
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        said = ""
    flags = said.partition("\nflags")[2].partition("\n")[0].split()
    return sorted(NEEDS.get(order, set()) - set(flags))


def seconds_of_processors():
    """Seconds that processors have worked for the children of this process which have ended."""
    times = os.times()
    return times.children_user + times.children_system


def run(order):
    """Run the tests under an order: pytest's exit code, what it says in the end, and how long it took."""
    variables = {"OMP_NUM_THREADS": "1", **ORDERS[order]}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    workers = max(1, int(os.environ.get("WORKERS", "2")) // int(variables["OMP_NUM_THREADS"]))
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    command += ["-p", "tests.permuted_sums"] if "PERMUTED_SUMS" in variables else []
    files = [*FILES, *(file for file, its in LONG.items() if order in its.split())]
    begun, worked = time.perf_counter(), seconds_of_processors()
    with subprocess.Popen(
        [*command, *(str(ROOT / "tests" / file) for file in files)],
        env={**os.environ, **variables, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        last = ""
        for last in process.stdout:
            print(last, end="", flush=True)
    took = f"{time.perf_counter() - begun:.0f} s, {seconds_of_processors() - worked:.0f} s of processors"
    return process.returncode, re.sub(r"^=+ | in [\d.]+s.*", "", last.strip()), took


def main(names):
    rows, wrong = [], 0
    for order in names or ORDERS:
        lacks = lacking(order)
        if lacks:
            rows.append(f"{order:<12} not run: this processor has no {', '.join(lacks)}")
            continue
        code, said, took = run(order)
        wrong += code != 0
        rows.append(f"{order:<12} {'passes' if code == 0 else 'FAILS':<7} {said}; {took}")
    print("\n".join(["", *rows]))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
