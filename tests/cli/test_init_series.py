"""``spikecore init series``: a run file that forecasts the series of a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package)

from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import new_run_file  # noqa: E402
from tests.cli.test_init import series, tomllib  # noqa: E402


def test_series_are_forecast_without_their_dates():
    text = new_run_file.new_run_file("series", series())
    data, network = (tomllib.loads(text)[table] for table in ("data", "network"))
    assert (data["leave_out"], data["look_back"], data["horizon"]) == (["date"], 40, 10)
    assert "forecast       10 steps of each series by itself" in text
    add = next(layer for layer in network["layers"] if layer["kind"] == "Add")
    assert (add["layers"][0]["in_channels"], add["layers"][0]["out_channels"]) == (40, 10)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("on {0};day {0}", "series.csv: has no column of numbers: need a column per series"),
        ("day {0};{0},5", "'0,5' is no finite number; write a point for the decimal comma, 0.5"),
        ("day {0};{0}", "part 0 has 8 steps, too few for a window of look_back=12 and horizon=3"),
    ],
)
def test_series_that_cannot_be_forecast(spikecore, cells, said):
    rows = [cells.format(n) for n in range(10)]
    Path("series.csv").write_text("\n".join(["date;load", *rows]), "utf-8")
    code, _, error = spikecore("init", "series", "--path", "series.csv", "--horizon", "3")
    assert code == cli.DATA
    assert said in error


@pytest.mark.parametrize("option", [("--plasticity",), ("--zoo", "dense_snn")])
def test_what_is_for_classes_is_refused(spikecore, option):
    code, _, error = spikecore("init", "series", "--path", series(), *option)
    assert code == cli.USAGE
    assert "is for classes, and the targets are numbers: leave it out" in error
