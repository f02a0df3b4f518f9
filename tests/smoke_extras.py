"""What an installed spikecore does with kernels, its command and matplotlib: ``python tests/smoke_extras.py``.

In a clean environment with the extras kernels, cli, plot and data.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import spikecore as sc

FOLDER = Path(__file__).resolve().parent.parent  # the sources, which must not be what is imported
TUTORIAL = FOLDER / "docs" / "tutorials" / "c_program.py"  # which needs no PyTorch


def kernels() -> None:
    """Kernels give the spikes and gradients of the loop."""
    draw = np.random.default_rng(0)
    x, y = draw.random((12, 8, 6), dtype=np.float32), draw.integers(0, 3, 8)
    net = sc.Sequential(sc.Linear(6, 20), sc.Synaptic(alpha=0.8, beta=0.9), sc.Linear(20, 3), sc.Leaky(beta=0.9))
    fused = sc.Model(net, engine=sc.get_engine("numpy", fused=True), seed=0)
    loop = sc.Model(net, engine=sc.get_engine("numpy", fused=False), seed=0)
    assert "Numba kernels" in str(fused.engine.explain(net)), fused.engine.explain(net)
    out = fused(x).spikes
    assert out.sum() > 0
    assert np.array_equal(out, loop(x).spikes)
    report = sc.verify(fused, x, y)
    assert report.ok, report


def command(folder: Path) -> None:
    """A run file is trained, evaluated and drawn."""
    program = Path(sys.executable).with_name("spikecore" + (".exe" if sys.platform == "win32" else ""))
    run_file = Path(sc.__file__).with_name("cli") / "demo.toml"
    for options in (
        ["--version"],
        ["train", run_file, "--out", "run", "--engine", "numpy", "--set", "train.epochs=4"],
        ["evaluate", "run"],
        ["verify", "run"],
    ):
        done = subprocess.run([program, *options], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{options}: {done.stdout}{done.stderr}"
    assert (folder / "run" / "curves.png").is_file(), sorted(path.name for path in (folder / "run").iterdir())


def tutorial(folder: Path) -> None:
    """The code of a tutorial runs, with its pictures."""
    done = subprocess.run([sys.executable, TUTORIAL], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def main() -> None:
    """All three."""
    assert FOLDER not in Path(sc.__file__).resolve().parents, f"{sc.__file__} is not the installed package"
    with tempfile.TemporaryDirectory() as folder:
        kernels()
        command(Path(folder))
        tutorial(Path(folder))
    where = f"Python {sys.version.split()[0]}, NumPy {np.__version__}"
    print(f"spikecore {sc.__version__} on {where}: kernels, command, tutorial")


if __name__ == "__main__":
    main()
