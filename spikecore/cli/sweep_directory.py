"""The directory of a sweep: what is checked before it is made, and how it is opened again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import List, Optional

from spikecore.arguments import unknown
from spikecore.cli.messages import ConfigError
from spikecore.cli.run_checks import check_training, tried
from spikecore.cli.run_directory import RUN, TrainingRun
from spikecore.cli.run_file import Given, checked, given, given_text, parsed, text_of
from spikecore.cli.sweep import Sweep
from spikecore.cli.sweep_database import DATABASE, WHERE, choose, database_in
from spikecore.cli.sweep_space import Space, read_space, refuse_test_samples
from spikecore.cli.sweep_storage import TRIALS, Storage
from spikecore.files import write_atomically

SPACE = "space.toml"
#: What a process may leave before there is a space.
BEGINNINGS = f"{RUN} {DATABASE} {DATABASE}-journal {WHERE} {TRIALS}".split()


def check(said: Given, space: Space) -> None:
    """Try the run file and the ends of the space on the data, as ``spikecore train`` does. Nothing is written.

    Raises:
        ConfigError: lists what does not fit, and the ends of the space whose network cannot be built.
    """
    said = space.base(said)
    config, metric = checked(said), space.settings.metric
    refuse_test_samples(config, said.name)
    job = TrainingRun(config, None, said.name)
    tried(job)
    columns = [f"val_{name}" for name in job.columns]
    if metric not in columns:
        raise ConfigError([f"[sweep] metric: {unknown('column', metric, columns)}"])
    wrong: List[str] = []
    for parameter in space.parameters:
        for value in parameter.ends:
            changed = copy.copy(job)
            changed.config = checked(parameter.put(said, value))
            try:
                check_training(changed, changed.new_model())
            except ConfigError as error:
                also = "; keys that must have the same value stand in also = [...]"
                wrong.append(f"{parameter.source}: {parameter.key} = {value!r}: {error}{also}")
    if wrong:
        raise ConfigError(wrong)


def begun(directory: Path) -> bool:
    """Whether the directory holds a sweep."""
    return (directory / SPACE).is_file()  # the last file that ``begin`` writes


def begin(directory: Path, said: Given, space: Space, trials: int, url: Optional[str] = None) -> None:
    """Make a sweep in an existing directory. The caller has checked run file and space, and settled the engine."""
    write_atomically(directory / RUN, given_text(said))
    choose(directory, url)
    Storage(directory, space, trials)
    write_atomically(directory / SPACE, space.text.encode())


def opened(directory: Path) -> Sweep:
    """The sweep in a directory.

    Raises:
        ConfigError: it holds none.
    """
    if not begun(directory):
        raise ConfigError([f"{directory}: holds no sweep; spikecore sweep RUN.toml SPACE.toml makes one"])
    path = directory / RUN
    said = given(path, parsed(path, text_of(path))["engine"])
    space = read_space(directory / SPACE, said)
    return Sweep(directory, said, space, Storage(directory, space))


def same(sweep: Sweep, said: Given, space: Space, url: Optional[str] = None) -> None:
    """Refuse to continue with a sweep with another run file, another space or another database.

    Raises:
        ConfigError: names the file that differs.
    """
    wrong = []
    if said.data != sweep.said.data:
        wrong.append(f"{said.name}: is not the run file with which {sweep.directory} began ({sweep.directory / RUN})")
    if not space.same(sweep.space):
        wrong.append(f"the space is not that with which {sweep.directory} began ({sweep.directory / SPACE})")
    before = database_in(sweep.directory).url
    if url not in (None, before):
        wrong.append(f"--storage {url}: {sweep.directory} began with {before}")
    if wrong:
        raise ConfigError([*wrong, f"name the directory alone to go on: spikecore sweep {sweep.directory} --resume"])
