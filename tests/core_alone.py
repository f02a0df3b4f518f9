"""The tests of the core, in a tree that has the core alone: no room, none of their tests. ``make core`` runs them.

Arguments are those of pytest. ``--tree PATH`` before them says where the tree is made; the default is build/core.
``--others`` prints the folders of all other tests, which need the whole package: ``make rooms`` runs these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":  # `python tests/core_alone.py` has tests/ on its path, and not the folder above
    sys.path.insert(0, str(Path(__file__).parent.parent))

from tests import ROOT
from tests.house.doors import ROOMS

#: The folders of the core's tests. Each other folder below tests/ belongs to a room, or to the repository as a whole.
FOLDERS = "conformance core engines ipu kernels learning nn training verification".split()


def make_tree(tree: Path) -> Path:
    """Copy the core and its tests to ``tree``, which is emptied first."""
    shutil.rmtree(tree, ignore_errors=True)
    without = [*ROOMS, "__main__.py", "__pycache__"]
    shutil.copytree(ROOT / "spikecore", tree / "spikecore", ignore=lambda folder, names: {
        name for name in names if name == "__pycache__" or (Path(folder) == ROOT / "spikecore" and name in without)
    })  # fmt: skip
    (tree / "tests").mkdir()
    for path in (ROOT / "tests").iterdir():
        if path.is_file():
            shutil.copy2(path, tree / "tests")
        elif path.name in FOLDERS:
            shutil.copytree(path, tree / "tests" / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", tree)
    (tree / "docs").symlink_to(ROOT / "docs")  # pages that tests compare with
    return tree


def run(tree: Path, *command: str, **options):
    """Run Python in such a tree, whose package comes before the one that is installed."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run([sys.executable, *command], cwd=tree, env=environment, **options)


def main(arguments):
    """Make the tree and run its tests; returns the exit code."""
    tree = ROOT / "build" / "core"
    if arguments[:1] == ["--tree"]:
        tree, arguments = Path(arguments[1]), arguments[2:]
    if arguments == ["--others"]:
        print(*(f"tests/{path.name}" for path in sorted((ROOT / "tests").iterdir())
                if path.name not in FOLDERS and (path / "__init__.py").is_file()))  # fmt: skip
        return 0
    return run(make_tree(tree), "-m", "pytest", *arguments).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
