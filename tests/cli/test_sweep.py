"""`spikecore sweep` in one process: what it writes, what it refuses, and that an interruption changes nothing."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn", "matplotlib"):
    pytest.importorskip(package)
pytest.importorskip("optuna", reason="Optuna is not installed (extra sweep)")

import spikecore as sc  # noqa: E402
from spikecore.cli import run_directory, sweep_directory, sweep_storage  # noqa: E402
from spikecore.cli.lock import Occupied, owned  # noqa: E402
from spikecore.cli.run_file import given, read, settled  # noqa: E402
from spikecore.cli.sweep_results import values_of  # noqa: E402
from spikecore.cli.sweep_space import read_space  # noqa: E402
from spikecore.installing import to_install  # noqa: E402
from tests.cli.sweep_files import LR, RUN, SPACE, written  # noqa: E402
from tests.cli.test_cli import colours  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # of NumPy, with large learning rates


def begun(tmp_path, trials, space=SPACE, run=RUN, name="made"):
    """A new sweep with Python's means."""
    run_file, space_file = map(Path, written(tmp_path, space, run))
    said = settled(given(run_file))
    directory = tmp_path / name
    directory.mkdir()
    sweep_directory.begin(directory, said, read_space(space_file, said), trials)
    return sweep_directory.opened(directory)


def table(directory):
    """The rows of trials.csv, without the seconds."""
    with open(Path(directory) / "trials.csv", newline="") as file:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


# ---- what comes of a sweep -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_pictures")
def test_a_sweep_writes_everything(spikecore, tmp_path):
    code, said, error = spikecore("sweep", *written(tmp_path), "--trials", 3, "--out", "out", "--json")
    assert code == 0, error
    result, rows, out = json.loads(said), table("out"), Path("out")
    assert result["tested_trials"] == [result["best_trial"]]
    assert error.count("val_accuracy") == 3
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    assert (result["trials"], result["complete"], result["best_trial"]) == (3, 3, int(best["trial"]))
    assert result["best_value"] == float(best["val_accuracy"])
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        *"run.toml space.toml sweep.db trials.csv best.toml result.json trials".split(),
        *"history.png slices.png parallel.png".split(),
    }
    assert all(colours(out / name) > 20 for name in ("history.png", "slices.png", "parallel.png"))
    assert sorted(result["pictures"]) == sorted(str(path) for path in out.glob("*.png"))
    # weights and results of the test set: those of the best trial alone
    assert [path.parent.name for path in out.glob("trials/*/model.safetensors")] == [f"{int(best['trial']):03d}"]
    assert [path.parent.name for path in out.glob("trials/*/result.json")] == [f"{int(best['trial']):03d}"]
    config = read(out / "best.toml")
    assert config.train.epochs == 4  # those of the run file, not those of the space
    assert config.train.optimizer.lr == float(best["train.optimizer.lr"])
    width = int(best["network.layers.0.out_features"])
    assert width in (4, 8, 12, 16)
    assert (config.network.layers[0].out_features, config.network.layers[2].in_features) == (width, width)
    again = run_directory.TrainingRun(read(out / "best.toml", sets=["train.epochs=2"]))
    with again.start() as model:  # the trial can be repeated
        again.train(model, lambda line: None)
        assert model.history[-1]["val_accuracy"] == result["best_value"]
        assert again.evaluate(model)["test_accuracy"] == result["test_accuracy"]


def test_an_interrupted_sweep_ends_as_one_that_is_not(tmp_path, monkeypatch):
    """Values and results are the same, also where Ctrl-C comes inside a trial; pruned ones: test_sweep_processes.py."""
    monkeypatch.setattr(sweep_storage, "FIRST_AT_RANDOM", 3)  # tpe learns sooner
    whole, parts = (begun(tmp_path, 5, name=name) for name in ("whole", "parts"))
    whole.work(lambda line: None)
    keep, saved = run_directory.TrainingRun._keep, []

    def interrupting(run, model):
        keep(run, model)
        saved.append(run.directory)
        if len(saved) in (3, 8):
            raise KeyboardInterrupt

    monkeypatch.setattr(run_directory.TrainingRun, "_keep", interrupting)
    interruptions = 0
    while len(parts.storage.finished()) < 5:
        try:
            parts.work(lambda line: None)
        except KeyboardInterrupt:
            interruptions += 1
            assert len(parts.running) == 1
            parts = sweep_directory.opened(tmp_path / "parts")
    assert interruptions == 2
    assert table(tmp_path / "whole") == table(tmp_path / "parts")
    assert len({row["train.optimizer.lr"] for row in table(tmp_path / "parts")}) == 5
    assert len(saved) == 5 * 2  # no epoch was trained twice


def test_the_seed_chooses_the_values(tmp_path):
    spaces = [read_space(Path(written(tmp_path, SPACE + more)[1]), given("run.toml")) for more in ("", "")]
    other = read_space(Path(written(tmp_path, SPACE.replace("[sweep]", "[sweep]\nseed = 1"))[1]), given("run.toml"))
    first, again = (sweep_storage.first(space) for space in spaces)
    assert first == again
    assert first["train.optimizer.lr"] != sweep_storage.first(other)["train.optimizer.lr"]


def test_a_sweep_can_be_prolonged(spikecore, tmp_path):
    files = written(tmp_path)
    assert spikecore("sweep", *files, "-n", 1, "--out", "out")[0] == 0
    code, said, error = spikecore("sweep", "out", "--resume")
    assert code == 0, error
    assert "nothing left to try: 1 trials are done" in said
    assert "evaluated on the test set by now" not in said  # the same trial is the best
    code, said, error = spikecore("sweep", *files, "--out", "out", "--resume", "-n", 2)
    assert code == 0, error
    assert len(table("out")) == 2
    tested = json.loads((Path("out") / "result.json").read_text())["tested_trials"]
    assert tested in ([0], [0, 1])
    assert ("trials 0, 1 have been evaluated on the test set by now" in said) == (tested == [0, 1])
    assert spikecore("sweep", "out", "--resume", "-n", 1)[::2] == (
        2,
        "--trials 1: 2 trials have begun already; give at least as many\n",
    )


def test_a_dry_run_shows_the_first_trial_and_writes_nothing(spikecore, tmp_path):
    files = written(tmp_path)
    before = set(Path().rglob("*"))
    code, said, error = spikecore("sweep", *files, "--dry-run", "--json")
    assert code == 0, error
    shown = json.loads(said)
    assert shown["space"]["network.layers.0.out_features"] == "4 to 16, step 4"
    assert "Nothing was trained and nothing was written" in spikecore("sweep", *files, "--dry-run")[1]
    assert set(Path().rglob("*")) == before
    ours = begun(tmp_path, 1)
    with ours.storage.claimed() as trial:
        assert values_of(ours.storage, trial) == shown["first_trial"]


def test_early_stopping_is_judged_by_the_epoch_that_it_restores(tmp_path):
    run = RUN.replace("epochs = 4", "epochs = 6, early_stopping = { patience = 1, monitor = 'val_accuracy' }")
    ours = begun(tmp_path, 2, LR, run)
    ours.work(lambda line: None)
    for trial in ours.storage.all():
        rows = (ours.directory_of(trial) / "history.jsonl").read_text().splitlines()
        assert trial.value == max(json.loads(row)["val_accuracy"] for row in rows)


PAGE = ROOT / "docs" / "sweeps.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")
def test_the_space_of_the_page_fits_a_new_run_file(spikecore):
    Path("space.toml").write_text(PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0])
    assert spikecore("init", "digits")[0] == 0
    code, said, error = spikecore(
        "sweep", "digits.toml", "space.toml", "-e", "numpy", "-s", "data.validation=0.2", "--dry-run"
    )
    assert code == 0, error
    assert "one of 32, 64, 128; also network.layers.2.in_features" in said


# ---- several processes ---------------------------------------------------------------------------------------------


def test_trials_are_handed_out_once(tmp_path):
    """Two who share a storage, with three trials for both; the trial of the one who leaves goes to the other."""
    mine = begun(tmp_path, 3)
    other = sweep_directory.opened(mine.directory)
    with mine.storage.claimed() as a, other.storage.claimed() as b, mine.storage.claimed() as c:
        assert sorted(trial.number for trial in (a, b, c)) == [0, 1, 2]
        with other.storage.claimed() as none:
            assert none is None
        values = values_of(other.storage, a)
    with other.storage.claimed() as left:
        assert left.number == 0
        assert values_of(other.storage, left) == values
    assert len(mine.storage.all()) == 3


def test_a_trial_that_a_user_enqueues_comes_first(tmp_path):
    """The values of a user's own, by Optuna's means."""
    ours = begun(tmp_path, 2)
    values = {"train.optimizer.lr": 0.02, "network.layers.0.out_features": 8, "network.layers.1.surrogate": "atan"}
    ours.storage.study.enqueue_trial(values)
    with ours.storage.claimed() as trial, ours.storage.claimed() as other:
        assert (trial.number, values_of(ours.storage, trial)) == (0, values)
        assert other.number == 1


def test_a_lock_can_be_waited_for(tmp_path):
    with owned(tmp_path, ".lock-a"), owned(tmp_path, ".lock-b"):  # two locks of one directory
        began = time.monotonic()
        with pytest.raises(Occupied, match="is writing to it"):
            owned(tmp_path, ".lock-a", patience=0.1).__enter__()
        assert time.monotonic() - began > 0.1
    with owned(tmp_path, ".lock-a"):
        pass


def test_join_begins_a_sweep_or_takes_part_in_it(spikecore, tmp_path):
    files = written(tmp_path)
    assert spikecore("sweep", *files, "--join")[::2] == (2, "--join needs --out DIR, the same for all processes\n")
    assert spikecore("sweep", *files, "--join", "--out", "out", "-n", 1)[0] == 0
    code, said, _ = spikecore("sweep", *files, "--join", "--out", "out", "-n", 1)
    assert code == 0
    assert "nothing left to try" in said
    code, _, error = spikecore("sweep", *files, "--join", "--out", "out", "-n", 3)
    assert (code, error) == (2, "--trials 3: the sweep in out has 1; --resume changes that\n")
    Path("other").mkdir()
    Path("other/thesis.tex").touch()
    code, _, error = spikecore("sweep", *files, "--join", "--out", "other")
    assert (code, error) == (2, "--out other already holds thesis.tex, and no sweep: choose another\n")


@pytest.mark.parametrize("launcher", [("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"), ("WORLD_SIZE", "RANK")])
def test_trials_of_many_processes_train_alone(tmp_path, monkeypatch, launcher):
    """Each process that srun or torchrun has started has a trial of its own."""
    ours = begun(tmp_path, 1)
    for variable, value in zip(launcher, "20"):
        monkeypatch.setenv(variable, value)
    ours.work(lambda line: None)
    assert [trial.state.name for trial in ours.storage.finished()] == ["COMPLETE"]


# ---- trials that fail ----------------------------------------------------------------------------------------------


def test_a_trial_that_diverges_is_pruned(tmp_path, monkeypatch):
    ours = begun(tmp_path, 2, LR)

    def diverge(*args, **options):
        raise sc.errors.DivergedError("the loss of epoch 1 is nan")

    with monkeypatch.context() as patch:
        patch.setattr(sc.Model, "fit", diverge)
        with ours.storage.claimed() as trial:
            line = ours._carry_out(trial)
    assert "no value, pruned after 0 epochs (the loss of epoch 1 is nan)" in line
    ours.work(lambda line: None)  # the sampler takes it
    assert [row["state"] for row in table(ours.directory)] == ["pruned", "complete"]


def test_a_sweep_ends_when_its_first_trials_fail(spikecore, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("CUDA out of\nmemory")

    monkeypatch.setattr(sc.Model, "fit", fail)
    code, said, error = spikecore("sweep", *written(tmp_path), "--out", "out")
    assert code == 4
    assert "the first 3 trials have all failed, the last one with RuntimeError: CUDA out of memory" in error
    assert [row["reason"] for row in table("out")] == ["RuntimeError: CUDA out of memory"] * 3


def test_what_kills_its_process_each_time_does_not_do_so_forever(tmp_path, monkeypatch):
    ours = begun(tmp_path, 2, LR)

    class Killed(BaseException):
        """Stands for the end of a process: nothing is caught and nothing is stored."""

    def die(*args, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sc.Model, "fit", die)
        for _ in range(3):
            with pytest.raises(Killed):
                sweep_directory.opened(ours.directory).work(lambda line: None)
    ours.work(lambda line: None)
    rows = table(ours.directory)
    assert [row["state"] for row in rows] == ["failed", "complete"]
    assert rows[0]["reason"] == "RuntimeError: its process was killed 3 times before it had finished epoch 1"


# ---- what is refused -----------------------------------------------------------------------------------------------

BEYOND = '["network.layers.1.beta"]\nlow = 0.5\nhigh = 1.5'
REFUSED = [
    ("[sweep]\nmetric = 'accuracy'" + LR, "space.toml:2: [sweep]: metric = 'accuracy': must be a column of validation"),
    ("[sweep]\nmetric = 'val_own'" + LR, "add direction = 'minimize' or 'maximize'"),
    ("[sweep]\nmetric = 'val_los'\ndirection = 'minimize'" + LR, "unknown column 'val_los'; did you mean 'val_loss'?"),
    ("[sweep]\nsampler = 'tpee'" + LR, "sampler = 'tpee': must be 'tpe' or 'random'; did you mean 'tpe'?"),
    ("[sweep]\nepochs = 0" + LR, "space.toml:2: [sweep]: epochs = 0: must be >= 1"),
    ("", "space.toml: names no key to vary"),
    ('["train.optimizer.lr"]\nlow = 1.0', "space.toml:2: train.optimizer.lr: needs low and high, or choices"),
    ('["train.optimizer.lr"]\nlow = 1.0\nhigh = 0.1', "low = 1 must be < high = 0.1"),
    ('["train.optimizer.lr"]\nlow = 0.0\nhigh = 0.1\nlog = true', "low = 0 must be > 0 with log = true"),
    ('["train.optimizer.lr"]\nlow = 0.0\nhigh = 1.0\nstep = 0.3', "0.9 would be the last value"),
    ('["train.optimizer.lr"]\nlow = 0.1\nhigh = 1.0\nstep = 0.3\nlog = true', "remove one of the two"),
    ('["train.optimizer.lr"]\nlow = 0.1\nhigh = 1.0\nint = true', "must be whole numbers"),
    ('["train.optimizer.lr"]\nlow = 0.1\nchoices = [0.1, 0.2]', "choices stand alone: remove low"),
    ('["train.optimizer.lr"]\nchoices = [0.1, 0.1]', "choices has 0.1 twice"),
    ('["train.optimizer.lr"]\nlow = 0.1\nhihg = 1.0', "unknown key 'hihg'; did you mean 'high'?"),
    ('"train.optimizer.lr" = 0.1', "space.toml:1: train.optimizer.lr: must be a table"),
    (BEYOND, "run.toml: network.layers[1] (from space.toml:2): Leaky: beta=1.5 must be in [0, 1]"),
    ("[network.layers.1.treshold]\nlow = 0.5\nhigh = 1.5", "unknown key 'treshold'; did you mean 'threshold'?"),
    ('["encoder.num_steps"]\nlow = 2\nhigh = 5', "must be a valid integer; for whole numbers add int = true"),
    ('["network.layers.7.beta"]\nlow = 0.1\nhigh = 0.9', "space.toml:2: the run file has no place"),
    ('["network.layers.0.out_features"]\nchoices = [6, 12]', "also = [...]"),
    ('["data.validation"]\nlow = 0.1\nhigh = 0.5', "it may vary batch_size, shuffle, drop_last, weights, bucket"),
    ('["train.optimizer.groups"]\nchoices = [[], [{ match = "*.tau", lr = 0.1 }]]', "'*.tau' matches no parameter"),
    ('["train.metric"]\nchoices = ["accuracy", "accuracy_rate"]', "a sweep judges by val_accuracy"),
    ("[sweep]\nepochs = 1\n['train.epochs']\nchoices = [1, 2]", "[sweep] epochs sets it for all trials"),
    (LR + '["train.optimizer"]\nchoices = ["SGD", "Adam"]', "space.toml:3 varies train.optimizer.lr, too"),
    ("[sweep", "not a TOML file"),
]


@pytest.mark.parametrize(("space", "message"), REFUSED)
def test_spaces_that_are_refused(spikecore, tmp_path, space, message):
    code, said, error = spikecore("sweep", *written(tmp_path, space), "--out", "out")
    assert (code, said) == (2, "")
    assert message in error
    assert not Path("out").exists()


def test_all_problems_are_listed(spikecore, tmp_path):
    error = spikecore("sweep", *written(tmp_path, f"[sweep]\nseed = -1\n{BEYOND}\n['train.optimizer.lr']\nlow = 1"))[2]
    assert len(error.splitlines()) == 3


@pytest.mark.parametrize("validation", ["'test'", "'none'"])
def test_the_test_set_chooses_nothing(spikecore, tmp_path, validation):
    files = written(tmp_path, run=RUN.replace("validation = 0.5", f"validation = {validation}"))
    code, _, error = spikecore("sweep", *files)
    assert code == 2
    assert f"run.toml: data.validation = {validation}: a sweep chooses by validation samples" in error
    assert "--set data.validation=0.1" in error


def test_options_that_do_not_fit(spikecore, tmp_path):
    run_file, space_file = written(tmp_path)
    begun(tmp_path, 1, name="made")
    for arguments, message in (
        (("made",), "made is a directory: add --resume"),
        (("made", "--resume", "--set", "seed=1"), "--set: the sweep in made has its own"),
        ((run_file, space_file, "--resume"), "--resume needs the directory of the sweep"),
        ((run_file, space_file, "--out", "new", "--resume"), "--resume: new holds no sweep"),
        ((run_file, space_file, "--out", "made"), "--out made already exists: add --resume to continue it"),
        ((run_file, space_file, "--out", "made", "--resume", "-s", "seed=3"), "run.toml: is not the run file with"),
        ((run_file, "nothing.toml"), "nothing.toml: no such space file"),
    ):
        code, _, error = spikecore("sweep", *arguments)
        assert (code, message in error) == (2, True), error
    Path("space.toml").write_text(LR)
    error = spikecore("sweep", run_file, space_file, "--out", "made", "--resume")[2]
    assert "the space is not that with which made began" in error


def test_without_optuna_the_command_says_what_to_install(spikecore, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, said, error = spikecore("sweep", *written(tmp_path))
    assert (code, said) == (2, "")
    assert "a sweep needs Optuna" in error
    assert to_install("sweep") in error


def test_the_environment_does_not_change_the_engine_of_a_sweep(tmp_path, monkeypatch):
    ours = begun(tmp_path, 1)
    monkeypatch.setenv("SPIKECORE_ENGINE", "torch")
    assert sweep_directory.opened(ours.directory).said.data["engine"] == "numpy"
