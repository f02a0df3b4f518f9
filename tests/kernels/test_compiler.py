"""Kernels that LLVM alone compiles do what Python says and what Numba makes of them, to the last bit."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

import spikecore as sc  # noqa: E402
from spikecore.kernels import (
    ready,  # noqa: E402
    select,  # noqa: E402
)
from spikecore.kernels.base import Wanted  # noqa: E402
from spikecore.kernels.emit import SPELLING  # noqa: E402
from spikecore.kernels.runtime import allocator, build, compiler, functions, instructions, machine_code, modules  # noqa: E402
from spikecore.kernels.runtime.kernel import Kernel  # noqa: E402
from spikecore.kernels.sparse import bits, gather, lists  # noqa: E402
from tests import ROOT  # noqa: E402

EXTREMES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 3.7, -3.2, 90.0, -110.0, 1e-40, np.inf, -np.inf, np.nan]


def source(*lines):
    """A kernel of a table of numbers a, b and of arrays x, y, out."""
    head = ["def probe(worker, workers, table):", "a, b = table[0], table[1]", "x, y = row(table[2]), row(table[4])"]
    return "\n    ".join([*head, "out = row(table[6])", *lines]) + "\n"


def compiled(recipe):
    return machine_code.link(recipe.name, compiler.object_of(*recipe))


def run(recipe, numbers=(0, 0), x=(0.0,), y=(0.0,), function=compiled, dtype="float32", size=8):
    arrays = [np.array(values, dtype) for values in (x, y)]
    out = np.zeros(size, dtype)
    Kernel(function(recipe), dtype)(1, numbers, [*arrays, out])
    return out


def recipe(*lines, dtype="float32"):
    return build.recipe_of_run(source(*lines), "probe", dtype)


def test_divisions_and_their_rests_are_pythons():
    divided = recipe("out[0] = F(a // b)", "out[1] = F(a % b)")
    for a, b in itertools.product((-7, -6, -1, 0, 1, 6, 7), (-3, -2, -1, 1, 2, 3)):
        assert tuple(run(divided, (a, b))[:2]) == (a // b, a % b)


@pytest.mark.parametrize("a", [0, 2, 3])
def test_what_cannot_matter_is_not_computed(a):
    """A division by zero would end the process."""
    lines = "out[0] = F(1.0) if a > 0 and b % a == 0 else F(0.0)", "out[1] = F(1.0) if a == 0 or b % a == 0 else F(0.0)"
    lines = *lines, "out[2] = F(b // a) if a != 0 else F(-1.0)"
    found = run(recipe(*lines), (a, 6))[:3]
    np.testing.assert_array_equal(found, [a > 0 and 6 % a == 0, a == 0 or 6 % a == 0, 6 // a if a else -1])


def test_loops_go_as_in_python_and_leave_their_last_value():
    lines = "n = 0", "for i in range(a, b, -2):", "    for j in range(3):", "        n += i * j", "    pass", "k = 0"
    lines = *lines, "while k * k < a:", "    k += 1", "out[0], out[1], out[2] = F(n), F(i), F(k)"
    n = sum(i * j for i in range(9, -2, -2) for j in range(3))
    assert tuple(run(recipe(*lines), (9, -2))[:3]) == (n, -1, 3)


def test_conditions_choose_between_statements():
    chosen = recipe("if a < b:", "    n = 1", "elif a == b:", "    n = 2", "else:", "    n = 3", "out[0] = F(n)")
    assert [run(chosen, pair)[0] for pair in ((1, 2), (2, 2), (3, 2))] == [1, 2, 3]


def by_numba(recipe):
    return getattr(modules.load(recipe.text, machine_code.code_around()), recipe.name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_word_has_the_bits_of_numba(dtype, monkeypatch):
    """Pairs of extreme values and of drawn ones, at which words are defined."""
    monkeypatch.setattr(machine_code, "load", lambda entry: None)  # what lies on disk was compiled by LLVM alone
    drawn = np.random.default_rng(0).normal(0.0, 3.0, (2, 200))
    x, y = np.concatenate([np.array([*itertools.product(EXTREMES, EXTREMES)]).T, drawn], axis=1)
    truths = {"logical_and", "logical_or", "logical_not", "astype", "where"}
    words = {**SPELLING, "exp_of_pair": "exp({0} - {1})"}
    body = ["for j in range(a):", "    u, v = x[j], y[j]", "    p, q = u > v, u != u"]
    for i, (word, text) in enumerate(words.items()):
        given = ("p", "q", "v") if word in truths else ("u", "v", "F(2.0)")
        body.append(f"    out[{i} * a + j] = F({text.format(*given)})")
    whole = recipe(*body, dtype=dtype)
    size, order = len(words) * len(x), np.dtype(dtype).str.replace("f", "u")
    ours, numbas = (run(whole, (len(x), 0), x, y, how, dtype, size) for how in (compiled, by_numba))
    assert len({*ours[np.isfinite(ours)]}) > 1000
    ours, numbas = (np.where(np.isnan(a), np.float64(np.nan), a).astype(dtype).view(order) for a in (ours, numbas))
    np.testing.assert_array_equal(ours.reshape(len(words), -1), numbas.reshape(len(words), -1))


@pytest.mark.parametrize("weighted", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_sums_by_lists_have_the_bits_of_numba(weighted, monkeypatch):
    """Functions of vectors are written once for LLVM alone and once for Numba."""
    monkeypatch.setattr(machine_code, "load", lambda entry: None)
    draw = np.random.default_rng(0)
    graded = (draw.normal(size=(9, 200)) * (draw.random((9, 200)) < 0.1)).astype("float32")
    listed = lists.by_rows(bits.pack(graded), graded if weighted else None)
    matrix, found = draw.normal(size=(200, 70)).astype("float32"), []
    for how in (compiled, by_numba):
        kernel = Kernel(how(gather.recipe("float32", weighted)), "float32")
        monkeypatch.setattr(gather, "_gather", lambda dtype, weighted, kernel=kernel: kernel)
        found.append(gather.sums(listed, matrix))
    np.testing.assert_array_equal(*found)
    expected = (graded if weighted else graded != 0.0).astype("float64") @ matrix
    np.testing.assert_allclose(found[1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", [compiled, by_numba])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_fetched_and_written_past_the_cache(dtype, how):
    from spikecore.kernels import large

    x, out = (allocator.zeros((64,), dtype) for _ in range(2))
    x[:] = np.random.default_rng(0).random(64)
    made = [how(large.recipe(name, dtype)) for name in large.SOURCES]
    fetch, stream = (ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * 3)(one.address) for one in made)
    fetch(x.ctypes.data, 64, 1)
    stream(x.ctypes.data, out.ctypes.data, 48)
    stream(0, 0, 0)
    np.testing.assert_array_equal(out, np.where(np.arange(64) < 48, x, 0.0))
    if how is compiled:  # without these words it would do the same, but slowly
        fetch, stream = (compiler.llvm_of(*large.recipe(name, dtype)) for name in large.SOURCES)
        assert "@llvm.prefetch.p0(ptr" in fetch
        assert "!nontemporal" in stream
        assert "fence" in stream


def test_a_sum_may_be_taken_in_any_order_where_a_recipe_says_so():
    text = "def probe(x, out, count):\n    total = F(0.0)\n    for j in range(count):\n        total += row(x)[j]\n"
    recipes = [build.recipe_of_tile(f"{text}    row(out)[0] = total\n", "probe", "float32", 3)]
    recipes.append(recipe("total = F(0.0)", "for j in range(a):", "    total += x[j]", "out[0] = total"))
    reordered, in_order = (compiler.llvm_of(*recipe) for recipe in recipes)
    assert "reassoc" in reordered
    assert "reassoc" not in in_order
    x = np.random.default_rng(0).random(1000, np.float32)
    total = np.float32(0.0)
    for value in x:
        total += value
    assert run(recipes[1], (1000, 0), x)[0] == total


@pytest.mark.parametrize(
    "line",
    [
        "n = 0.5",
        "n = np.random.random()",
        "n = [a, b]",
        "n = a @ b",
        "for n in (a, b):\n        pass",
        "n = a < b < 3",
        "n = unknown",
        "n = a\n    n = x[0]",
        "n = x[x[0]]",
        "n = x[0] // x[1]",
        "return a",
        "n = np.uint64(1) + a",
        "n = np.uint64(1) < a",
    ],
)
def test_what_is_no_part_of_kernels_is_left_to_numba(line):
    with pytest.raises(compiler.Unspoken):
        compiler.llvm_of(*recipe(line))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_with_spikes_are_not_left_to_numba(dtype):
    for _, recipe in ready.recipes(dtype):
        assert f"@{recipe.name}(" in compiler.llvm_of(*recipe)


def test_neurons_with_learned_numbers_are_not_left_to_numba():
    """Parameters that are arrays of one number, as modules have them, forwards and backwards."""
    neuron, number = sc.Leaky(beta=sc.learn(0.9), threshold=sc.learn(1.0)), np.ones((), np.float32)
    params = {"beta": number, "threshold": number, "graded_spikes_factor": 1.0}
    recipes = select.recipes_of(neuron, params, (), Wanted(True, ("beta",)), False)
    assert [recipe.name for recipe in recipes] == ["forward", "backward"]
    for recipe in recipes:
        assert f"@{recipe.name}(" in compiler.llvm_of(*recipe)


def test_loops_are_left_and_begun_anew_and_kernels_end_early():
    lines = (
        "n = 0",
        "while True:",
        "    n += 1",
        "    if n % 2 == 0:",
        "        continue",
        "    if n > a:",
        "        break",
    )
    early = recipe(*lines, "out[0] = F(n)", "if n > b:", "    return", "out[1] = F(n)")
    assert [tuple(run(early, pair)[:2]) for pair in ((4, 5), (6, 6))] == [(5, 5), (7, 0)]


def test_several_names_for_one_value():
    assert tuple(run(recipe("n = m = a + b", "m += 1", "out[0] = F(n)", "out[1] = F(m)"), (4, 5))[:2]) == (9, 10)


def test_numbers_without_a_sign_move_zeros_in_and_short_ones_are_cut_off():
    signs = recipe(
        "w = np.uint64(a)", "out[0] = F(w >> np.uint64(60))", "out[1] = F(a >> 60)", "out[2] = F(np.uint8(a))"
    )
    assert tuple(run(signs, (-3, 0))[:3]) == (15, -1, 253)


def test_a_function_with_an_order_of_its_own_is_left_to_numba():
    helper = '@njit(error_model="numpy", fastmath={"contract"})\ndef twice(x):\n    return x + x\n'
    with pytest.raises(compiler.Unspoken, match="order"):
        compiler.llvm_of(*build.recipe_of_run(source("out[0] = twice(x[0])"), "probe", "float32", before=helper))


def test_options_of_numba_are_left_to_numba(monkeypatch):
    simple = recipe("out[0] = x[0]")
    assert compiler.object_of(*simple)
    monkeypatch.setenv("NUMBA_OPT", "0")
    with pytest.raises(compiler.Unspoken, match="options"):
        compiler.object_of(*simple)


def test_a_neuron_of_ones_own_is_compiled_without_numba(tmp_path):
    program = """
import sys
from pathlib import Path
import numpy as np
import spikecore as sc
from spikecore.base import Membrane, State

class Mine(Membrane):
    state = ("mem",)

    def step(self, engine, params, state, x):
        spikes, mem = self.fire(engine, params, 0.5 * state.mem + x)
        return spikes, State(mem=mem)

model = sc.Model(Mine(), engine=sc.get_engine("numpy", fused=True))
print(model(np.ones((2, 3), np.float32), num_steps=4).spikes.sum(), "numba" in sys.modules)
"""
    environment = {**os.environ, "SPIKECORE_CACHE": str(tmp_path), "SPIKECORE_BACKGROUND": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    assert done.stdout.split() == ["18.0", "False"]


def test_kernels_on_disk_are_those_of_this_compiler():
    """A change of the compiler's files is a change of every kernel that it has made."""
    for file in (compiler, instructions, functions):
        assert Path(file.__file__).read_text(encoding="utf-8") in machine_code.code_around(), file.__name__
