"""The workload ``growth``: exponents of known laws, table and picture from rows, lines of a run that was cut off."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from benchmarks import picture, plan, report, runner
from benchmarks.parity import Parity
from benchmarks.plan import Bar, Group, Settings, Side
from benchmarks.workloads import growth

LAWS = {"torch engine": (0.5, 1.9, 0.9, 1.0, 0.3), "snnTorch": (1.0, 1.5, 0.6, 1.0, 0.0)}


def rows():
    """A row for each point and side: time and memory grow by the laws, memory twice as fast."""
    found = []
    for point in dict.fromkeys(point for line in growth.points(Settings()).values() for point in line):
        for place, (side, law) in enumerate(LAWS.items()):
            cost = 1.0
            for size, base, power in zip(point, growth.FULL, law):
                cost *= (size / base) ** power
            times = 2.0 * cost * (1 + place)
            found.append(report.Row(point.title, side, "ms", (times,), 1.0 + place, memory=100.0 * cost * cost))
    return found


def test_exponents_are_those_of_the_laws():
    for place, (axis, sides) in enumerate(growth.lines(rows()).items()):
        for side, line in sides.items():
            assert len(line) == len(growth.SIZES[axis])
            assert growth.exponent((value, row.median) for value, row in line) == pytest.approx(LAWS[side][place])


def test_the_tables_have_exponents_and_every_size():
    absent = report.Row(growth.FULL.title, "Norse", "ms", note="not installed")
    text = growth.summary([*rows(), absent])
    assert "| exponents of time; of memory | sizes | torch engine | snnTorch |\n" in text
    assert "| neurons N | 64–4096 | 1.90; 3.80 | 1.50; 3.00 |\n" in text
    assert "| steps T: 100 | 2.00 ms, 100 MB | 2×, 100 MB |\n" in text
    assert growth.summary([absent]) == ""


def test_a_peak_that_may_hide_in_kept_memory_is_in_no_exponent():
    small = [replace(row, memory=growth.SMALL) for row in rows()]
    assert "| depth | 1–32 | 1.00; – | 1.00; – |\n" in growth.summary(small)
    assert "| steps T: 100 | 2.00 ms, <4 MB | 2×, <4 MB |\n" in growth.summary(small)


def test_the_picture_has_time_and_memory_of_every_size(tmp_path):
    pytest.importorskip("matplotlib")
    panels = picture.of_growth(rows())
    assert [panel.title for panel in panels] == ["time", "peak memory"] * 5
    assert panels[0].lines["snnTorch"][1] == (100.0, 4.0)
    picture.draw(panels, tmp_path / "growth.svg")
    assert "rate of the input (%)" in (tmp_path / "growth.svg").read_text(encoding="utf-8")


def test_a_run_that_was_cut_off_continues_at_the_group_that_is_missing(tmp_path):
    lines, ran = tmp_path / "lines.jsonl", []

    def side(name):
        def run():
            if len(ran) == 3:
                raise KeyboardInterrupt
            ran.append(name)
            return 2.0

        return Side(name, lambda: run)

    groups = [Group(name, (side(name),), unit="s", warmup=0, bars=(Bar(name, None, 3.0),)) for name in "abc"]
    mine = plan.Workload("mine", "Mine", "", lambda settings: groups, lambda rows: f"{len(rows)} rows")
    with pytest.raises(KeyboardInterrupt):
        runner.run([mine], Settings(), 2, False, lines=lines)
    assert ran == ["a", "a", "b"]
    ran.clear()
    assert [json.loads(line)["group"] for line in lines.read_text("utf-8").splitlines()] == ["a"]
    (section,) = runner.run([replace(mine, groups=lambda settings: groups[:2])], Settings(), 2, False, lines=lines)
    assert ran == ["b", "b"]
    assert (section.summary, [row.cells()[-1] for row in section.rows]) == ("2 rows", ["yes: 2 (at most 3)"] * 2)


def test_a_line_of_json_gives_the_row_again():
    bars = ((Bar("A", "B", 0.5), 0.4), (Bar("A", None, 3.0), None))
    row = report.Row("g", "A", "ms", (1.0, 2.0), 1.0, Parity(0, 8, 1e-7), bars, rates={"input": 0.1}, memory=3.0)
    absent = report.Row("g", "B", "ms", note="not installed")
    for one in (row, absent):
        assert report.of_plain(json.loads(json.dumps(report.plain(one)))) == one
