"""Spaces of sweeps: which keys of a run file a sweep varies, within which limits, and by what it judges.

``read_space`` reads a TOML file and checks each limit and each choice against the run file. All problems are listed by
one ``ConfigError``. docs/sweeps.md describes the keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from pydantic import Field, ValidationError, model_validator
from typing_extensions import Literal

from spikecore.api.training.history import FALL, RISE, rises
from spikecore.cli.messages import ConfigError, problems
from spikecore.cli.origins import lines_of
from spikecore.cli.run_file import Given, RunFile, checked, parsed, text_of
from spikecore.cli.schema import Section
from spikecore.cli.toml_text import toml_text

SETTINGS = "sweep"
# Of the table [data], what a sweep may vary: with other samples the results of two trials could not be compared.
BATCHES = ("batch_size", "shuffle", "drop_last", "weights", "bucket")
WHOLE = "must be a valid integer"  # what pydantic says of a number that is none


class SweepTable(Section):
    """The table ``[sweep]``: how a sweep searches."""

    metric: str = Field("val_accuracy", description="the column of the history to judge by, of the validation samples")
    direction: Optional[Literal["minimize", "maximize"]] = Field(None, description="default: by the name of the metric")
    sampler: Literal["tpe", "random"] = Field("tpe", description="how the next values are chosen")
    pruner: Literal["median", "halving", "none"] = Field("median", description="which trials end early")
    epochs: Optional[int] = Field(None, ge=1, description="epochs of each trial; default: those of the run file")
    seed: int = Field(0, ge=0, description="of the sampler")

    @model_validator(mode="after")
    def _judged(self) -> SweepTable:
        if not self.metric.startswith("val_"):
            raise ValueError(
                f"metric = {self.metric!r}: must be a column of validation, e.g. 'val_accuracy' or 'val_loss'"
            )
        if self.direction is None and not any(word in self.metric for word in (*FALL, *RISE)):
            raise ValueError(
                f"metric = {self.metric!r} is no loss, error or accuracy: add direction = 'minimize' or 'maximize'"
            )
        return self

    @property
    def maximize(self) -> bool:
        """Whether larger values of the metric are better."""
        return rises("sweep", self.metric, {"minimize": "min", "maximize": "max"}.get(self.direction or "", "auto"))


class Limits(Section):
    """The table of one key: the values that it may have."""

    low: Optional[float] = None
    high: Optional[float] = None
    log: bool = False
    int: bool = False
    step: Optional[float] = Field(None, gt=0)
    choices: Optional[List[Any]] = Field(None, min_length=2)
    also: List[str] = []

    @model_validator(mode="after")
    def _whole(self) -> Limits:
        if self.choices is not None:
            self._no_range()
        elif self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        else:
            self._range(self.low, self.high, self.int)
        return self

    def _no_range(self) -> None:
        beside = [name for name in ("low", "high", "log", "int", "step") if name in self.model_fields_set]
        if beside:
            raise ValueError(f"choices stand alone: remove {', '.join(beside)}")
        texts = [toml_text(choice) for choice in self.choices or ()]
        twice = [text for text in dict.fromkeys(texts) if texts.count(text) > 1]
        if twice:
            raise ValueError(f"choices has {twice[0]} twice: name each value once")

    def _range(self, low: float, high: float, whole: bool) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"low = {low:g} must be < high = {high:g}, and both finite")
        if self.log and low <= 0:
            raise ValueError(f"low = {low:g} must be > 0 with log = true")
        if self.log and self.step is not None:
            raise ValueError("log = true and step: remove one of the two")
        if whole and any(value != int(value) for value in (low, high, self.step or 1)):
            raise ValueError("with int = true, low, high and step must be whole numbers")
        steps = (high - low) / (self.step or 1)
        if self.step is not None and not math.isclose(steps, round(steps), abs_tol=1e-9):
            below = low + math.floor(steps) * self.step
            raise ValueError(f"step = {self.step:g} does not lead from low to high: {below:g} would be the last value")


class Parameter(NamedTuple):
    """A key of the run file that a sweep varies.

    Args:
        key: as ``--set`` takes it.
        also: further keys that get the same value.
        limits: the values that it may have.
        source: where the space says so, e.g. "space.toml:3".
    """

    key: str
    also: Tuple[str, ...]
    limits: Limits
    source: str

    @property
    def named(self) -> Dict[Any, Any]:
        """The choices by the values that stand for them in the storage: a table or a list by its text."""
        plain = (bool, int, float, str)
        return {each if isinstance(each, plain) else toml_text(each): each for each in self.ends}

    @property
    def ends(self) -> List[Any]:
        """The values that are tried before a sweep begins: all choices, or both limits."""
        if self.limits.choices is not None:
            return list(self.limits.choices)
        number: Any = int if self.limits.int else float
        return [number(self.limits.low), number(self.limits.high)]

    def put(self, said: Given, value: Any, source: str = "") -> Given:
        """The run file with this value at the key, and at those beside it."""
        for key in (self.key, *self.also):
            said = said.changed(key, value, source or self.source)
        return said

    def __str__(self) -> str:
        limits = self.limits
        if limits.choices is not None:
            return f"one of {', '.join(map(toml_text, limits.choices))}"
        low, high = self.ends
        how = ([] if limits.step is None else [f"step {limits.step:g}"]) + ["logarithmic"] * limits.log
        return f"{low:g} to {high:g}" + "".join(f", {each}" for each in how)


@dataclass(frozen=True)
class Space:
    """The keys that a sweep varies, and the settings of its search.

    Args:
        parameters: the keys.
        settings: the table ``[sweep]``.
        text: the file.
    """

    parameters: Tuple[Parameter, ...]
    settings: SweepTable
    text: str

    def base(self, said: Given) -> Given:
        """The run file of every trial, except for the keys that the sweep varies."""
        epochs = self.settings.epochs
        return said if epochs is None else said.changed("train.epochs", epochs, "[sweep] epochs")

    def same(self, other: Space) -> bool:
        """Whether a sweep in the other space is the same sweep."""
        mine, theirs = ([(p.key, p.also, p.limits) for p in space.parameters] for space in (self, other))
        return mine == theirs and self.settings == other.settings


def usual_space(said: Given) -> str:
    """The text of the space that is searched without a space file: a tenth to ten times the rates of the optimiser.

    Raises:
        ConfigError: the run file has no optimiser.
    """
    train = checked(said).train
    if train.plastic:
        raise ConfigError(
            [f"SPACE is missing: {said.name} has no learning rate to vary; docs/sweeps.md shows such a file"]
        )
    columns = train.columns[1]
    lines = [f"[{SETTINGS}]", f'metric = "{"val_accuracy" if "val_accuracy" in columns else columns[0]}"']
    for name in ("lr", "weight_decay"):
        rate = getattr(train.optimizer, name, 0.0)
        if rate > 0.0:
            lines += [
                "",
                f'["train.optimizer.{name}"]',
                f"low = {rate / 10:.3g}",
                f"high = {rate * 10:.3g}",
                "log = true",
            ]
    return "\n".join(lines) + "\n"


def read_space(path: Optional[Path], said: Given) -> Space:
    """Read and check the space of a sweep.

    Args:
        path: the TOML file; None: ``usual_space``.
        said: the run file, by which keys and values are checked.

    Raises:
        ConfigError: the file is absent or not TOML, or a key or value is wrong; lists every problem.
    """
    text = usual_space(said) if path is None else text_of(path, "space file")
    path = Path("SPACE") if path is None else path
    data, lines, wrong = parsed(path, text), lines_of(text), []
    table = data.pop(SETTINGS, {})
    try:
        settings = SweepTable.model_validate(table)
    except ValidationError as error:
        wrong += problems(error, SweepTable, table, f"{_place(path, lines, SETTINGS, table)}: [{SETTINGS}]", {})
        settings = SweepTable.model_validate({})
    parameters = []
    for key, values in _tables(data):
        place = _place(path, lines, key, values)
        try:
            limits = Limits.model_validate(values)
        except ValidationError as error:
            wrong += problems(error, Limits, values, f"{place}: {key}", {})
            continue
        parameter = Parameter(key, tuple(limits.also), limits, place)
        parameters.append(parameter)
        wrong += _problems_of(parameter, settings, said)
    if not (parameters or wrong):
        wrong.append(f'{path.name}: names no key to vary, e.g. ["train.optimizer.lr"] with low, high and log = true')
    wrong += _overlapping(parameters)
    if wrong:
        raise ConfigError(wrong)
    return Space(tuple(parameters), settings, text)


def _tables(data: Dict[str, Any], path: str = "") -> Iterator[Tuple[str, Any]]:
    """The keys with their tables. A key may be one text, or nested tables: ["a.b"] and [a.b] are the same."""
    for name, value in data.items():
        key = f"{path}.{name}" if path else name
        nested = isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values())
        if nested:
            yield from _tables(value, key)
        else:
            yield key, value


def _place(path: Path, lines: Dict[str, int], key: str, table: Any) -> str:
    """The file and the line of the first value of a table, e.g. "space.toml:3"."""
    own = [f"{key}.{name}" for name in table] if isinstance(table, dict) else [key]
    plain = [each.replace('"', "") for each in own]  # however the file has put them into quotes
    at = {name.replace('"', ""): line for name, line in lines.items()}
    found = [line for name, line in at.items() if any(name == each or name.startswith(f"{each}.") for each in plain)]
    return f"{path.name}:{min(found)}" if found else path.name


def _problems_of(parameter: Parameter, settings: SweepTable, said: Given) -> List[str]:
    """Problems with the keys and the values of a parameter, by the run file."""
    wrong = []
    for key in (parameter.key, *parameter.also):
        table, _, rest = key.partition(".")
        why = ""
        if table == "data" and rest not in BATCHES:
            why = f"of [data] it may vary {', '.join(BATCHES)}: with other samples, trials could not be compared"
        elif key == "train.epochs" and settings.epochs is not None:
            why = f"[{SETTINGS}] epochs sets it for all trials: remove one of the two"
        elif rest.startswith("metric") or rest.startswith("loss") and "loss" in settings.metric:
            why = f"a sweep judges by {settings.metric}, which it would change"
        if why:
            wrong.append(f"{parameter.source}: {key}: a sweep cannot vary it: {why}")
    for value in () if wrong else parameter.ends:
        try:
            checked(parameter.put(said, value))
        except ConfigError as error:
            hint = "; for whole numbers add int = true" if WHOLE in str(error) and isinstance(value, float) else ""
            wrong += [f"{line}{hint}" for line in str(error).splitlines()]
    return list(dict.fromkeys(wrong))


def _overlapping(parameters: List[Parameter]) -> List[str]:
    """Keys of which one is the other, or a part of it."""
    keys = [(key, parameter.source) for parameter in parameters for key in (parameter.key, *parameter.also)]
    return [
        f"{source}: {key}: {earlier_source} varies {'it' if key == earlier else earlier}, too: remove one of the two"
        for number, (key, source) in enumerate(keys)
        for earlier, earlier_source in keys[:number]
        if f"{key}.".startswith(f"{earlier}.") or f"{earlier}.".startswith(f"{key}.")
    ]


def refuse_test_samples(run: RunFile, name: str) -> None:
    """Refuse a run file that has no validation samples of its own.

    Raises:
        ConfigError: it has none, or they are the test samples.
    """
    validation = run.data.validation
    if validation in ("test", "none"):
        why = "are for the final judgement" if validation == "test" else "are not there"
        raise ConfigError(
            [
                f"{name}: data.validation = {validation!r}: a sweep chooses by validation samples, and these {why}; "
                "hold back a part of the training samples: --set data.validation=0.1, or the same in the run file"
            ]
        )
