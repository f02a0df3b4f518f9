"""The benchmark harness: it takes turns, compares what it times, says what is absent, and prints the table."""

from __future__ import annotations

import json
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

pytest.importorskip("torch")

import benchmarks as bench  # noqa: E402  (needs torch)
from benchmarks import clock, peak, plan, report, runner  # noqa: E402  (needs torch)
from benchmarks.parity import compare  # noqa: E402  (needs torch)
from benchmarks.plan import Bar, Group, Settings, Side  # noqa: E402  (needs torch)

QUICK = Settings(quick=True)
pytestmark = pytest.mark.filterwarnings("ignore")  # peers warn of their own affairs


def constant(**evidence):
    return lambda: lambda: lambda: {name: np.asarray(value) for name, value in evidence.items()}


def group(*sides, reference=None, **options):
    return Group("title", sides, reference, **options)


def waits(figure):
    """A side whose run reports a figure instead of being timed."""
    return lambda: lambda: figure


# ---- parity ----


def test_parity_counts_spikes_and_takes_the_largest_gradient_error():
    found = compare(
        {"spikes": np.array([0, 1, 1, 0]), "a": np.array([1.0, 2.0]), "b": np.array([4.0])},
        {"spikes": np.array([0, 1, 0, 0]), "a": np.array([1.0, 2.0]), "b": np.array([5.0])},
    )
    assert (found.differing, found.places, found.rate, found.error) == (1, 4, 0.25, 0.2)
    assert not found.ok
    assert str(found) == "1 of 4 differ (rate 0.25), gradient error 2e-01"


def test_equal_arrays_of_zeros_are_equal_and_others_are_infinitely_far_from_zeros():
    zeros = {"a": np.zeros(3)}
    assert compare(zeros, zeros).ok
    assert compare({"a": np.ones(3)}, zeros).error == float("inf")


@pytest.mark.parametrize("other", [{"b": np.zeros(3)}, {"a": np.zeros(4)}], ids=["other names", "other shape"])
def test_sides_that_did_not_do_the_same_work_are_not_compared(other):
    with pytest.raises(ValueError, match=r"nothing to compare|shapes"):
        compare({"a": np.zeros(3)}, other)


# ---- turns ----


def test_sides_take_turns_and_the_warm_up_does_not_count():
    order, figures = [], iter(range(100))
    runs = {name: lambda name=name: order.append(name) for name in "AB"}

    def measure(run):
        run()
        return float(next(figures)), None

    found = clock.interleaved(runs, 2, 1, measure, lambda name: None)
    assert sorted(order[:2]) == sorted(order[2:4]) == sorted(order[4:]) == list("AB")
    assert found == {name: [float(i) for i in range(2, 6) if order[i] == name] for name in "AB"}


@pytest.mark.parametrize("count", range(1, 10))
def test_everyone_comes_first_and_after_each_other_one_equally_often(count):
    rounds = [clock.order(count, turn) for turn in range(2 * count)]
    assert all(sorted(row) == list(range(count)) for row in rounds)
    assert Counter(row[0] for row in rounds) == dict.fromkeys(range(count), 2)
    pairs = Counter(pair for row in rounds for pair in zip(row, row[1:]))
    assert pairs == dict.fromkeys(permutations(range(count), 2), 2)


def test_a_group_in_a_process_of_its_own():
    quick = Settings(quick=True, peers=())
    found = runner.measured_apart("neurons", 1, quick, 2, False)
    here = runner.run([bench.WORKLOADS["neurons"]], quick, 2, False)[0].rows
    assert {(row.group, row.side) for row in found} < {(row.group, row.side) for row in here}
    assert all(len(row.figures) == 2 for row in found)
    with pytest.raises(RuntimeError, match="group 100 of recurrent left with 1"):
        runner.measured_apart("recurrent", 99, quick, 1, False)


def test_a_workload_of_ones_own_runs_here():
    mine = plan.Workload("recurrent", "Mine", "", lambda settings: [group(Side("A", waits(2.0)), unit="s", warmup=0)])
    (section,) = runner.run([mine], Settings(), 3, False)
    assert [row.figures for row in section.rows] == [(2.0, 2.0, 2.0)]


def test_a_bar_holds_a_side_to_another_one_or_to_a_figure():
    bars = (Bar("A", "B", 0.5), Bar("B", None, 3.0), Bar("B", "A", 1.5), Bar("A", "C", 1.0))
    absent = Side("C", waits(1.0), peer="norse")
    made = group(Side("A", waits(2.0)), Side("B", waits(4.0)), absent, bars=bars, unit="MB", warmup=0)
    rows = runner.measured(made, Settings(peers=()), 3)
    assert [row.side for row in rows] == ["A", "B"]
    assert rows[0].cells() == [
        *("title", "A", "2.00 (2.00–2.00)", "1", ""),
        "yes: B takes 2× (at least 2×); unknown: C did not run",
    ]
    assert rows[1].cells()[3:] == ["2×", "", "no: 4 (at most 3); no: 2× A (at most 1.5×)"]


# ---- what cannot run ----


def test_a_peer_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(plan.PEERS, "norse", ("no_such_package", "norse"))
    (row,) = runner.measured(group(Side("Norse", waits(1.0), peer="norse")), Settings(), 1)
    assert row.cells()[1:3] == ["Norse", "not installed: pip install norse"]
    assert not row.failed


def test_a_peer_that_fails_is_told_in_its_row_and_an_error_of_our_own_is_raised(monkeypatch):
    monkeypatch.setitem(plan.PEERS, "norse", ("json", "norse"))

    def broken():
        raise RuntimeError("its interface has changed")

    (row,) = runner.measured(group(Side("Norse", broken, peer="norse")), Settings(), 1)
    assert row.failed
    assert row.note == "failed: RuntimeError: its interface has changed"
    with pytest.raises(RuntimeError, match="has changed"):
        runner.measured(group(Side("ours", broken)), Settings(), 1)


def test_a_side_that_computes_something_else_is_found_out():
    reference = constant(spikes=[0, 1], weight=[1.0, 2.0])
    sides = Side("same", reference), Side("other", constant(spikes=[1, 1], weight=[1.0, 2.1]))
    same, other = runner.measured(group(*sides, reference=reference), Settings(), 1)
    assert same.parity.ok
    assert not other.parity.ok
    assert other.cells()[4] == "1 of 2 differ (rate 0.50), gradient error 5e-02"


# ---- the workloads ----


def check(rows):
    """Every side ran or is absent, and computed the same; returns names of those that ran."""
    assert not [row.note for row in rows if row.failed]
    measured = [row for row in rows if row.figures]
    assert all(row.parity.ok for row in measured if row.parity is not None), [row.cells() for row in measured]
    return {row.side for row in measured}


@pytest.mark.parametrize("name", ["recurrent", "tutorial5", "tutorial6", "open-neuromorphic"])
def test_all_sides_of_a_workload_compute_the_same(name):
    (section,) = bench.run(bench.workloads([name]), QUICK, rounds=1, progress=False)
    assert len(check(section.rows)) >= 2
    compared = [row for row in section.rows if row.parity is not None]
    assert len(compared) == len([row for row in section.rows if row.figures])
    assert all(row.parity.rate > 0 for row in compared if row.parity.differing is not None)  # or equality says nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neurons", "own-neuron", "memory", "first-use"])
def test_the_other_workloads_run(name):
    pytest.importorskip("numba")
    (section,) = bench.run(bench.workloads([name]), QUICK, rounds=1, progress=False)
    assert check(section.rows)


def test_neurons_alone_fused_loop_and_bare_kernel_compute_the_same():
    pytest.importorskip("numba")
    first = next(iter(bench.WORKLOADS["neurons"].groups(QUICK)))
    rows = runner.measured(first, Settings(quick=True, peers=()), 1)
    assert check(rows) == {"fused", "loop", "kernel only", "copy × 2.5"}
    assert rows[0].parity.rate > 0


def test_a_workload_whose_sides_have_unequal_decays_is_found_out():
    from benchmarks.workloads.own_neuron import Guarded, own

    draw = np.random.default_rng(0)
    x, upstream = (draw.random((8, 4, 32), dtype="float32") for _ in range(2))
    reference = own(Guarded(), x, upstream, "cpu", False)
    sides = [Side(name, own(Guarded(beta=beta), x, upstream, "cpu", False)) for name, beta in (("a", 0.9), ("b", 0.91))]
    same, other = runner.measured(group(*sides, reference=reference), Settings(), 1)
    assert same.parity.ok
    assert not other.parity.ok


def test_peak_memory_is_what_a_run_takes_and_gives_back():
    taken = peak.measured(lambda: np.ones(32 << 17), "cpu")  # 32 MB
    assert 31 < taken < 40


# ---- what comes out ----


def test_markdown_and_json_hold_the_same_rows():
    machine = bench.machine.describe("cpu")
    rows = runner.measured(group(Side("A", waits(2.0)), unit="s", warmup=0), Settings(), 3)
    section = report.Section("name", "Title", "Text.", tuple(rows))
    text = bench.as_markdown(machine, [section])
    assert text.startswith(f"Measured on {machine['date']} on ")
    assert "## Title\n\nText.\n\n| workload | side | s, median (min–max) | relative | parity | bar met? |\n" in text
    assert text.endswith("| title | A | 2.00 (2.00–2.00) | 1 |  |  |\n")
    found = json.loads(bench.as_json(machine, [section]))
    assert found["workloads"]["name"]["rows"][0]["figures"] == [2.0, 2.0, 2.0]
    assert found["machine"]["versions"]["numpy"] == np.__version__


def test_an_unknown_workload_is_refused():
    with pytest.raises(KeyError, match="there are neurons, recurrent"):
        bench.workloads(["neuron"])
