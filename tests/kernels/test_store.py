"""The kernel cache: damaged entries are compiled again, and nothing is used that others can write."""

from __future__ import annotations

import errno
import os
import pathlib
import pickle
import random
import shutil
import stat
import subprocess
import sys
import tempfile

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
from spikecore.kernels.runtime import build, numba_cache, store  # noqa: E402
from tests.kernels.kernel_rig import forget, only_place  # noqa: E402

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes of files are those of POSIX")
SOURCE = "def double(worker, workers, table):\n    row(table[0])[0] = F(2.0) * row(table[2])[0]\n"
NOBODY = 65534


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """The only place for kernels, where nothing is yet."""
    monkeypatch.setattr(store, "said", set())
    yield only_place(monkeypatch, tmp_path)
    forget()


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    """Numba compiles each source once for all tests here: they are about what becomes of its machine code."""
    made, compiler = {}, numba_cache.CFunc

    def compiled(function, *given, **options):
        if function.__module__ not in made:
            one = made[function.__module__] = compiler(function, *given, **options)
            one.compile()
            one.compile = lambda: None
        return made[function.__module__]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba_cache, "CFunc", compiled)
        yield


def compiles():
    """Whether a kernel is compiled, not loaded; and that it computes."""
    forget()
    kernel = build.build_run(SOURCE, "double", "float64")
    x, y = np.array([1.5]), np.zeros(1)
    kernel(1, (), (y, x))
    assert y[0] == 3.0
    return not kernel.function.cache_hits


def entry(place):
    (found,) = place.iterdir()
    return found


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


DAMAGE = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "digest alone": lambda data: data[: store.SIZE],
    "half": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "bytes too many": lambda data: data + b"\0" * 512,
    "bit of the digest": lambda data: flip(data, 3),
    "bit of the code": lambda data: flip(data, len(data) // 2),
    "zeros": lambda data: b"\0" * len(data),
    "garbage": lambda data: random.Random(0).randbytes(len(data)) if hasattr(random, "randbytes") else b"\x80" * 999,
    "another pickle": lambda data: pickle.dumps("spikes"),
    "another name's": lambda data: store.digest_of("another", data[store.SIZE :]) + data[store.SIZE :],
    "whole, but of something else": lambda data: store.digest_of("", b"") + pickle.dumps(1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_entries_are_compiled_again_and_replaced(place, damage):
    """C6: whatever is wrong with a file."""
    assert compiles()
    assert not compiles()
    found = entry(place)
    good = found.read_bytes()
    found.write_bytes(damage(good))
    assert compiles()
    assert not compiles()
    assert len(entry(place).read_bytes()) > store.SIZE


def test_an_entry_that_numba_cannot_take_is_compiled_again(place):
    """C6: whole, of the right name, and not what Numba expects."""
    compiles()
    name = entry(place).name
    for content in (pickle.dumps("spikes"), pickle.dumps(tuple(range(9))), b"no pickle"):
        store.save(name, content)
        assert compiles()
        assert not compiles()


class Planted:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@posix
@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("how", ["foreign", "group", "world"])
def test_what_others_can_write_is_not_used(monkeypatch, place, tmp_path, capfd, kind, how):
    """C5: neither a folder nor a file of another user, or open to others; the digest is no secret."""
    compiles()
    planted, mark = entry(place), tmp_path / "ran"
    content = pickle.dumps(Planted(mark))
    planted.write_bytes(store.digest_of(planted.name, content) + content)
    target = place if kind == "folder" else planted
    if how != "foreign":
        target.chmod(stat.S_IMODE(target.stat().st_mode) | (0o020 if how == "group" else 0o002))
    elif os.getuid() == 0:
        os.chown(str(target), NOBODY, -1)
    else:  # to another user all here is foreign
        monkeypatch.setattr(store.os, "getuid", lambda: NOBODY)
    assert compiles()
    assert not mark.exists()
    text = capfd.readouterr().err
    assert "belongs to another user" in text if how == "foreign" else "can be written to by other users" in text
    if how != "foreign" and kind == "folder":  # ours: it has been closed
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("which", ["kernels", "above", "entry"])
def test_links_are_not_followed(place, tmp_path, which):
    """C5: others may have made them, and may turn them elsewhere."""
    compiles()
    link = {"kernels": place, "above": place.parent, "entry": entry(place)}[which]
    elsewhere = tmp_path / "elsewhere"
    shutil.move(str(link), str(elsewhere))
    link.symlink_to(elsewhere, target_is_directory=which != "entry")
    before = sorted(elsewhere.rglob("*"))
    assert compiles()
    assert sorted(elsewhere.rglob("*")) == before
    assert compiles() == (which != "entry")  # an entry is replaced by a file


@posix
def test_what_is_written_is_private(place):
    """C5: whatever the umask."""
    before = os.umask(0)
    try:
        compiles()
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry(place).stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_other_things_in_the_place_of_an_entry(place, tmp_path, monkeypatch, kind):
    """C6: nothing waits for a pipe, and the next place serves where a folder is in the way."""
    compiles()
    found = entry(place)
    found.unlink()
    found.mkdir() if kind == "folder" else os.mkfifo(str(found))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "general"))
    assert compiles()
    assert not compiles()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_where_nothing_can_be_written_kernels_stay_in_memory(monkeypatch, place, capfd, error):
    """C6: a full disk for one; it is said once."""

    def fail(*arguments, **options):
        raise OSError(error, os.strerror(error), *arguments)

    monkeypatch.setattr(store.os, "replace", fail)
    assert compiles()
    assert compiles()
    assert not list(place.iterdir())
    assert capfd.readouterr().err.count("compiled kernels stay in memory") == 1


def test_the_first_place_that_can_be_written_is_taken(monkeypatch, tmp_path):
    """C6: and all are read."""
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    monkeypatch.setenv("SPIKECORE_CACHE", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "general"))
    assert compiles()
    assert not compiles()
    assert entry(tmp_path / "general" / "spikecore" / "kernels")
    monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path / "own"))
    assert not compiles()


TRAIN = """
import os, sys
import numpy as np
import spikecore as sc
from spikecore.kernels import sequence
from spikecore.kernels.runtime import build, modules

def work():
    engine = sc.get_engine("numpy", fused=True)
    model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky(threshold=0.3)), engine=engine)
    model.fit([(np.random.default_rng(0).random((8, 6)).astype("float32"), np.arange(8) % 3)], num_steps=5)
    return {name: a.tolist() for name, a in model.params().items()}

if "full" in sys.argv:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as on a full disk, a write ends early
if "nobody" in sys.argv:
    work()  # reads whatever of Python itself only the administrator may read
    os.setgid(65534), os.setuid(65534)
    for known in (build.kernel_of, build.build_run, modules.load, sequence.forward_of, sequence.backward_of):
        known.cache_clear()
    build.in_memory.clear()
result = work()
made = list(build.in_memory.values())
print(len(made), sum(one.cache_hits for one in made), result)
"""


def train(place, *how):
    environment = {**os.environ, "SPIKECORE_CACHE": str(place.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", TRAIN, *how], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    count, loaded, *result = done.stdout.split(maxsplit=2)
    return int(count), int(loaded), result, done.stderr


def test_training_goes_on_with_a_full_disk(place):
    """C6: and says that the next process will compile again."""
    pytest.importorskip("resource", reason="limits of a process are those of POSIX")
    count, loaded, result, text = train(place, "full")
    assert count > 0 == loaded
    assert text.count("compiled kernels stay in memory") == 1
    assert not list(place.iterdir())
    assert train(place)[2] == result
    count, loaded, again, text = train(place)
    assert count == loaded
    assert again == result
    assert not text


@pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root can leave a folder to another user")
def test_a_warm_cache_of_the_administrators_is_used_by_all():
    """C6: as in the image of a container: its user reads what root has compiled and cannot write there."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o755)
        check_warm(pathlib.Path(folder) / "own" / "kernels")


def check_warm(place):
    count, *_ = train(place)
    for path in (place.parent, place, *place.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert train(place, "nobody")[:2] == (count, count)
