"""Python 3.8 is part of the product: an IPU user has no newer one."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess

import pytest

from tests import ROOT
from tests.house.sources import tree

TRAINING = """
import spikecore as sc

model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.Leaky(beta=sc.learn(0.9))), "numpy")
before = model.params()
model.fit([([[1.0, 2.0], [2.0, 1.0]], [0, 1])], optimizer=sc.Adam(lr=0.1), num_steps=3, progress=False)
after = model.params()
assert any((before[name] != after[name]).any() for name in before), "nothing was learned"
model.load_state(model.state())
"""


def test_the_syntax_is_that_of_python_38():
    trees = [tree(path) for path in (ROOT / "spikecore").rglob("*.py")]  # an error names its file
    assert len(trees) > 300


def test_python_38_compiles_and_imports(tmp_path):
    """Where there is an interpreter: every file compiles; where it has NumPy, the NumPy engine trains."""
    python = os.environ.get("PYTHON38") or shutil.which("python3.8")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip("no python3.8 on the PATH, nor in $PYTHON38")
    copied = shutil.copytree(ROOT / "spikecore", tmp_path / "spikecore", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([python, "-m", "compileall", "-q", str(copied)], check=True)
    if subprocess.run([python, "-c", "import numpy, array_api_compat"], capture_output=True).returncode:
        pytest.skip("every file compiles; that python3.8 has no NumPy and array_api_compat to train with")
    subprocess.run([python, "-c", TRAINING], check=True, cwd=tmp_path)


def test_compileall_is_what_fails(tmp_path):
    (tmp_path / "newer.py").write_text("def f(:\n")
    assert not compileall.compile_dir(str(tmp_path), quiet=2)
    (tmp_path / "newer.py").write_text("match x:\n    case 1: pass\n")
    with pytest.raises(SyntaxError, match="Pattern matching is only supported in Python 3.10"):
        tree(tmp_path / "newer.py")
