"""``python -m benchmarks.gpu``: no step stops another, and no rehearsal looks like a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest

from tests import ROOT

if os.name == "nt":
    pytest.skip("process groups as POSIX has them", allow_module_level=True)

from benchmarks.gpu import __main__ as command  # noqa: E402
from benchmarks.gpu import archive, plan, report, runner, wheels  # noqa: E402
from benchmarks.gpu.record import Absent, Record  # noqa: E402
from benchmarks.gpu.runner import Result  # noqa: E402

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
CARD = {
    "rehearsal": False, "card": "NVIDIA H100", "devices": 1, "memory_gb": 85, "capability": "9.0", "driver": "580.1",
    "cuda": "13.0", "date": "2026-01-01", "cores": 16, "processor": "some", "python": "3.12.3",
    "versions": {"torch": "2.11.0"},
}  # fmt: skip


def step(name, share=1.0):
    return plan.Step(name, name.capitalize(), f"tests.bench.gpu_steps:{name}", share)


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_every_step_survives_the_failure_of_another(tmp_path):
    seen, log = [], tmp_path / "log"
    steps = [*map(step, ["breaks", "dies", "right"])]
    results = runner.run(steps, 600.0, False, log, ENVIRONMENT, lambda so_far: seen.append(len(so_far)))
    assert [(result.status, result.reason or result.failures) for result in results] == [
        ("failed", ["RuntimeError: a word of why"]),
        ("failed", "its process left with signal SIGKILL before it was done"),
        ("passed", []),
    ]
    assert seen == [1, 2, 3]
    assert results[1].tables == {"Times": [{"ms": 3.0}]}  # what was found before the end is kept
    text = log.read_text(encoding="utf-8")
    assert "Traceback" in text.partition("######## dies: Dies (at most ")[0]
    assert "it says something" in text.partition("######## right: Right (at most ")[2]


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="asks /proc whether a process is alive")
def test_a_step_that_hangs_ends_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.2)
    for limit in (4.0, 16.0, 64.0):  # so that it had the time to begin, also on a busy machine
        with open(tmp_path / "log", "w", encoding="utf-8") as output:
            hung = runner.run_step(step("hangs"), limit, False, output, ENVIRONMENT)
        assert hung.status == "timed out"
        if hung.tables:
            break
    (child,) = (row["number"] for row in hung.tables["Children"])
    end = time.monotonic() + 60.0
    while alive(child) and time.monotonic() < end:  # a kill takes its time
        time.sleep(0.01)
    assert not alive(child)


def test_a_part_that_fails_does_not_stop_the_rest_of_its_step(tmp_path, capsys):
    record = Record(tmp_path / "result.json", True)
    with record.attempt("the first row"):
        raise RuntimeError("out of memory")
    with record.attempt("the second row"):
        record.row("Times", ms=None)
    with pytest.raises(Absent), record.attempt("a package"):
        raise Absent("it is not installed")
    found = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert found["failures"] == ["the first row: RuntimeError: out of memory"]
    assert found["tables"] == {"Times": [{"ms": None}]}
    assert "Traceback" in capsys.readouterr().err  # the log has where


def test_the_command_begins_before_any_package_is_unpacked():
    code = "import sys; sys.modules.update(numpy=None, torch=None); import benchmarks.gpu.__main__"
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("code", "found", "status", "reason"),
    [
        (0, {"checks": 2}, "passed", ""),
        (1, {"checks": 2, "failures": ["one: found 3"]}, "failed", ""),
        (0, {"checks": 0}, "failed", "it checked nothing"),
        (0, {"checks": 0, "absent": "cupy is not installed"}, "not run", "cupy is not installed"),
        (3, {"checks": 2, "finished": False}, "failed", "its process left with code 3 before it was done"),
        (None, {"checks": 2}, "timed out", "ended after 9 s; what it had found until then is below"),
    ],
)
def test_the_verdict_on_a_step(code, found, status, reason):
    found = {"finished": True, "absent": "", "failures": [], **found}
    assert runner._verdict(code, 9.0, found) == (status, reason)
    assert Result("a", "A", status, 1.0, 9.0).right == (status in ("passed", "not run"))


def test_later_steps_share_what_earlier_ones_leave(tmp_path, monkeypatch):
    limits, clock = [], iter([0.0, 0.0, 10.0, 220.0])

    def run_step(one, limit, *_):
        limits.append(limit)
        return Result(one.name, one.title, "passed", 0.0, limit)

    monkeypatch.setattr(runner, "run_step", run_step)
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    runner.run([step("right", 4), step("dies", 1), step("breaks", 7)], 240.0, False, tmp_path / "log", {})
    assert limits == [80.0, runner.FLOOR, 20.0]  # its share, at least FLOOR, at most what is left


def test_without_time_a_step_does_not_begin(tmp_path):
    with open(tmp_path / "log", "w", encoding="utf-8") as output:
        result = runner.run_step(step("right"), 1.0, False, output, ENVIRONMENT)
    assert (result.status, result.seconds) == ("timed out", 0.0)
    assert "the budget was spent" in result.reason


RESULTS = [
    Result("bandwidth", "Kernels", "passed", 12.5, 40.0, checks=3, tables={"T": [{"kernel": "a|b", "ms": 0.1234}]}),
    Result("amp", "Mixed", "timed out", 30.0, 30.0, "ended after 30 s", failures=["float16: nothing fires"]),
]


def test_the_report_names_the_card_and_shows_every_step(tmp_path):
    paths = report.write(tmp_path, CARD, RESULTS)
    assert [path.name for path in paths] == ["gpu.json", "gpu.md"]
    found = json.loads(paths[0].read_text(encoding="utf-8"))
    assert (found["card"], [one["status"] for one in found["steps"]]) == ("NVIDIA H100", ["passed", "timed out"])
    text = paths[1].read_text(encoding="utf-8")
    assert text.startswith("# GPU run on NVIDIA H100\n\nMeasured on 2026-01-01 on NVIDIA H100 (85 GB, ")
    assert "| bandwidth | passed | 3 | 12.5 |" in text
    assert "| a\\|b | 0.123 |" in text
    assert "Timed out: ended after 30 s." in text
    assert "- float16: nothing fires" in text


def test_an_archive_has_the_tree_and_the_wheels(tmp_path):
    (tmp_path / "some-1.0-py3-none-any.whl").write_text("a wheel")
    archive.write(tmp_path / "all.tar", tmp_path)
    with tarfile.open(tmp_path / "all.tar") as made:
        names = set(made.getnames())
    assert {f"spikecore/{name}" for name in ("Makefile", "benchmarks/gpu/plan.py", "spikecore/__init__.pyi")} <= names
    assert "spikecore/.whl/some-1.0-py3-none-any.whl" in names
    assert not any(name.startswith("spikecore/.venv") for name in names)


def test_a_rehearsal_has_no_times_no_card_and_another_name(tmp_path):
    facts = {**CARD, "rehearsal": True, "card": None}
    paths = report.write(tmp_path, facts, RESULTS)
    assert [path.name for path in paths] == ["rehearsal.json", "rehearsal.md"]
    text = paths[1].read_text(encoding="utf-8")
    assert text.startswith("# Rehearsal of the GPU run\n\n**A rehearsal on the CPU.** ")
    assert "H100" not in text
    assert "12.5" not in text
    assert Record(tmp_path / "a.json", True).time(1.0) is None
    assert Record(tmp_path / "b.json", False).time(1.23456) == 1.23


def test_wheels_that_fit_are_unpacked_and_others_named(tmp_path):
    names = "good-1.0-py3-none-any.whl", "other-1.0-cp27-cp27m-win32.whl", "PyTest-0.1-py3-none-any.whl"  # installed
    for name in names:
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            wheel.writestr(f"{name.partition('-')[0]}.py", "x = 1\n")
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("no zip")
    taken, left = wheels.unpack(tmp_path, tmp_path / "site")
    assert taken == ["good-1.0-py3-none-any.whl"]
    assert [text.partition(":")[0] for text in left] == [
        "broken-1.0-py3-none-any.whl",
        "other-1.0-cp27-cp27m-win32.whl",
    ]
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["good.py"]
    assert wheels.unpack(tmp_path / "nowhere", tmp_path / "none") == ([], [])


def test_without_a_device_the_remedy_is_told(tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    assert command.main(["bandwidth", "--out", str(tmp_path)]) == 2
    assert "finds no CUDA device. Without a CUDA device, rehearse the steps on the CPU: make gpu REHEARSE=1" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_what_is_missing_and_unknown_steps_are_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "_facts", lambda *_: {"missing": ["array_api_compat", "torch"]})
    assert command.main(["--out", str(tmp_path)]) == 2
    assert "pip download --no-deps -d .whl array-api-compat torch" in capsys.readouterr().err
    assert command.main(["bandwith"]) == 2
    assert "no step 'bandwith'; there are triton, bandwidth, " in capsys.readouterr().err


def test_kernels_whose_loop_cannot_be_staged_are_named():
    """The step compares shapes of one kernel; a loop that it does not find would be the same shape in every row."""
    pytest.importorskip("torch")
    pytest.importorskip("triton", reason="Triton is not installed")
    from benchmarks.gpu.variants import staged
    from spikecore.kernels.device import backward_of, forward_of
    from spikecore.kernels.triton import SequenceTriton
    from tests.kernels.kernel_rig import CASES, Problem

    kernels = Problem(CASES["Leaky"]).kernels(SequenceTriton.of)
    for kernel in (forward_of(kernels, True, False), backward_of(kernels, True, (), False, False)):
        assert "in tl.range(steps, num_stages=4):" in staged(kernel, 4)
    with pytest.raises(ValueError, match="the forward kernel has no loop like"):
        staged(kernel._replace(name="forward", source="pass"), 4)


@pytest.mark.slow
def test_the_rehearsal_is_green(tmp_path):
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    begun = time.monotonic()
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--budget", "1800", "--out", str(tmp_path)],
        env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    print(made.stdout, f"{time.monotonic() - begun:.0f} s")
    assert made.returncode == 0, made.stdout + (tmp_path / "rehearsal.log").read_text(encoding="utf-8")
    found = json.loads((tmp_path / "rehearsal.json").read_text(encoding="utf-8"))
    assert found["card"] is None
    assert {one["name"]: one["status"] for one in found["steps"]} == {one.name: "passed" for one in plan.STEPS}
    times = [
        value
        for one in found["steps"]
        for rows in one["tables"].values()
        for row in rows
        for name, value in row.items()
        if name.startswith(("ms", "GB/s", "low", "high"))
    ]
    assert times
    assert set(times) == {None}
