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

TESTS = Path(__file__).parent
# What compares engines, kernels with loops, ways to run or to train with one another, or figures of trained networks.
FILES = """
conformance/test_cross.py conformance/test_kernels.py conformance/test_executors.py conformance/test_scan.py
test_backprop.py test_backprop_modules.py test_compile.py test_convert.py test_delays.py test_demo.py test_diagnosis.py
test_docs.py test_examples.py test_fit_accumulate.py test_fit_sequences.py test_fit_steps.py test_kernels.py
test_kernels_narrow.py test_kernels_narrow_torch.py test_memory_budget.py test_model.py test_nn_narrow.py
test_nn_run.py test_nn_step.py test_online_rules.py test_own_loop.py test_plasticity_training.py test_precision.py
test_psn.py test_pruning_training.py test_quantize.py test_readme.py test_resume.py test_stream.py test_stream_events.py
test_torch_layer.py test_torch_modes.py test_zoo.py test_zoo_pretrained.py
""".split()
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


def run(order):
    """Run the tests under an order: pytest's exit code, what it says in the end, and the seconds it took."""
    variables = {"OMP_NUM_THREADS": "1", **ORDERS[order]}
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    workers = max(1, int(os.environ.get("WORKERS", "2")) // int(variables["OMP_NUM_THREADS"]))
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile"]
    drawn = "PERMUTED_SUMS" in variables
    command += ["-p", "permuted_sums"] if drawn else []
    # torch ends in the backward pass of some convolutions of the page on the zoo if its products are exchanged.
    files = [file for file in FILES if not (drawn and file == "test_docs.py")]
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, *(str(TESTS / file) for file in files)],
        env={**os.environ, **variables, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        last = ""
        for last in process.stdout:
            print(last, end="", flush=True)
    return process.returncode, re.sub(r"^=+ | in [\d.]+s.*", "", last.strip()), time.perf_counter() - begun


def main(names):
    rows, wrong = [], 0
    for order in names or ORDERS:
        lacks = lacking(order)
        if lacks:
            rows.append(f"{order:<12} not run: this processor has no {', '.join(lacks)}")
            continue
        code, said, seconds = run(order)
        wrong += code != 0
        rows.append(f"{order:<12} {'passes' if code == 0 else 'FAILS':<7} {said}; {seconds:.0f} s")
    print("\n".join(["", *rows]))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
