"""Mutants of 60 places: one small mistake each, in a copy of the package; the tests that belong to the place must fail.

    python tests/mutation/run.py                run all mutants (make mutants), and list the survivors
    python tests/mutation/run.py 3 17           run these alone
    python tests/mutation/run.py --draw         draw the list anew; then give the equivalents their reasons
    python tests/mutation/run.py --mend         draw others for lines that are not there any more

``mutants.json`` is the list: 60 places drawn with ``SEED`` from ``PLACES``. A mutant is a line of a file and what
stands there instead. It survives if its tests pass. One that no test can find, since nothing a user sees depends on it,
has a reason as ``equivalent``, and is not run.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.json")
SEED, COUNT = 0, 60
LIMIT = 60.0  # seconds of a processor for one mutant, however busy the machine is
WAITING = 10.0  # times as long by the clock, in which a mutant that only waits is stopped
BROKEN = 99  # exit status where no test ran
NEURONS = " ".join(f"tests/conformance/test_{name}.py" for name in ("neuron_equations", "parallel", "neurons"))
NEWCOMER = " ".join(f"tests/house/test_newcomer{name}.py" for name in ("", "_arguments", "_mistakes"))
KERNELS = " ".join(f"tests/kernels/test_{name}.py" for name in ("kernels", "kernels_threads", "small"))
KERNELS += " tests/conformance/test_kernels.py"
SPARSE = " ".join(
    f"tests/kernels/test_sparse_{name}.py" for name in "products weights convolutions backward kept taps".split()
)
MEMORY = "tests/kernels/test_memory.py tests/engines/test_memory.py"
STREAMS = "tests/kernels/test_stream.py tests/datasets/test_stream_events.py"
ENGINE = ("engine_contract", "words", "backprop", "scan", "layers", "executors")
NUMPY = " ".join(f"tests/conformance/test_{name}.py" for name in ENGINE)
#: Where mutants are drawn, and the tests that belong there; the first row that fits counts.
PLACES: Dict[str, str] = {
    "api/core/rules.py": "tests/conformance/test_words.py",
    "api/neurons/psn.py": f"tests/core/test_psn.py {NEURONS}",
    "api/neurons/state_space.py": f"tests/core/test_resonators.py {NEURONS}",
    "api/neurons/resonate.py": f"tests/core/test_resonators.py {NEURONS}",
    "api/neurons/keywords.py": f"{NEWCOMER} tests/core/test_bad_input.py",
    "api/neurons": f"{NEURONS} tests/conformance/test_scan.py tests/core/test_states.py tests/core/test_bad_input.py",
    "kernels/sparse/vectors.py": f"{SPARSE} tests/kernels/test_compiler.py",
    "kernels/sparse": SPARSE,
    "kernels/streaming": f"{STREAMS} tests/conformance/test_streams.py",
    "kernels/select.py": "tests/kernels/test_small.py tests/kernels/test_kernels.py",
    "kernels/runtime/allocator.py": MEMORY,
    "kernels/runtime/background.py": "tests/kernels/test_small.py",
    "kernels/runtime": KERNELS,
    "kernels/triton.py": "tests/kernels/test_triton.py",
    "kernels/cuda.py": "tests/kernels/test_cuda.py",
    "kernels/device.py": "tests/kernels/test_triton.py tests/kernels/test_cuda.py",
    "kernels/sequence_gpu.py": "tests/kernels/test_triton.py tests/kernels/test_cuda.py",
    "kernels/moments.py": "tests/engines/test_torch_batch_norm.py tests/core/test_layers_normalisation.py",
    "kernels/eligibility.py": "tests/learning/test_single_steps.py",
    "kernels/jacobian.py": "tests/learning/test_single_steps.py",
    "kernels/readout.py": "tests/kernels/test_narrow.py",
    "kernels/tiles.py": "tests/kernels/test_narrow.py",
    "kernels/step_kernel.py": "tests/nn/test_step.py",
    "kernels": KERNELS,
    "engines/numpy/samples.py": "tests/engines/test_numpy_samples.py",
    "engines/numpy/stream.py": STREAMS,
    "engines/numpy/sparse_input.py": "tests/kernels/test_sparse_backward.py tests/kernels/test_sparse_products.py",
    "engines/numpy/arrays.py": f"tests/engines/test_numpy_samples.py {NUMPY}",
    "engines/numpy/executor.py": "tests/conformance/test_executors.py tests/conformance/test_optimizers.py",
    "engines/numpy": f"{NUMPY} tests/training/test_checkpointing.py",
}
COMPARED = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}  # fmt: skip
COMPUTED = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.MatMult: ("@", "+"), ast.Pow: ("**", "*"),
}  # fmt: skip
JOINED = {ast.And: ("and", "or"), ast.Or: ("or", "and")}


# ---- the list ------------------------------------------------------------------------------------------------------


def draw() -> List[Dict[str, Any]]:
    """The places, in the order of the files and lines."""
    files = sorted({file for place in PLACES for file in _files(ROOT / "spikecore" / place)})
    every = [mutant for file in files for mutant in _mutants(file)]
    return sorted(random.Random(SEED).sample(every, COUNT), key=lambda mutant: (mutant["file"], mutant["line"]))


def mended(mutants: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The mutants, with another one of the same file, or of any if that is gone, where a line is not there any more."""
    draw, kept = random.Random(SEED), []
    for mutant in mutants:
        file = ROOT / mutant["file"]
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
        files = [file] if lines else sorted({file for place in PLACES for file in _files(ROOT / "spikecore" / place)})
        there = mutant["old"] in lines
        kept.append(mutant if there else draw.choice([each for file in files for each in _mutants(file)]))
    return kept


def _files(path: Path) -> List[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _mutants(file: Path) -> Iterator[Dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        for start, end, new in _changes(node, lines):
            line = lines[start[0] - 1]
            yield {
                "file": file.relative_to(ROOT).as_posix(),
                "line": start[0],
                "old": line.strip(),
                "new": (line[: start[1]] + new + line[end:]).strip(),
            }


def _changes(node: Any, lines: List[str]) -> Iterator[Tuple[Tuple[int, int], int, str]]:
    """Places (line, column) of a node's text, its end, and other text; only what stands in one line."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from _between(node.left, node.comparators[0], COMPARED.get(type(node.ops[0])), lines)
    elif isinstance(node, ast.BinOp):
        yield from _between(node.left, node.right, COMPUTED.get(type(node.op)), lines)
    elif isinstance(node, ast.BoolOp):
        yield from _between(node.values[0], node.values[1], JOINED[type(node.op)], lines)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool) and node.lineno == node.end_lineno:
        new = str(not node.value) if isinstance(node.value, bool) else str(node.value + 1)
        yield (node.lineno, node.col_offset), node.end_col_offset, new
    elif isinstance(node, (ast.If, ast.IfExp)) and node.test.lineno == node.test.end_lineno:
        test = lines[node.test.lineno - 1][node.test.col_offset : node.test.end_col_offset]
        yield (node.test.lineno, node.test.col_offset), node.test.end_col_offset, f"not ({test})"


def _between(left: Any, right: Any, operator: Any, lines: List[str]) -> Iterator[Tuple[Tuple[int, int], int, str]]:
    """Another operator between two operands; what else stands there, such as brackets, stays."""
    if operator is not None and left.end_lineno == right.lineno:
        text = lines[right.lineno - 1][left.end_col_offset : right.col_offset]
        yield (right.lineno, left.end_col_offset), right.col_offset, text.replace(*operator, 1)


def tests_of(file: str) -> List[str]:
    """The tests that belong to a file of the package."""
    return next(tests for place, tests in PLACES.items() if file.startswith(f"spikecore/{place}")).split()


# ---- running them --------------------------------------------------------------------------------------------------


def run(mutant: Optional[Dict[str, Any]], tests: List[str], limit: float) -> Tuple[str, float]:
    """What became of a mutant ("found by ...", "survives" or "hangs"), or of the package as it is; and processor time.

    The tests run in a child of this process, which has imported what takes long, but nothing of the package.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "spikecore", Path(folder, "spikecore"), ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            apply(mutant, Path(folder, mutant["file"]))
        child = os.fork()
        if not child:
            _child(folder, tests, limit)
        end = time.monotonic() + WAITING * limit
        while time.monotonic() < end:
            done, status, used = os.wait4(child, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return _verdict(code, Path(folder, "log"), mutant), used.ru_utime + used.ru_stime
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "hangs", limit


def _verdict(code: int, log: Path, mutant: Optional[Dict[str, Any]]) -> str:
    """What an exit status of pytest says; a crash is found, and so is a mutant that the suite cannot be imported with.

    Raises:
        RuntimeError: pytest did not run.
    """
    if code == 0:
        return "survives"
    if code == -signal.SIGXCPU:
        return "hangs"
    text = log.read_text(encoding="utf-8", errors="replace")
    if mutant is not None and code in (3, 4, BROKEN) and mutant["file"] in text:
        return "found by an import"
    if code in (3, 4, 5, BROKEN):
        raise RuntimeError(f"the tests did not run:\n{text[-3000:]}")
    first = [line for line in text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return f"found by {first[0].split(' - ')[0].split()[1]}" if first else f"found: exit status {code}"


def apply(mutant: Dict[str, Any], path: Path) -> None:
    """Write the mutant's line into a copy of its file.

    Raises:
        ValueError: the line is not there any more.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    at = [i for i, line in enumerate(lines) if line.strip() == mutant["old"]]
    if not at:
        raise ValueError(f"{mutant['file']} has no line {mutant['old']!r} any more: run.py --mend draws another")
    nearest = min(at, key=lambda i: abs(i + 1 - mutant["line"]))  # lines move when a file is edited
    lines[nearest] = lines[nearest].replace(mutant["old"], mutant["new"])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _child(folder: str, tests: List[str], limit: float) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 1))
    out = os.open(Path(folder, "log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join((folder, str(ROOT)))
    os.environ["PYTHONSAFEPATH"] = "1"  # else ``python -c`` looks in the current folder first
    os.environ["SPIKECORE_CACHE"] = os.environ["NUMBA_CACHE_DIR"] = str(Path(folder, "cache"))
    os.chdir(ROOT)
    import pytest

    code = BROKEN
    try:
        options = ["-q", "-x", "-p", "no:cacheprovider", "--engine", "numpy", "--rootdir", str(ROOT)]
        options.append("--import-mode=append")  # or this repository's package comes first for what the tests start
        code = int(pytest.main([*options, *tests]))
        import spikecore

        assert str(spikecore.__file__).startswith(folder), "the tests ran with another copy of the package"
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """Run mutants; the exit status is the number of those that survive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, help="which mutants; default: all")
    parser.add_argument("--draw", action="store_true", help="write the list anew")
    parser.add_argument("--mend", action="store_true", help="draw others for lines that are gone")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of a processor for one mutant")
    arguments = parser.parse_args()
    if arguments.draw or arguments.mend:
        drawn = draw() if arguments.draw else mended(json.loads(LIST.read_text(encoding="utf-8")))
        LIST.write_text(json.dumps(drawn, indent=1) + "\n", encoding="utf-8")
        return 0
    for module in ("numpy", "torch", "numba", "pytest"):
        __import__(module)
    mutants, survivors = json.loads(LIST.read_text(encoding="utf-8")), 0
    for number in arguments.numbers or range(len(mutants)):
        mutant = mutants[number]
        if "equivalent" in mutant:
            print(f"{number:2} equivalent: {mutant['file']}:{mutant['line']}: {mutant['equivalent']}", flush=True)
            continue
        verdict, seconds = run(mutant, tests_of(mutant["file"]), arguments.limit)
        survivors += verdict == "survives"
        print(
            f"{number:2} {verdict} in {seconds:.0f} s: {mutant['file']}:{mutant['line']}: {mutant['new']}", flush=True
        )
    print(f"{survivors} survive")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
