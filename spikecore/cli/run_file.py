"""Run files: an experiment as a TOML file, checked as a whole before anything runs.

``read`` takes the values of the file, the environment and the command line; a later source replaces the values of an
earlier one. It returns a ``RunFile`` in which every key has a value, and ``write`` writes all of them to a file. All
problems are listed by one ``ConfigError``. docs/run_files.md describes the keys.
"""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from typing_extensions import Annotated, Literal

from spikecore.api.core.engines import ENVIRONMENT, entry_of
from spikecore.api.core.messages import unknown
from spikecore.api.learning.learning_rules import BPTT
from spikecore.api.learning.steps import stepwise
from spikecore.api.training.budgets import bytes_of
from spikecore.api.training.together import Parallel
from spikecore.cli.data_tables import PATHS, TABLES, AnyData
from spikecore.cli.messages import ConfigError, problems
from spikecore.cli.network_table import Network
from spikecore.cli.origins import Setting, leaves, lines_of, marked, settings
from spikecore.cli.schema import (
    AnyEncoder,
    AnyLearning,
    AnyLoss,
    AnyMetric,
    AnyOptimizer,
    AnyPruning,
    AnyRegulariser,
    AnyRewiring,
    AnySchedule,
    Section,
    Stopping,
)
from spikecore.cli.track_table import Track

try:
    import tomllib
except ImportError:  # Python < 3.11
    import tomli as tomllib  # type: ignore[no-redef]


def _several(value: Any) -> Any:
    """Put a single metric into a list."""
    return [value] if isinstance(value, (str, dict)) else value


def _with_costs(loss: Any, regularisers: List[Any]) -> Any:
    """The sum of a loss and regularisers."""
    total = loss.make()
    for cost in regularisers:
        total = total + cost.make()
    return total


def _text_of_bytes(value: Any) -> Any:
    """A memory budget, after a check that it is one."""
    if value is not None:
        bytes_of(value)
    return str(value) if isinstance(value, int) else value


class Train(Section):
    """How to train."""

    epochs: int = Field(20, ge=1, description="how often to go through the training samples")
    loss: AnyLoss = Field({}, description="what to minimise")
    regularisers: List[AnyRegulariser] = Field([], description="costs of activity that are added to the loss")
    metric: Annotated[Optional[List[AnyMetric]], BeforeValidator(_several)] = Field(
        None, description="what to report beside the loss, one or several; default the loss's own accuracy"
    )
    optimizer: AnyOptimizer = Field(
        {"kind": "Adam", "lr": 5e-4}, description="how weights follow their gradients; lr is the learning rate"
    )
    schedule: AnySchedule = Field({}, description="factor of the learning rate by epoch")
    clip_norm: Optional[float] = Field(None, gt=0, description="largest norm of the gradient of all parameters")
    window: Optional[int] = Field(None, ge=1, description="truncated BPTT: number of steps in each window")
    learning: AnyLearning = Field({}, description="rule that computes gradients, back in time or forward")
    update_every: Optional[int] = Field(None, ge=1, description="steps between two updates of the weights")
    accumulate: int = Field(1, ge=1, description="batches whose mean gradient makes one update of the weights")
    parallel: Parallel = Field(
        "data",
        description="what processes that torchrun has started share: the samples of each batch; 'fsdp': weights and "
        "moments as well; or nothing",
    )
    save_within: Optional[float] = Field(
        None, gt=0, description="seconds from SIGTERM to the end of the process, even within a step of training"
    )
    memory: Annotated[Optional[str], BeforeValidator(_text_of_bytes)] = Field(
        None, description="most memory of a training step, e.g. '8GB'; it is planned before the first step"
    )
    compile: bool = Field(False, description="torch.compile for neighbouring layers without state, on the torch engine")
    early_stopping: Optional[Stopping] = Field(None, description="when to stop before the last epoch")  # type: ignore[valid-type]
    pruning: Optional[AnyPruning] = Field(  # type: ignore[valid-type]
        None, description="how many connections to take away, and when; with optimizer.keep_zeros = true"
    )
    rewiring: Optional[AnyRewiring] = Field(  # type: ignore[valid-type]
        None, description="a sparse network whose connections move; with optimizer.keep_zeros = true"
    )

    @field_validator("learning")
    @classmethod
    def _forward(cls, value: Any, info: Any) -> Any:
        """Learning forward in time has no window, and takes only losses that are sums over single steps."""
        if value.kind != BPTT and info.data.get("window") is not None:
            raise ValueError("does not go back in time, and window is for 'bptt': remove one of the two keys")
        if value.kind != BPTT and "loss" in info.data:
            stepwise(_with_costs(info.data["loss"], info.data.get("regularisers", [])))
        return value

    @model_validator(mode="after")
    def _keeps_zeros(self) -> Train:
        """What takes connections away needs an optimiser that does not bring them back."""
        for name in ("pruning", "rewiring"):
            if getattr(self, name) is not None and not self.optimizer.keep_zeros:  # type: ignore[attr-defined]
                raise ValueError(f"{name} needs optimizer.keep_zeros = true, so that connections stay away")
        return self

    def objective(self) -> Any:
        """The loss with its regularisers: what training makes small."""
        return _with_costs(self.loss, self.regularisers)


class RunFile(Section):
    """A whole run file."""

    engine: str = Field("numpy", description="name of an engine; `spikecore engines` lists them")
    device: Optional[str] = Field(None, description="device of the engine, if it has several, e.g. 'cuda'")
    engine_options: Dict[str, Any] = Field({}, description="further options of the engine, e.g. those of docs/ipu.md")
    dtype: Literal["float32", "float64"] = Field("float32", description="floating-point type of all arrays")
    precision: Literal["float32", "bf16", "fp16"] = Field(
        "float32", description="in what products and convolutions compute; states, losses and weights stay in dtype"
    )
    seed: int = Field(0, ge=0, description="seed of initial weights, order of samples, dropout and random encoders")
    data: AnyData = Field({"name": "digits"}, description="the data set")  # type: ignore[assignment]
    encoder: AnyEncoder = Field({}, description="how samples become sequences")
    network: Network = Field(description="the layers, or an architecture")
    train: Train = Field({}, description="how to train")  # type: ignore[assignment]
    track: Track = Field({}, description="where to log")  # type: ignore[assignment]

    @model_validator(mode="before")
    @classmethod
    def _recorded(cls, values: Any) -> Any:
        """Without an encoder, recordings that have become sequences stay what they are."""
        if isinstance(values, dict) and "encoder" not in values and _are_sequences(values.get("data")):
            return {**values, "encoder": {"kind": "sequence"}}
        return values

    @field_validator("engine")
    @classmethod
    def _known(cls, engine: str) -> str:
        entry_of(engine, "engine = 'torch' and device = {device!r}")
        return engine

    @model_validator(mode="after")
    def _encoded(self) -> RunFile:
        if self.data.sequences and "num_steps" in type(self.encoder).model_fields:  # type: ignore[attr-defined]
            kind = self.encoder.kind  # type: ignore[attr-defined]
            raise ValueError(
                f"encoder.kind = {kind!r} makes sequences of samples without time, but the recordings of data.name = "
                f"{self.data.name!r} are sequences: remove the table encoder, or use the transform CountImage"  # type: ignore[attr-defined]
            )
        return self

    @model_validator(mode="after")
    def _monitored(self) -> RunFile:
        metrics = ["accuracy"] if self.train.metric is None else [metric.kind for metric in self.train.metric]
        training = ["loss", *metrics]
        columns = training + [f"val_{name}" for name in training] * (self.data.validation != "none")
        for name in ("early_stopping", "schedule"):
            monitor = getattr(getattr(self.train, name), "monitor", None)
            if monitor is not None and monitor not in columns:
                raise ValueError(
                    f"train.{name}.monitor = {monitor!r} with data.validation = {self.data.validation!r}: "
                    f"{unknown('column', monitor, columns)}"
                )
        return self

    def plain(self) -> Dict[str, Any]:
        """All keys and values as dicts, lists, numbers and texts. Keys whose value is None are left out."""
        return self.model_dump(exclude_none=True)


def keys_called(word: str) -> List[str]:
    """The keys of a run file whose last part is ``word``, with dashes for underscores as options have them."""
    name = word.replace("-", "_")
    if name in ("lr", "learning_rate"):
        return ["train.optimizer.lr"]
    tables: Dict[str, Any] = {"": [RunFile], "train": [Train], "data": TABLES.values()}
    found = [place for place, models in tables.items() if any(name in model.model_fields for model in models)]
    return [f"{place}.{name}" if place else name for place in found]


def _are_sequences(data: Any) -> bool:
    """Whether a table ``data``, which may have any mistake, is one of recordings that become sequences."""
    table = TABLES.get(data.get("name", "")) if isinstance(data, dict) else None
    try:
        return table is not None and table.model_validate(data).sequences
    except ValidationError:
        return False  # which is said where the whole file is checked


# ---- reading and writing -------------------------------------------------------------------------------------------


def read(path: Union[str, Path], engine: Optional[str] = None, sets: Iterable[str] = ()) -> RunFile:
    """Read and check a run file.

    Args:
        path: the TOML file.
        engine: name of the engine; default: ``$SPIKECORE_ENGINE``, else the engine in the file.
        sets: texts like "train.epochs=3" that replace values of the file. The value is TOML; a bare word is taken as
            text, and an empty value removes the key. List entries are counted from 0: "network.layers.1.beta=0.95".

    Raises:
        ConfigError: the file is absent or not TOML, or a key or value is wrong; lists every problem.
    """
    return resolved(path, engine, sets)[0]


def resolved(
    path: Union[str, Path], engine: Optional[str] = None, sets: Iterable[str] = ()
) -> Tuple[RunFile, List[Setting]]:
    """Read a run file as ``read`` does; returns also every key with its value and where the value comes from."""
    said = given(path, engine, sets)
    run = checked(said)
    return run, settings(run.plain(), leaves(said.origins))


class Given(NamedTuple):
    """What a run file and the changes to it say, before it is checked.

    Args:
        data: the keys that somebody has given, with their values.
        origins: of the same form, with the origin of each value in its place.
        sources: for each key that is not from the file: where its value comes from.
        name: of the run file, for messages.
    """

    data: Dict[str, Any]
    origins: Dict[str, Any]
    sources: Dict[str, str]
    name: str

    def changed(self, key: str, value: Any, source: str) -> Given:
        """The same with another value of one key, which comes from ``source``.

        Raises:
            ConfigError: the run file has no place for this key.
        """
        data, origins = copy.deepcopy(self.data), copy.deepcopy(self.origins)
        _put(data, key, value, source)
        _put(origins, key, value if value is ABSENT else marked(value, {}, source), source)
        return Given(data, origins, {**self.sources, key: source}, self.name)


def given(path: Union[str, Path], engine: Optional[str] = None, sets: Iterable[str] = ()) -> Given:
    """Read a run file with changes, as ``read`` does, and check that it is TOML.

    Raises:
        ConfigError: the file is absent or not TOML, or it has no place for a change.
    """
    path = Path(path)
    text = text_of(path)
    data, lines = _absolute(parsed(path, text), path.parent), lines_of(text)
    said = Given(
        data, marked(data, {key: f"{path.name}:{line}" for key, line in lines.items()}, path.name), {}, path.name
    )
    for change in sets:
        said = said.changed(*_change(change), f"--set {change}")
    for source, name in ((f"${ENVIRONMENT}", os.environ.get(ENVIRONMENT)), ("--engine", engine)):
        if name:
            said = said.changed("engine", name, source)
    return said._replace(data=_absolute(said.data, Path()))


def checked(said: Given) -> RunFile:
    """The run file, after a check of all keys and values.

    Raises:
        ConfigError: a key or value is wrong; lists every problem.
    """
    try:
        return RunFile.model_validate(said.data)
    except ValidationError as error:
        raise ConfigError(problems(error, RunFile, said.data, said.name, said.sources)) from None


def settled(said: Given) -> Given:
    """The same with the engine that it has by now: neither the environment nor a default will change it."""
    return said.changed("engine", checked(said).engine, said.sources.get("engine", said.name))


def given_text(said: Given) -> bytes:
    """The text of a run file that says the same, without comments and without defaults."""
    import tomli_w

    return tomli_w.dumps(said.data).encode()


def write(run: RunFile) -> bytes:
    """The text of a run file that has all keys of ``run``, defaults included."""
    import tomli_w

    text = tomli_w.dumps(run.plain())
    return f"# Every key of this run, defaults included; `spikecore train` takes this file as it is.\n{text}".encode()


def text_of(path: Path, kind: str = "run file") -> str:
    """The text of a TOML file; ``kind`` says in messages what it is.

    Raises:
        ConfigError: the file is absent or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = sorted(str(file) for file in path.parent.glob("*.toml"))[:5]
        raise ConfigError([f"{path}: no such {kind}" + (f"; here are {', '.join(near)}" if near else "")]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not a TOML file: {error}"]) from None


def parsed(path: Path, text: str) -> Dict[str, Any]:
    """The keys and values in the text of a TOML file.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError
        raise ConfigError([f"{path}: not a TOML file: {error}"]) from None


def _absolute(data: Dict[str, Any], folder: Path) -> Dict[str, Any]:
    """Replace relative paths to data by absolute ones; a relative path starts at ``folder``."""
    table = data.get("data")
    for key in PATHS if isinstance(table, dict) else ():
        if isinstance(table.get(key), str):  # type: ignore[union-attr]
            table[key] = os.path.abspath(folder / Path(table[key]).expanduser())  # type: ignore[index]
    return data


BARE = re.compile(r"[A-Za-z_./~$][^\s\"'=\[\]{}]*|\d+(\.\d+)?[kMGT]i?B")  # a word, a path, or a size such as 8GB


ABSENT: Any = object()  # stands for the value of a key that is to be removed


def _change(text: str) -> Tuple[str, Any]:
    """The key and the value in the text of one ``--set``."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not all(key.split(".")):
        raise ConfigError([f"--set {text}: must be key.path=value, e.g. --set train.epochs=3"])
    return key, value_of(f"--set {text}", value) if value else ABSENT


def _put(data: Dict[str, Any], key: str, value: Any, source: str) -> None:
    """Change the value at ``key``, or remove it, as ``source`` says, e.g. ``--set train.epochs=3``."""
    path = key.split(".")
    try:
        table: Any = data
        for part, below in zip(path, path[1:]):
            index: Any = int(part) if isinstance(table, list) else part
            if isinstance(table, dict):
                table.setdefault(part, {})
            if isinstance(table[index], str):  # a bare name, e.g. the layer "Leaky", is a table with one key
                named = {"name" if part == "data" else "kind": table[index]}
                table[index] = [named] if below.isdigit() else named
            table = table[index]
        place: Any = int(path[-1]) if isinstance(table, list) else path[-1]
        if value is not ABSENT:
            table[place] = value
        elif isinstance(table, dict):
            table.pop(place, None)
        else:
            del table[place]
    except (IndexError, ValueError, AttributeError, TypeError):
        raise ConfigError([f"{source}: the run file has no place {key!r}; list entries are counted from 0"]) from None


def value_of(source: str, value: str) -> Any:
    """The value in the text of an option, e.g. ``--set train.epochs=3``: one of TOML, or a bare word.

    Raises:
        ConfigError: it is neither; ``source`` is the option.
    """
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except ValueError as error:
        if BARE.fullmatch(value):
            return value
        raise ConfigError([f"{source}: {value!r} is not a TOML value ({error}); quote text: 'key=\"text\"'"]) from None
