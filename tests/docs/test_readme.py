"""The README's Python blocks run, in order and in one namespace, as a reader would paste them."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import re
import sys
import types

import pytest

from tests import ROOT

README = ROOT / "README.md"
# A fence, its language and options, the code, and a fence of the same indentation.
FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.DOTALL | re.MULTILINE
)
PROMPTS = (">>> ", "... ")
OPTIONAL = {
    "torch": "torch",
    "matplotlib": "plot",
    "sklearn": "data",
    "nir": "nir",
    "onnxruntime": "export",
    "numba": "kernels",
    "cupy": "cupy-cuda13x",
    "optuna": "sweep",
}
FOR_TORCH = ("spikecore.nn", "spikecore.engines.torch", "spikecore.engines.ipu")


def python_blocks(text):
    """[(line number of the first code line, code)] of the blocks marked `python` and not `{ .python .skip }`."""
    blocks = []
    for match in FENCE.finditer(text):
        language, *options = re.sub(r"[{}.,]", " ", match["info"]).split() or [""]
        if language == "python" and "skip" not in options:
            indent = len(match["indent"])
            code = "".join(line[indent:] or "\n" for line in match["code"].splitlines(keepends=True))
            blocks.append((text.count("\n", 0, match.start("code")) + 1, code))
    return blocks


def run(code, line, namespace):
    """Execute with the README's own line numbers, so that a traceback points into it."""
    padded = "\n" * (line - 1) + code
    filename = f"{README.name}:{line}"
    linecache.cache[filename] = (len(padded), None, padded.splitlines(keepends=True), filename)
    exec(compile(padded, filename, "exec"), namespace)


def needs(code):
    """The libraries that a block imports itself, by a module that is made for torch, or by the name of an engine."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and node.value in ("torch", "ipu"):
            yield "torch"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *("matplotlib" for alias in node.names if alias.name == "spikeplot")]
        for name in names:
            yield "torch" if name.startswith(FOR_TORCH) else name.split(".")[0]


def skip_without(code):
    """Skip where a block needs an optional library that is absent: the library runs without it, the block cannot."""
    for name in sorted(set(needs(code)) & set(OPTIONAL)):
        pytest.importorskip(name, reason=f"{name} is not installed (extra {OPTIONAL[name]})")


def test_the_readme_runs(tmp_path, monkeypatch):
    if not README.is_file():
        pytest.skip("README.md is not part of this tree")  # tests run from an installed copy
    blocks = python_blocks(README.read_text(encoding="utf-8"))
    assert blocks, "README.md has no ```python block: the quickstart is gone, or its fences changed"
    monkeypatch.chdir(tmp_path)  # what the blocks save stays here
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    module = types.ModuleType("readme")  # dataclasses and pickle look their module up
    monkeypatch.setitem(sys.modules, "readme", module)
    for line, code in blocks:
        assert not code.lstrip().startswith(PROMPTS), f"README.md:{line}: write plain code, not a console session"
        skip_without(code)
        with contextlib.redirect_stdout(io.StringIO()):
            run(code, line, module.__dict__)


def test_what_has_run_is_the_same_on_the_page_of_support():
    if not README.is_file():
        pytest.skip("README.md is not part of this tree")

    def table(path):
        rows = re.search(r"^## What has run\n\n((?:\|.*\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE)[1]
        return rows.replace("](docs/", "](")

    assert table(README) == table(README.parent / "docs" / "support.md")


SAMPLE = """# Title
```python
x = 1
```
text
```bash
rm -rf nothing
```
```{ .python .skip }
raise SystemExit
```
- item
  ```python
  if x:

      y = x + 1
  ```
"""


def test_blocks_are_found_with_their_lines_and_without_their_indentation():
    assert python_blocks(SAMPLE) == [(3, "x = 1\n"), (14, "if x:\n\n    y = x + 1\n")]


def test_what_a_block_needs():
    assert set(needs("import numpy as np\nimport torch.nn\nfrom nir import LIF")) == {"numpy", "torch", "nir"}
    assert set(needs("import spikecore.nn as snn")) == {"torch"}
    assert set(needs("sc.Model(net, engine='torch')")) == set(needs("sc.get_engine('ipu')")) == {"torch"}
    assert set(needs("import spikecore as sc\nsc.Model(net, engine='numpy')")) == {"spikecore"}


def test_a_failing_block_points_into_the_readme():
    with pytest.raises(ZeroDivisionError) as caught:
        run("a = 1\na / 0\n", 41, {})
    last = caught.traceback[-1]
    assert last.lineno + 1 == 42
    assert "README.md:41" in str(last.frame.code.raw.co_filename)
