"""The benchmark harness: it takes turns, compares what it times, says what is absent, and prints the table."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

pytest.importorskip("torch")

import spikecore as sc  # noqa: E402  (needs torch)
from benchmarks import clock, kept, machine, peak, picture, plan, rates, report, runner  # noqa: E402  (needs torch)
from benchmarks.parity import compare  # noqa: E402  (needs torch)
from benchmarks.plan import Bar, Group, Settings, Side  # noqa: E402  (needs torch)
from benchmarks.workloads import WORKLOADS, workloads  # noqa: E402
from benchmarks.workloads.rates import KINDS, Task  # noqa: E402  (needs torch)

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
    assert (found.differing, found.places, found.error) == (1, 4, 0.2)
    assert not found.ok
    assert str(found) == "1 of 4 differ, gradient error 2e-01"


def test_equal_arrays_of_zeros_are_equal_and_others_are_infinitely_far_from_zeros():
    zeros = {"a": np.zeros(3)}
    assert compare(zeros, zeros).ok
    assert compare({"a": np.ones(3)}, zeros).error == float("inf")


@pytest.mark.parametrize("other", [{"b": np.zeros(3)}, {"a": np.zeros(4)}], ids=["other names", "other shape"])
def test_sides_that_did_not_do_the_same_work_are_not_compared(other):
    with pytest.raises(ValueError, match=r"nothing to compare|shapes"):
        compare({"a": np.zeros(3)}, other)


# ---- rates ----


def test_the_rate_of_an_output_is_the_sides_own_and_that_of_an_input_the_groups():
    reference = constant(spikes=[0, 1, 0, 0])
    sides = Side("same", reference), Side("other", constant(spikes=[1, 1, 0, 0]))
    made = group(*sides, reference=reference, rates=lambda: {"input": 0.004})
    same, other = runner.measured(made, Settings(), 1)
    assert (same.rates, other.rates) == ({"input": 0.004, "output": 0.25}, {"input": 0.004, "output": 0.5})
    assert same.cells()[5] == "input 0.4 %, output 25 %"


@pytest.mark.parametrize(
    ("rate", "shown"), [(0.0, "0"), (0.00497, "0.5"), (0.0996, "10"), (0.0512, "5.1"), (1.0, "100")]
)
def test_a_rate_is_shown_with_two_digits(rate, shown):
    assert rates.text({"input": rate}) == f"input {shown} %"


def test_rates_of_layers_are_those_of_a_run_step_by_step():
    draw = np.random.default_rng(0)
    x, engine = draw.random((6, 4, 5), dtype="float32"), sc.get_engine("numpy", fused=False)
    net = sc.Sequential(sc.Linear(5, 7), sc.Leaky(beta=0.9), sc.Linear(7, 3), sc.LI(beta=0.9))
    weight = draw.random((7, 5), dtype="float32")
    found = rates.of_layers(engine, net, {"0.weight": weight, "0.bias": np.zeros(7, "float32")}, x)
    mem, fired = np.zeros((4, 7), "float32"), 0
    for current in x @ weight.T:
        mem = 0.9 * mem + current - (mem > 1.0)
        fired += int((mem > 1.0).sum())
    assert found == {"layer 1": pytest.approx(fired / (6 * 4 * 7))}  # LI does not fire


@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_of_the_workload_rates_fire_at_the_rate_they_are_told(kind):
    task = Task(Settings(quick=True, batch=512), KINDS[kind], 0.05, 4)
    found = task.rates()
    assert len(found) == (2 if kind == "two layers" else 1)
    assert all(0.045 < rate < 0.055 for rate in found.values())


def test_dense_products_do_not_look_at_spikes():
    pytest.importorskip("numba")
    from spikecore.kernels.sparse.product import watched

    task = Task(Settings(batch=64), KINDS["Leaky, Linear"], 0.05, 8)
    seen = {}
    for name in ("torch engine", "torch engine, dense products"):
        with watched() as lines:
            task.run(task.networks()[name].make)()
        seen[name] = list(lines)
    assert [line for line in seen["torch engine"] if "as lists" in line]
    assert seen["torch engine, dense products"] == []


def test_what_spikes_cost_in_memory_is_seen():
    pytest.importorskip("numba")
    if not os.path.exists("/proc/self/status"):
        pytest.skip("the resident set is measured on Linux only")
    full = Settings(batch=64)
    lists, dense = (
        kept.side(name, full, "Linear", 0.05, 25)()() for name in ("torch engine", "torch engine, dense products")
    )
    assert 0.9 < lists < 4.0  # a bit for a spike, and what the process allocates besides
    assert 31.0 < dense < 36.0  # float32


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
    found = runner.measured_apart("tutorial5", 1, quick, 2, False)
    second = [*WORKLOADS["tutorial5"].groups(quick)][1]
    assert [(row.group, row.side) for row in found] == [(second.title, s.name) for s in second.sides if quick.wants(s)]
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
        *("title", "A", "2.00 (2.00–2.00)", "1", "", "", ""),
        "yes: B takes 2× (at least 2×); unknown: C did not run",
    ]
    assert rows[1].cells()[3:] == ["2×", "", "", "", "no: 4 (at most 3); no: 2× A (at most 1.5×)"]


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
    assert other.cells()[5:7] == ["output 100 %", "1 of 2 differ, gradient error 5e-02"]


# ---- the workloads ----


def check(rows):
    """Every side ran or is absent, and computed the same; returns names of those that ran."""
    assert not [row.note for row in rows if row.failed]
    measured = [row for row in rows if row.figures]
    assert all(row.parity.ok for row in measured if row.parity is not None), [row.cells() for row in measured]
    return {row.side for row in measured}


COMPARED = "recurrent rates tutorial5 tutorial6 open-neuromorphic growth".split()
SOME = {  # one rate each; forward and backward; two layers
    "rates": slice(0, None, 2),
    "open-neuromorphic": slice(1, None, 2),
    "growth": slice(4, 5),
}


@pytest.mark.parametrize(
    ("name", "some"),
    [
        *((name, SOME.get(name, slice(None))) for name in COMPARED),
        *(pytest.param(name, slice(None), marks=pytest.mark.slow) for name in SOME),
    ],
)
def test_all_sides_of_a_workload_compute_the_same(name, some):
    (whole,) = workloads([name])
    part = dataclasses.replace(whole, groups=lambda settings: [*whole.groups(settings)][some])
    (section,) = runner.run([part], QUICK, rounds=1, progress=False)
    assert len(check(section.rows)) >= 2
    compared = [row for row in section.rows if row.parity is not None]
    assert len(compared) == len([row for row in section.rows if row.figures])
    assert all(row.rates["output"] > 0 for row in compared if row.parity.differing is not None)  # or equality is empty
    assert all(row.rates for row in compared)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neurons", "own-neuron", "memory", "kept", "first-use"])
def test_the_other_workloads_run(name):
    pytest.importorskip("numba")
    (section,) = runner.run(workloads([name]), QUICK, rounds=1, progress=False)
    assert check(section.rows)


def test_neurons_alone_fused_loop_and_bare_kernel_compute_the_same():
    pytest.importorskip("numba")
    first = next(iter(WORKLOADS["neurons"].groups(QUICK)))
    rows = runner.measured(first, Settings(quick=True, peers=()), 1)
    assert check(rows) == {"fused", "loop", "kernel only", "copy × 2.5"}
    assert rows[0].rates["output"] > 0


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
    here = machine.describe("cpu")
    rows = runner.measured(group(Side("A", waits(2.0)), unit="s", warmup=0), Settings(), 3)
    section = report.Section("name", "Title", "Text.", tuple(rows))
    text = report.as_markdown(here, [section])
    assert text.startswith(f"Measured on {here['date']} on ")
    assert (
        "## Title\n\nText.\n\n"
        "| workload | side | s, median (min–max) | relative | peak, MB | spike rates | parity | bar met? |\n" in text
    )
    assert text.endswith("| title | A | 2.00 (2.00–2.00) | 1 |  |  |  |  |\n")
    found = json.loads(report.as_json(here, [section]))
    assert found["workloads"]["name"]["rows"][0]["figures"] == [2.0, 2.0, 2.0]
    assert found["machine"]["versions"]["numpy"] == np.__version__


def pictured():
    """Rows of two kinds of layers, one side of which is missing."""
    times = {("Linear", "A"): 2.0, ("Linear", "B"): 3.0, ("Leaky, Linear", "A"): 5.0}
    rows = [
        report.Row(f"{kind}, {100 * rate:g} %", side, "ms", (time * rate,), rates={"input": rate, "output": 0.7})
        for rate in (0.3, 0.01)
        for (kind, side), time in times.items()
    ]
    return (*rows, report.Row("Leaky, Linear, 1 %", "B", "ms", note="not installed"))


def test_lines_of_the_picture_go_through_the_medians_by_rising_rate():
    assert picture.lines(pictured()) == {
        "Linear": {"A": [(0.01, 0.02), (0.3, 0.6)], "B": [(0.01, 0.03), (0.3, pytest.approx(0.9))]},
        "Leaky, Linear": {"A": [(0.01, 0.05), (0.3, 1.5)]},
    }


@pytest.mark.parametrize("name", ["rates.svg", "rates.png"])
def test_the_picture_is_the_same_whenever_it_is_drawn(name, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / name
    picture.draw(picture.of_rates(pictured()), path)
    first = path.read_bytes()
    picture.draw(picture.of_rates(pictured()), path)
    assert path.read_bytes() == first
    assert first.startswith(b"<?xml" if name.endswith("svg") else b"\x89PNG")


def test_markdown_shows_the_picture():
    section = report.Section("rates", "Title", "Text.", pictured(), "images/rates.svg")
    text = report.as_markdown(machine.describe("cpu"), [section])
    assert "## Title\n\nText.\n\n![Title](images/rates.svg)\n\n| workload |" in text


def test_an_unknown_workload_is_refused():
    with pytest.raises(KeyError, match="there are neurons, recurrent"):
        workloads(["neuron"])
