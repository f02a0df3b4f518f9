"""Worker processes of a Loader: equal batches, errors at their batch, and no process that outlives them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.datasets import DataError, DataFileError, Loader
from spikecore.datasets.transforms import ToFrames, Transform
from tests.datasets.test_loader import events, same

METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]


@dataclass(frozen=True)
class Fails(Transform):
    """Raises an error that has no text of its own and cannot be made again from what it holds."""

    def __call__(self, events):
        class Odd(Exception):
            def __init__(self, one, two):
                super().__init__(one)

        raise Odd(1, 2)


@dataclass(frozen=True)
class Ends(Transform):
    """Ends the process that it is called in, unless it is this one."""

    home: int

    def __call__(self, events):
        if os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return events


# ---- workers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_workers_change_neither_order_nor_content(method, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_context", lambda get=multiprocessing.get_context: get(method))
    options = {"batch_size": 2, "seed": 5, "lengths": True}
    alone, together = Loader(events(), **options), Loader(events(), workers=2, prefetch=1, **options)
    for _ in range(2 if method == "fork" else 1):
        same(together, alone)
    assert together.epoch == alone.epoch > 0
    for _ in together:  # left early
        assert len(multiprocessing.active_children()) == 2
        break
    assert not multiprocessing.active_children()
    assert repr(together).endswith("shuffled with seed 5, 2 workers)")
    if method == "spawn":
        with pytest.raises(DataError, match=r"cannot be sent to worker processes: .*lambda.*or use workers=0"):
            next(iter(Loader(events(3).map(lambda frames: frames), workers=1)))


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_name_the_sample_and_come_at_its_batch(workers):
    def until_error(data, kind, message):
        loader, seen = Loader(data, batch_size=2, shuffle=False, workers=workers), []
        with pytest.raises(kind, match=message):
            seen.extend(y for _, y in loader)  # one by one, so that those before the error are there
        assert not multiprocessing.active_children()
        assert loader.epoch == 0
        return len(seen)

    assert until_error(events(bad=5), DataFileError, r"events, recording 5: .*file 5\.bin: damaged") == 2
    assert until_error(events(11, None, Fails()), DataError, r"events, recording 0: Odd: 1") == 0


@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
def test_a_killed_worker_is_an_error(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_context", lambda get=multiprocessing.get_context: get("fork"))
    data = events(11, None, Ends(os.getpid()), ToFrames(steps=2))
    with pytest.raises(DataError, match=r"a worker process of the loader has ended: was it killed.*workers=2"):
        list(Loader(data, workers=2))
    assert not multiprocessing.active_children()


@dataclass(frozen=True)
class Waits(Transform):
    """Leaves a mark for each recording that it begins with, and ends the second one when there is a file `go`."""

    folder: str

    def __call__(self, events):
        marks = [name for name in os.listdir(self.folder) if name != "go"]
        with open(os.path.join(self.folder, str(len(marks))), "w"):
            while marks and not os.path.exists(os.path.join(self.folder, "go")):
                time.sleep(0.01)
        return events


def test_a_loop_that_is_left_waits_for_no_batch_that_is_not_begun(tmp_path):
    data = events(12, None, Waits(str(tmp_path)), ToFrames(steps=2))
    batches = iter(Loader(data, batch_size=1, workers=1, prefetch=8))
    next(batches)
    threading.Timer(0.5, (tmp_path / "go").touch).start()
    batches.close()
    assert {path.name for path in tmp_path.iterdir()} <= {"0", "1", "go"}


def test_arrays_in_memory_need_no_processes():
    x = np.arange(10.0)[:, None]
    loader = Loader(x, np.arange(10), batch_size=4, workers=2)
    same(loader, Loader(x, np.arange(10), batch_size=4))
    assert repr(loader).endswith("2 workers, not started: the samples are in memory)")
    loader.set_epoch(0)
    iterator = iter(loader)
    next(iterator)
    assert not multiprocessing.active_children()


SLOW_LOADER = """
import os, sys, time
sys.path[:0] = {path!r}
import multiprocessing, numpy as np
from spikecore.datasets import Loader
from tests.datasets.test_loader import events

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    try:
        for i, batch in enumerate(Loader(events(11), batch_size=1, workers=2)):
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", len(multiprocessing.active_children()), flush=True)
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"  # a zombie has ended
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_loader(method, how, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SLOW_LOADER.format(path=[p for p in sys.path if p], method=method))
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to all of them
        else:
            process.kill()
        out, err = process.communicate(timeout=30)
    if how == signal.SIGINT:
        assert out.strip() == "interrupted 0", err
        assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


@pytest.mark.parametrize("where", ["training", "validation"])
def test_fit_leaves_no_processes_after_an_error(where):
    class Stop(Exception):
        pass

    def loss(out, targets):
        if multiprocessing.active_children():
            raise Stop
        return sc.functional.ce_rate_loss()(out, targets)

    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(72, 3), sc.Leaky()), "numpy", input_shape=(2, 6, 6))
    frames = events(6, None, ToFrames(steps=3))
    fed = {name: Loader(frames, batch_size=2, workers=1 if name == where else 0) for name in ("training", "validation")}
    with pytest.raises(Stop) as caught:  # its traceback holds the frames of the loops
        model.fit(fed["training"], loss=loss, validation=fed["validation"], progress=False)
    assert caught.tb is not None
    assert not multiprocessing.active_children()
