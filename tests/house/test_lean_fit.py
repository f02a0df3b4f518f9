"""A training imports what it uses: little of the core, and no room."""

from __future__ import annotations

import subprocess
import sys

from tests import ROOT
from tests.house.doors import ROOMS

MOST_MODULES, MOST_LINES = 131, 19_250
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


def imported():
    command = [sys.executable, "-c", FIT]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()


def test_a_training_of_two_layers_imports_no_more_than_it_uses():
    modules = imported()
    paths = [ROOT.joinpath(*name.split(".")) for name in modules]
    files = [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in paths]
    assert not [name for name in modules if name.split(".")[1:2] and name.split(".")[1] in ROOMS]
    assert len(files) <= MOST_MODULES
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) <= MOST_LINES
