"""What an installed spikecore must do without optional packages: ``python tests/smoke.py`` in a clean environment."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import spikecore as sc
from spikecore.datasets import Dataset, Loader
from spikecore.installing import to_install

FOLDER = Path(__file__).resolve().parent.parent  # the sources, which must not be what is imported


def main() -> None:
    """Train, verify, save, load; the command and the types are there."""
    assert FOLDER not in Path(sc.__file__).resolve().parents, f"{sc.__file__} is not the installed package"
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 3, 120)
    inputs = (0.3 * draw.random((120, 12)) + np.eye(3)[targets].repeat(4, axis=1)).astype(np.float32)
    net = sc.Sequential(sc.Linear(12, 16), sc.Leaky(beta=0.9), sc.Linear(16, 3), sc.Leaky(beta=sc.learn(0.9)))
    model = sc.Model(net, engine="numpy", seed=0)
    data = Loader(Dataset(inputs, targets), batch_size=20, seed=0)
    model.fit(data, optimizer=sc.Adam(lr=2e-2), epochs=8, num_steps=10, progress=False)
    accuracy = model.evaluate(data, num_steps=10, progress=False)["accuracy"]
    assert accuracy > 0.9, accuracy
    report = sc.verify(model, inputs[:8], targets[:8], num_steps=5)
    assert report.ok, report
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        again = sc.load(path)
    assert np.array_equal(again(inputs[:4], num_steps=5).spikes, model(inputs[:4], num_steps=5).spikes)
    assert (Path(sc.__file__).parent / "py.typed").is_file()
    command = subprocess.run([sys.executable, "-m", "spikecore", "--version"], capture_output=True, text=True)
    assert command.returncode == 0 or to_install("cli") in command.stderr, command.stderr
    print(f"spikecore {sc.__version__} on Python {sys.version.split()[0]}: accuracy {accuracy:.2f}, verified")


if __name__ == "__main__":
    main()
