"""Runs that are resumed: which keys may change, and early stopping across an interruption."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from spikecore import Model, load
from spikecore.cli import run_file as configs
from spikecore.cli.messages import ConfigError
from spikecore.cli.origins import leaves

# keys of a run file that may change when a run is resumed
FREE = tuple(
    "engine device train.epochs train.schedule train.early_stopping train.pruning train.rewiring "
    "train.compute.parallel train.compute.compile train.compute.cuda_graph train.save_within track data.path "
    "data.test_path data.download data.workers data.prefetch data.in_memory data.cache".split()
)


def check_same(before: configs.RunFile, after: configs.RunFile) -> None:
    """Refuse to resume a run with a changed run file, except for changes of the keys in ``FREE``.

    Raises:
        ConfigError: names each changed key with its value in ``before`` and in ``after``.
    """
    old, new = leaves(before.plain()), leaves(after.plain())
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key) and not _is_free(key)]
    if changed:
        lines = [f"--resume: {key} is {new.get(key)!r}, but the run began with {old.get(key)!r}" for key in changed]
        raise ConfigError([*lines, f"--resume allows changes of {', '.join(FREE)} only; for others start a new run"])


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


@dataclass
class Watched:
    """Stands for the model in early stopping: the best state is also written to a file."""

    path: Optional[Path]
    model: Model
    classes: Sequence[Any] = ()  # of the user's own, which a file of the model names

    def state(self) -> Dict[str, Any]:
        if self.path is not None:
            self.model.save(self.path)
        return self.model.state()

    def load_state(self, state: Dict[str, Any]) -> None:
        self.model.load_state(state)


class Past(Watched):
    """Stands for the model while a resumed run repeats its history to early stopping: the best state is in the file."""

    def state(self) -> Dict[str, Any]:
        if self.path is None or not self.path.exists():
            return self.model.state()
        return load(self.path, self.model.engine, self.classes).state()

    def load_state(self, state: Dict[str, Any]) -> None:
        """Do nothing: the model's own file was saved after early stopping had restored the best state."""
