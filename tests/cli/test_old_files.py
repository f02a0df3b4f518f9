"""Run files from before the optimiser, the way of learning and the computation had tables: each is refused, with the
line to write instead; with these lines it means what it meant.
"""

from __future__ import annotations

import pathlib
import re
import shutil

import pytest

pytest.importorskip("pydantic")
import spikecore as sc  # noqa: E402
from spikecore.cli.messages import ConfigError  # noqa: E402
from spikecore.cli.run_directory import opened  # noqa: E402
from spikecore.cli.run_file import keys_called, read  # noqa: E402

OLD = pathlib.Path(__file__).with_name("old_files")
KEYS = ["clip_norm", "window", "accumulate", "parallel", "compile"]


def mended(path, keys):
    """What ``--set`` must say to do what the message says: the new line, and the old key away."""
    with pytest.raises(ConfigError) as error:
        read(path)
    told = dict(re.findall(r"^.*?: train\.(\w+) = .*?: is in another table now: write (.*)$", str(error.value), re.M))
    assert list(told) == keys
    assert len(str(error.value).splitlines()) == len(keys)
    return [f"train.{key}=" for key in told] + [line.replace(" = ", "=", 1) for line in told.values()]


@pytest.mark.parametrize("name", ["moved.toml", "run/run.toml"])
def test_the_message_says_what_mends_the_file(name):
    train = read(OLD / name, sets=mended(OLD / name, KEYS)).train
    assert train.update_rule() == sc.SGD(lr=0.1, momentum=0.9, clip_norm=0.5)
    assert train.learning.make() == sc.BPTT(window=2)
    assert train.computing == sc.Compute(accumulate=2, parallel="none")


@pytest.mark.parametrize("name", ["init.toml", "plastic.toml"])
def test_new_files_of_then_are_read(name):
    """They show the keys that have moved behind a #."""
    train = read(OLD / name).train
    assert train.plastic == (name == "plastic.toml")
    assert train.computing == sc.Compute()


def test_a_default_is_part_of_the_line(tmp_path):
    """A table takes the place of the default optimiser, whose rate is not that of the class."""
    path = tmp_path / "run.toml"
    lines = (OLD / "moved.toml").read_text("utf-8").partition("[train.optimizer]")[0]
    path.write_text(lines.replace("window = 2", 'window = 2\nlearning = "bptt"\nupdate_every = 4'))
    keys = ["clip_norm", "window", "update_every", "accumulate", "parallel", "compile"]
    train = read(path, sets=mended(path, keys)).train
    assert train.update_rule() == sc.Adam(lr=5e-4, clip_norm=0.5)
    assert train.learning.make() == sc.BPTT(window=2, update_every=4)


def test_an_old_key_as_an_option_is_answered_with_the_new_one():
    assert keys_called("clip-norm") == ["train.optimizer.clip_norm"]
    assert keys_called("accumulate") == ["train.compute.accumulate"]


def test_a_run_directory_of_then_goes_on_once_it_is_mended(tmp_path):
    shutil.copytree(OLD / "run", tmp_path / "run")
    run = tmp_path / "run" / "run.toml"
    changes = mended(run, KEYS)
    job = opened(tmp_path / "run", sets=changes)
    model = job.model()
    assert model.epochs_done == 1
    job.config.train.epochs = 2
    job.train(model, say=lambda line: None)
    assert [row["epoch"] for row in model.history] == [1, 2]
    assert model.trainer.optimizer == sc.SGD(lr=0.1, momentum=0.9, clip_norm=0.5)
