"""Run directories under attack: several processes at once, kills at every file, leftovers."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore import files  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import lock, pictures  # noqa: E402
from spikecore.cli import run_directory as runs  # noqa: E402
from spikecore.cli import run_file as config  # noqa: E402
from spikecore.cli.exit_codes import DATA  # noqa: E402
from tests.training.parallel_rig import ended, forked, nursery  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
TINY = ["network.layers.0.out_features=4", "network.layers.2.in_features=4", "encoder.num_steps=2", "train.epochs=1"]
TINY += ["data.batch_size=512"]
SETS = [word for one in TINY for word in ("--set", one)]
FILES = 4  # that such a run writes one after the other
HOLD = (
    "import sys, pathlib, spikecore.cli.lock as lock\n"
    "with lock.owned(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
)


def job(directory=None, *sets):
    return runs.TrainingRun(config.read(RUN_FILE, "numpy", [*TINY, *sets]), directory, RUN_FILE.name)


def command(*arguments):
    """The command line with pictures left out, which the caller runs in a process of its own."""

    def run():
        from tests.cli.without_pictures import main

        main(["train", str(RUN_FILE), *SETS, "-e", "numpy", *map(str, arguments)])

    return run


def killed_at(file):
    """A training that dies when it has written so many files, and begins to put the next in its place."""

    def run():
        replace, left = os.replace, [file]

        def dies(source, target):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = dies
        command("--out", f"killed{file}")()

    return run


def at_once(folder, count):
    """In the nursery: so many commands, each of which finds a directory for itself."""
    os.chdir(folder)
    return ended(forked([command("-s", f"seed={i}") for i in range(int(count))], folder, "at once"))


def scenarios(folder):
    """In the nursery: an unharmed run, and what came of each attack, as JSON."""
    os.chdir(folder)
    with pytest.raises(SystemExit, match="0"):
        command("--out", "whole")()  # in this process, so that the forks have all that it imports
    found = {"at once": at_once(folder, 3)}
    found["one"] = ended(forked([command("--out", "one")] * 3, folder, "one"))
    found["killed"] = ended(forked([killed_at(file) for file in range(FILES)], folder, "killed"))
    print(json.dumps({name: {"codes": world.by_rank(), "said": world.said} for name, world in found.items()}))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    return folder, json.loads(nursery(__name__, "scenarios", folder).splitlines()[-1])


def train(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.main(["train", str(RUN_FILE), *SETS, "-e", "numpy", *map(str, arguments)])
    return left.value.code


def test_a_full_disk_names_the_file_and_the_command(monkeypatch, capsys):
    whole, saved = files._write, []

    def write(path, data, finish):
        saved.extend([path] * (".model.safetensors." in str(path)))
        if len(saved) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, data, finish)

    with monkeypatch.context() as patched:
        patched.setattr(files, "_write", write)
        assert train("--set", "train.epochs=3", "--out", "out") == DATA
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{Path('out/model.safetensors')}: No space left on device: 1 of 3 epochs are saved")
    with pytest.raises(SystemExit) as left:
        cli.main(last.partition("To continue: spikecore ")[2].split())
    assert left.value.code == 0
    assert len(Path("out/history.jsonl").read_text().splitlines()) == 3


def check_each_has_its_own(folder, count):
    directories = sorted((folder / "runs").iterdir())
    assert [path.name for path in directories] == [f"demo-00{i}" for i in range(1, count + 1)]
    seeds = []
    for path in directories:
        kept = config.read(path / "run.toml")
        model = sc.load(path / "model.safetensors", engine="numpy")
        seeds.append(kept.seed)
        assert model.seed == kept.seed
        with (path / "history.jsonl").open() as lines:
            assert [json.loads(line)["loss"] for line in lines] == [row["loss"] for row in model.history]
        assert not list(path.glob(".*"))
    assert sorted(seeds) == list(range(count))


def test_trainings_started_at_once_have_directories_of_their_own(done):
    """C2: several commands at once; each keeps its run file, its model, its history."""
    folder, found = done
    assert found["at once"]["codes"] == [0] * 3, found["at once"]["said"]
    check_each_has_its_own(folder, 3)


@pytest.mark.slow
def test_six_trainings_started_at_once_have_directories_of_their_own(tmp_path):
    nursery(__name__, "at_once", tmp_path, 6)
    check_each_has_its_own(tmp_path, 6)


def test_one_directory_named_by_several_is_given_to_one(done):
    """C2: --out DIR of several commands: one trains there, the others say who does."""
    folder, found = done
    codes, said = found["one"]["codes"], found["one"]["said"]
    assert sorted(codes) == [0, cli.USAGE, cli.USAGE], said
    for code, error in zip(codes, said):
        assert code == 0 or "one: process " in error or "--out one already exists" in error
    assert (folder / "one" / "result.json").exists()


def test_numbers_are_taken_once():
    """C2: the race itself, many times over."""
    found, barrier = [], threading.Barrier(8)

    def take():
        barrier.wait()
        found.extend(runs.new_directory("runs", "x") for _ in range(20))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 160


def test_an_owner_that_has_not_written_its_name_yet_is_waited_for(tmp_path):
    """Between taking the lock and writing the name is a moment in which the file is empty."""
    import fcntl

    handle = os.open(tmp_path / lock.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    naming = threading.Timer(0.2, os.write, (handle, b"process 7 on somewhere, since 2020"))
    naming.start()
    with pytest.raises(lock.Occupied, match="process 7 on somewhere, since 2020, is writing"), lock.owned(tmp_path):
        pass
    naming.join()
    os.close(handle)


def test_a_lock_names_its_owner_and_ends_with_it(tmp_path):
    """C2: a living owner is named; what a dead one left behind is taken over."""
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout")}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], **pipes, text=True, env=environment)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(lock.Occupied, match=rf"process {owner.pid} on \S+, since 20.*, is writing to it"):
        job(tmp_path).start().__enter__()
    assert not (tmp_path / "run.toml").exists()
    owner.kill()
    owner.communicate()
    assert (tmp_path / lock.LOCK).exists()
    with job(tmp_path).start() as model:
        assert model.epochs_done == 0
        with pytest.raises(lock.Occupied, match=f"process {os.getpid()} "):
            job(tmp_path).start(resume=True).__enter__()
    assert not (tmp_path / lock.LOCK).exists()


def test_a_lock_is_handed_on_without_gap(tmp_path):
    """C2: owners that come and go at once: never two, none that holds a file which is gone."""
    inside, most, taken = [], [], []

    def work():
        while len(taken) < 200:
            try:
                with lock.owned(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    taken.append(1)
                    inside.pop()
            except lock.Occupied:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_lock_does_not_follow_links(tmp_path):
    """C2: what a link in the place of the lock points to is not touched."""
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / lock.LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"), lock.owned(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("file", range(FILES))
def test_a_run_killed_at_any_file_can_be_started_or_resumed(done, file, monkeypatch):
    """C15: killed before the run file is there: start anew; later: resume. The result is that of an unharmed run."""
    folder, found = done
    monkeypatch.chdir(folder)
    assert found["killed"]["codes"][file] == -signal.SIGKILL
    again = ["--out", f"killed{file}"]
    assert train(*again, *([] if file == 0 else ["--resume"])) == 0
    one, other = (sc.load(Path(name) / "model.safetensors", engine="numpy") for name in (again[1], "whole"))
    assert all((other.params()[name] == x).all() for name, x in one.params().items())


def test_what_is_there_is_never_written_over(capsys):
    """C15: only hidden leftovers are nothing."""
    for name, content in (("notes.txt", "mine"), ("run.toml", ""), ("model.safetensors", "")):
        path = Path(name.partition(".")[0]) / name
        path.parent.mkdir()
        path.write_text(content)
        assert train("--out", path.parent) == cli.USAGE
        assert "already exists" in capsys.readouterr().err
        assert [p.read_text() for p in path.parent.iterdir()] == [content]


@pytest.mark.usefixtures("with_pictures")
def test_pictures_are_written_whole_or_not_at_all(monkeypatch):
    """C15: an interruption while a picture is drawn or written leaves the older one."""
    assert train("--out", "out") == 0
    names = (pictures.CURVES, pictures.PREDICTIONS, pictures.RASTER, pictures.TRACES, pictures.CONFUSION)
    paths = [Path("out") / name for name in names]
    before = [path.read_bytes() for path in paths]

    def interrupted(source, target):
        raise KeyboardInterrupt

    run = runs.opened("out", "numpy")
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.pictures(run.model())
    assert [path.read_bytes() for path in paths] == before
    assert {path.name for path in Path("out").iterdir() if path.suffix == ".png"} == {path.name for path in paths}
