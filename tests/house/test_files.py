"""C7: files are replaced in a single step, whatever fails, and nothing else is replaced by them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import spikecore as sc
from spikecore import files
from spikecore.files import json_text, write_atomically
from tests import ROOT

CALLS = ("open", "write", "fsync", "replace", "chmod", "close", "fstat", "stat", "listdir", "access")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Faults:
    """Counts the calls of ``os`` that a write makes, and lets one of them fail, before or after its work is done."""

    def __init__(self, monkeypatch, target=None, error=None, late=False):
        self.count, self.target, self.error, self.late = 0, target, error, late
        self.hit = ""
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))
        if files.fcntl is not None:
            monkeypatch.setattr(files.fcntl, "flock", self.wrapped("flock", files.fcntl.flock))

    def wrapped(self, name, function):
        def call(*args, **options):
            mine, self.count = self.count == self.target, self.count + 1
            if mine:
                self.hit = name
            if mine and not self.late:
                raise self.error
            try:
                return function(*args, **options)
            finally:
                if mine:
                    raise self.error

        return call


def with_each_fault(folder, monkeypatch, error, late, prepare, write):
    """Lets each call of a write fail in turn; yields the call's name, and whether the failure came through."""
    target = 0
    while True:
        prepare()
        came_through = False
        with monkeypatch.context() as patch:
            faults = Faults(patch, target, error, late)
            try:
                write()
            except type(error):
                came_through = True
        if not faults.hit:
            return
        assert names(folder) in ([], ["file"]), (faults.hit, target)
        yield faults.hit, came_through
        target += 1


FAULTS = pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"]
)


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("late", [False, True])
@FAULTS
def test_a_fault_at_any_call_leaves_one_whole_file_and_no_draft(tmp_path, monkeypatch, error, late, existing):
    """C7: every call of the system that a write makes fails once, before and after it did its work."""
    path, new = tmp_path / "folder" / "file", b"new" * 1000
    path.parent.mkdir()

    def prepare():
        if existing:
            path.write_bytes(b"old")
        elif path.exists():
            path.unlink()

    seen = []
    for call in with_each_fault(path.parent, monkeypatch, error, late, prepare, lambda: write_atomically(path, new)):
        assert (path.read_bytes() if path.exists() else None) in (new, b"old" if existing else None), call
        seen.append(call)
    assert path.read_bytes() == new
    assert {"open", "write", "fsync", "replace", "close", "flock"} <= {name for name, _ in seen}
    assert sum(came_through for _, came_through in seen) >= 7
    if isinstance(error, KeyboardInterrupt):
        assert all(came_through for _, came_through in seen), "an interrupt is never swallowed"


@pytest.mark.parametrize("late", [False, True])
@FAULTS
def test_a_fault_at_any_call_of_a_save_leaves_one_whole_model(tmp_path, monkeypatch, error, late):
    """C7: the old model or the new one can be loaded, whichever call fails."""
    path = tmp_path / "folder" / "file"
    old, new = (sc.Model(sc.Sequential(sc.Linear(4, 4), sc.Leaky()), "numpy", seed=seed) for seed in (1, 2))
    seeds, count = set(), 0
    for call in with_each_fault(path.parent, monkeypatch, error, late, lambda: old.save(path), lambda: new.save(path)):
        left = sc.load(path, engine="numpy")
        assert np.array_equal(left.params()["0.weight"], (old if left.seed == 1 else new).params()["0.weight"]), call
        seeds.add(left.seed)
        count += 1
    assert seeds == {1, 2}  # faults before the swap, and behind it
    assert count >= 15


# ---- killed processes, and others at work ---------------------------------------------------------------------------


def killed_while_writing(path):
    script = (
        "import os, signal\n"
        "from spikecore.files import write_atomically\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomically({str(path)!r}, b'never')\n"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode != 0


def test_what_a_killed_process_left_is_deleted_by_the_next_write(tmp_path):
    """C7: the old file is whole, and the next write of the same file cleans up, but not behind others."""
    path, other = tmp_path / "model", tmp_path / "model.2"
    path.write_bytes(b"old")
    for one in (path, other):
        killed_while_writing(one)
    assert path.read_bytes() == b"old"
    assert len(names(tmp_path)) == 3  # the file and two drafts
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [name.startswith(".model.2.") for name in names(tmp_path)] == [True, False]
    write_atomically(other, b"new")
    assert names(tmp_path) == ["model", "model.2"]


def test_writers_of_one_file_do_not_sweep_each_other(tmp_path):
    """C7: several threads write one file as fast as they can; each write ends, and the file is one of theirs."""
    path, failures = tmp_path / "model", []

    def write(number):
        try:
            for _ in range(40):
                write_atomically(path, bytes([number]) * 5000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert names(tmp_path) == ["model"]
    assert path.read_bytes() in [bytes([number]) * 5000 for number in range(6)]


# ---- what is replaced, and with which mode --------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, mask):
    """C7: as if it had been opened for writing."""
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"")
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "plain")}
    assert modes == {0o666 & ~mask}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, mode):
    """C7: a private file stays private."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("exists", [True, False])
def test_links_stay_and_their_file_is_replaced(tmp_path, exists):
    """C7: also over two links, relative ones, and to a file that is not there yet."""
    (tmp_path / "runs").mkdir()
    file = tmp_path / "runs" / "model"
    if exists:
        file.write_bytes(b"old")
    (tmp_path / "latest").symlink_to("runs/model")
    (tmp_path / "best").symlink_to(tmp_path / "latest")
    write_atomically(tmp_path / "best", b"new")
    assert file.read_bytes() == b"new"
    assert (tmp_path / "best").is_symlink()
    assert (tmp_path / "latest").is_symlink()
    assert names(tmp_path / "runs") == ["model"]


def test_folders_sockets_and_circles_are_refused(tmp_path, monkeypatch):
    """C7: they and links to them are left as they are."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "link").symlink_to("socket")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # its name may have 107 bytes
        server.bind("socket")
    before = {path: os.lstat(path) for path in tmp_path.iterdir()}
    for path in ("folder", "a", "socket", "link"):
        with pytest.raises(OSError, match=r"is a folder|symbolic links|No such device") as found:
            write_atomically(tmp_path / path, b"new")
        assert str(tmp_path / path) in str(found.value)
    assert {path: (os.lstat(path).st_mode, os.lstat(path).st_ino) for path in before} == {
        path: (found.st_mode, found.st_ino) for path, found in before.items()
    }


def test_pipes_and_devices_are_written_to(tmp_path):
    """They stay what they are, links to them as well; what reads the pipe gets all of it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    new, read = b"new" * 100_000, []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    for path in (tmp_path / "pipe", tmp_path / "null", os.devnull):
        before = os.lstat(path)
        write_atomically(path, new)
        assert (os.lstat(path).st_mode, os.lstat(path).st_ino) == (before.st_mode, before.st_ino)
    reader.join(30)
    assert read == [new]
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="No space left"):
            write_atomically("/dev/full", new)


def test_files_that_are_written_together_are_replaced_together(tmp_path, monkeypatch):
    """A disk that is full at the last one leaves all as they were, and no draft."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        faults = Faults(patch, None)
        files.write_together(dict.fromkeys(paths, b"old"))
    writes = faults.count
    for target in range(writes):
        with monkeypatch.context() as patch:
            faults = Faults(patch, target, OSError(28, "No space left on device"))
            with contextlib.suppress(OSError):
                files.write_together(dict.fromkeys(paths, b"new"))
        assert names(tmp_path) == ["a", "b", "c"]
        if faults.hit == "write":
            assert {path.read_bytes() for path in paths} == {b"old"}
        files.write_together(dict.fromkeys(paths, b"old"))


def test_a_file_is_made_once_and_appears_whole(tmp_path):
    """Neither an error while it is made nor a killed process leaves a part; the first of two that make it wins."""
    path = tmp_path / "folder" / "database"

    def fails(draft):
        draft.write_bytes(b"half")
        assert not path.exists()
        raise ZeroDivisionError

    def other(draft):
        draft.write_bytes(b"second")
        files.make_once(path, lambda draft: draft.write_bytes(b"first"))

    with pytest.raises(ZeroDivisionError):
        files.make_once(path, fails)
    assert names(path.parent) == []
    files.make_once(path, other)
    files.make_once(path, fails)  # is there, and not made again
    assert (path.read_bytes(), names(path.parent)) == (b"first", ["database"])
    path.write_bytes(b"")
    files.make_once(path, lambda draft: draft.write_bytes(b"third"))
    assert (path.read_bytes(), names(path.parent)) == (b"third", ["database"])


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may write others' files")
def test_a_file_of_another_user_stays_theirs(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o2640)
    write_atomically(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o2640)


def test_a_write_protected_file_is_refused(tmp_path, monkeypatch):
    """C7: renaming another file over it would not ask."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda given, mode: (Path(given), mode) != (path, os.W_OK))  # root may always
    with pytest.raises(PermissionError, match="write-protected.*file"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "a [*] b", ".", "-"])
def test_names_of_any_kind(tmp_path, name):
    """C7: the longest that there are, and those that patterns would read."""
    if name == ".":
        with pytest.raises(IsADirectoryError):
            write_atomically(tmp_path / name, b"x")
        return
    killed_while_writing(tmp_path / name)
    assert len(names(tmp_path)) == 1
    write_atomically(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


# ---- JSON ----------------------------------------------------------------------------------------------------------


def test_json_is_strict_and_knows_numbers_of_numpy():
    """C12, C10: NaN and the infinities are null, NumPy's numbers are numbers."""
    row = {
        "loss": float("nan"), "epoch": np.int64(3), "rate": np.float32(0.5), "best": np.bool_(True), "name": "x",
        "none": None, "sizes": (1, np.inf), "array": np.array([1.0, -np.inf]), "deep": [{"x": float("-inf")}],
    }  # fmt: skip
    text = json_text(row)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "loss": None, "epoch": 3, "rate": 0.5, "best": True, "name": "x",
        "none": None, "sizes": [1, None], "array": [1.0, None], "deep": [{"x": None}],
    }  # fmt: skip


@pytest.mark.parametrize("value", [object(), 1j, np.complex64(1j), {1: 2}, {"x": {3}}, np.datetime64("2020-01-01")])
def test_json_refuses_what_is_no_data(value):
    """C10: with the value in the message."""
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        json_text([value])
