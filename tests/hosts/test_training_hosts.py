"""Training on hosts of their own: the weights of one process; and what happens when a host or its link is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time

import pytest

pytest.importorskip("torch")
for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from tests.cli.test_parallel import weights  # noqa: E402
from tests.hosts.network import absent, call, gone, network, waited  # noqa: E402
from tests.hosts.training import EPOCHS, RUN, STEPS, alone, started  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.hosts]
BOUND = 60.0  # seconds after a fault within which all processes are gone
LONG = 9  # epochs of a run that a fault hits
TIMES = int(os.environ.get("FAULTS", "2"))  # how often each fault happens; `make hosts-long` says 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that all hosts share, with a run file, and the run of one process."""
    if absent():
        pytest.skip(absent())
    where = tmp_path_factory.mktemp("shared")
    (where / "run.toml").write_text(RUN)
    alone(where, "train", "run.toml", "--out", "one")
    return where


@pytest.fixture(scope="module")
def undisturbed(folder):
    """The weights of a run on two hosts that nothing hits."""
    return on_hosts(folder, 2, "1gbit", "whole", LONG)[0]


def on_hosts(folder, count, rate, out, epochs=EPOCHS, *words):
    """Weights after a training on hosts, and the bytes that each host has sent."""
    with network(count, rate) as hosts:
        logs = started(hosts, folder, out, "train", "run.toml", "--out", out, "--set", f"train.epochs={epochs}", *words)
        assert gone(hosts, 240) is not None, said(logs)
        assert [host.processes[0].returncode for host in hosts] == [0] * count, said(logs)
        return weights(folder / out / "model.safetensors"), [host.sent() for host in hosts]


def said(logs):
    return "\n".join(log.read_text() for log in logs)


@pytest.mark.parametrize(("count", "rate"), [(2, "1gbit"), (4, "100mbit")])
def test_hosts_end_with_the_weights_of_one_process(folder, count, rate):
    """50 steps of Adam with dropout and rate coding in float64; the parts of a batch have the draws of its samples."""
    found, sent = on_hosts(folder, count, rate, f"on {count}")
    one = weights(folder / "one" / "model.safetensors")
    largest = max(float(np.abs(one[name] - x).max()) for name, x in found.items())
    print(f"\n{count} hosts at {rate}: weights differ by {largest:.1e}; bytes sent in {STEPS} steps, by host: {sent}")
    assert largest <= 1e-10
    rows = [(folder / out / "history.jsonl").read_text().splitlines() for out in ("one", f"on {count}")]
    assert len(rows[0]) == len(rows[1]) == EPOCHS
    for pair in zip(*rows):
        first, second = ([json.loads(row)[k] for k in ("accuracy", "val_accuracy")] for row in pair)
        assert first == pytest.approx(second, abs=1e-12)  # spikes are counted: one other draw would be seen


def test_gradients_in_bfloat16_take_fewer_bytes(folder):
    """A quarter of those of float64; the weights stay near those of one process."""
    whole, sent = on_hosts(folder, 2, "1gbit", "plain gradients", 1)
    narrow, fewer = on_hosts(folder, 2, "1gbit", "narrow", 1, "--set", "train.compute.parallel=data-bf16")
    assert all(np.allclose(narrow[name], x, atol=0.05) for name, x in whole.items())
    assert any(not np.array_equal(narrow[name], x) for name, x in whole.items())
    size = sum(x.nbytes for name, x in whole.items() if name.startswith("params/"))
    steps = STEPS // EPOCHS
    print(f"\nbytes sent by host in {steps} steps: {sent}, in bfloat16 {fewer}; weights: {size}")
    assert sum(sent) - sum(fewer) > 0.9 * 2 * steps * size * 3 / 4


def host_killed(hosts):
    """The host without rank 0, if all goes as usual; which one is drawn by torchrun."""
    hosts[1].die()


def rendezvous_killed(hosts):
    """The host on which torchrun's processes meet."""
    hosts[0].die()


def link_cut(hosts):
    """Both hosts run on, and hear nothing of each other."""
    hosts[1].cut()


def process_killed(hosts):
    """The training process of one host, not its torchrun."""
    hosts[1].kill(pids=hosts[1].pids()[-1:])


ENDING = (host_killed, rendezvous_killed, link_cut, process_killed)


@pytest.mark.parametrize("seed", range(TIMES))
@pytest.mark.parametrize("fault", ENDING)
def test_a_fault_ends_all_processes_and_the_run_continues(folder, undisturbed, fault, seed):
    """In a minute every process is gone; what a rank says names the lost rank and its host; no bit is lost."""
    out = f"{fault.__name__} {seed}"
    sets = ("--set", f"train.epochs={LONG}")
    with network(2, "1gbit") as hosts:
        logs = started(hosts, folder, out, "train", "run.toml", "--out", out, *sets)
        history = folder / out / "history.jsonl"
        waited(history.exists, 300, lambda: said(logs))
        time.sleep(random.Random(f"{out}").uniform(0.0, 1.0))
        fault(hosts)
        left = all_end(hosts, out, logs)
    assert any(f"on {host.name} has ended, or does not answer" in left for host in hosts), left
    continues(folder, out, undisturbed)


def all_end(hosts, out, logs):
    """What the processes have said, which are all gone within a minute."""
    seconds = gone(hosts, BOUND + 30)
    assert seconds is not None, said(logs)
    print(f"\n{out}: all processes gone after {seconds:.1f} s")
    assert seconds <= BOUND, said(logs)
    return said(logs)


def continues(folder, out, undisturbed):
    """The file of the model is whole, and the continued run ends with the bits of one that nothing has hit."""
    done = sc.load(folder / out / "model.safetensors", engine="torch").epochs_done  # raises if it is damaged
    assert 1 <= done < LONG
    with network(2, "1gbit") as hosts:
        logs = started(hosts, folder, f"{out} again", "train", out, "--resume")
        assert gone(hosts, 240) is not None, said(logs)
        assert [host.processes[0].returncode for host in hosts] == [0, 0], said(logs)
    found = weights(folder / out / "model.safetensors")
    assert all(np.array_equal(found[name], x) for name, x in undisturbed.items())


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """A disk of its own for a folder; yields a function that fills it."""
    folder.mkdir()
    call("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder)

    def fill():
        with contextlib.suppress(OSError), open(folder / "of somebody else", "wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))

    try:
        yield fill
    finally:
        call("umount", folder)


@pytest.mark.parametrize("seed", range(TIMES))
def test_a_full_disk_ends_all_processes_and_the_run_continues(folder, undisturbed, seed):
    """The disk of the run directory, to which rank 0 writes, is full; when it has room again, the run continues."""
    out = f"full_disk {seed}"
    with small_disk(folder / out, 600) as fill:
        with network(2, "1gbit") as hosts:
            logs = started(hosts, folder, out, "train", "run.toml", "--out", out, "--set", f"train.epochs={LONG}")
            waited((folder / out / "history.jsonl").exists, 300, lambda: said(logs))
            time.sleep(random.Random(out).uniform(0.0, 1.0))
            fill()
            left = all_end(hosts, out, logs)
        assert "No space left on device" in left
        assert "To continue: torchrun" in left
        (folder / out / "of somebody else").unlink()
        continues(folder, out, undisturbed)


def short_cut(hosts):
    """The link is away for five seconds."""
    hosts[1].cut()
    time.sleep(5)
    hosts[1].mend()


def slow_rank(hosts):
    """A training process that stands still for a while, as one that shares its cores with others."""
    pid = hosts[1].pids()[-1:]
    hosts[1].kill(signal.SIGSTOP, pid)
    time.sleep(8)
    hosts[1].kill(signal.SIGCONT, pid)


@pytest.mark.parametrize("seed", range(TIMES))
@pytest.mark.parametrize("fault", [short_cut, slow_rank])
def test_training_goes_on_after_a_short_fault(folder, undisturbed, fault, seed):
    """The weights are those of a run without the fault, bit by bit."""
    out = f"{fault.__name__} {seed}"
    with network(2, "1gbit") as hosts:
        logs = started(hosts, folder, out, "train", "run.toml", "--out", out, "--set", f"train.epochs={LONG}")
        history = folder / out / "history.jsonl"
        waited(history.exists, 300, lambda: said(logs))
        fault(hosts)
        lines = len(history.read_text().splitlines())
        assert lines < LONG
        waited(lambda: len(history.read_text().splitlines()) > lines, BOUND, lambda: said(logs))
        assert gone(hosts, 240) is not None, said(logs)
        assert [host.processes[0].returncode for host in hosts] == [0, 0], said(logs)
    found = weights(folder / out / "model.safetensors")
    assert all(np.array_equal(found[name], x) for name, x in undisturbed.items())
