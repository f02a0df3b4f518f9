"""A training imports what it uses: little of the core, and no room."""

from __future__ import annotations

import ast
import gc
import importlib.util
import io
import subprocess
import sys
import tokenize

import pytest

from spikecore.on_use import imported as imported_without_collections
from tests import ROOT
from tests.house.doors import ROOMS

MOST_MODULES, MOST_LINES = 131, 11_300  # lines of code: what explains the code may grow
FIT = """
import sys
import numpy as np
import spikecore as sc

net = sc.Sequential(sc.Linear(4, 8), sc.Leaky(beta=0.9), sc.Linear(8, 2), sc.Leaky(beta=0.9))
rng = np.random.default_rng(0)
x, y = rng.random((16, 4), dtype=np.float32), rng.integers(0, 2, 16)
sc.Model(net, engine="numpy").fit(x, y, epochs=1, num_steps=5, batch_size=8, progress=False)
print(*(name for name in sys.modules if name.partition(".")[0] == "spikecore"))
"""
MOST_OF_A_RUN = 150  # modules, with those that have kernels compiled in the background
RUN = """
import sys
import torch
import spikecore.nn as snn

net = torch.nn.Sequential(torch.nn.Linear(4, 8), snn.Leaky(beta=0.9, init_hidden=True))
snn.run(net, torch.rand(5, 2, 4)).sum().backward()
print(*(name for name in sys.modules if name.partition(".")[0] == "spikecore"))
"""
MODULE = """
import gc

collecting = gc.isenabled()
if {fails}:
    raise ValueError("this module fails")
"""
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def lines_of_code(text):
    """How many lines have code: no docstring, no comment, no empty line."""
    strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    docs = [s for s in strings if isinstance(s, ast.Constant) and isinstance(s.value, str)]
    explained = {line for s in docs for line in range(s.lineno, s.end_lineno + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    written = {line for t in tokens if t.type not in NO_CODE for line in range(t.start[0], t.end[0] + 1)}
    return len(written - explained)


def test_lines_of_code_are_counted():
    assert lines_of_code('"""Doc."""\n\nx = 1  # why\n# alone\ny = """a\nb"""\n') == 3


def imported(program):
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()


def test_a_training_of_two_layers_imports_no_more_than_it_uses():
    modules = imported(FIT)
    paths = [ROOT.joinpath(*name.split(".")) for name in modules]
    files = [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in paths]
    assert not [name for name in modules if name.split(".")[1:2] and name.split(".")[1] in ROOMS]
    assert len(files) <= MOST_MODULES
    assert sum(lines_of_code(file.read_text("utf-8")) for file in files) <= MOST_LINES


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_first_run_of_modules_imports_no_more_than_it_uses():
    modules = imported(RUN)
    assert len(modules) <= MOST_OF_A_RUN
    assert not {f"spikecore.engines.torch.nn.{name}" for name in ("convert", "lstm", "parallel")} & {*modules}


def switch(on):
    (gc.enable if on else gc.disable)()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("collecting", [False, True])
def test_the_garbage_collector_rests_while_a_module_is_imported_and_no_longer(fails, collecting, tmp_path, monkeypatch):
    name = f"imported_{fails}_{collecting}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(fails=fails))
    monkeypatch.syspath_prepend(tmp_path)
    before = gc.isenabled()
    switch(collecting)
    try:
        if fails:
            with pytest.raises(ValueError, match="this module fails"):
                imported_without_collections(name)
        else:
            assert not imported_without_collections(name).collecting
        assert gc.isenabled() == collecting
    finally:
        switch(before)
