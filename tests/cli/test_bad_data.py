"""Data that teach nothing or are none, in run files: named in a line with what to do; see tests/training."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package, reason="the command line is an extra")

from spikecore.cli.command import main  # noqa: E402
from tests.training.test_bad_data import REFUSED, VALUES, WARNED, X, Y  # noqa: E402

RUN = """
engine = "numpy"
[data]
name = "npz"
path = "{path}"
[encoder]
num_steps = 4
[network]
layers = [{{ kind = "Linear", in_features = 5, out_features = {outputs} }}, {{ kind = "LI" }}]
[train]
epochs = 1
loss = "{loss}"
"""
HERE = ("text labels", "NaN in the inputs", "NaN in values", "NaN in labels", "values for classes")
CASES = {**{name: REFUSED[name] for name in HERE}, **WARNED}
del CASES["one class at every step"]


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("name", CASES)
def test_bad_data_of_a_run_file_are_told(tmp_path, capsys, name):
    """What is no data ends the command; what only teaches nothing is a warning, and the run goes on."""
    x, y, options, message = CASES[name]
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.asarray(y), x_test=X, y_test=VALUES if options else Y)
    loss, outputs = ("mse_value_loss", 1) if options else ("ce_membrane_loss", 3)
    path = (tmp_path / "data.npz").as_posix()
    (tmp_path / "run.toml").write_text(RUN.format(path=path, loss=loss, outputs=outputs), encoding="utf-8")
    with warnings.catch_warnings(record=True) as given, pytest.raises(SystemExit) as end:
        main(["train", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run"), "--no-progress"])
    said = capsys.readouterr()
    text = " ".join([said.out, said.err, *(str(each.message) for each in given)])
    assert (end.value.code == 0) == (name in WARNED), text
    assert re.search(message, text, re.DOTALL), text
