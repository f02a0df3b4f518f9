"""Run files: an experiment as a TOML file, checked as a whole before anything runs.

``read`` takes the values of the file, the environment and the command line; a later source replaces the values of an
earlier one. It returns a ``RunFile`` in which every key has a value, and ``write`` writes all of them to a file. All
problems are listed by one ``ConfigError``. docs/run_file_keys.md lists the keys.
"""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from pydantic import Field, ValidationError, field_validator, model_validator
from typing_extensions import Literal

from spikecore.api.core.engines import ENVIRONMENT, entry_of
from spikecore.arguments import unknown
from spikecore.cli.data_tables import PATHS, TABLES, AnyData
from spikecore.cli.messages import ConfigError, problems
from spikecore.cli.network_table import NetworkTable
from spikecore.cli.origins import Setting, leaves, lines_of, marked, parts_of, settings
from spikecore.cli.schema import AnyEncoder, Section
from spikecore.cli.track_table import Track
from spikecore.cli.train_table import Train

try:
    import tomllib
except ImportError:  # Python < 3.11
    import tomli as tomllib  # type: ignore[no-redef]


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
    network: NetworkTable = Field(description="the layers, or an architecture")
    train: Train = Field({}, description="how to train")  # type: ignore[assignment]
    track: Track = Field({}, description="where to log")  # type: ignore[assignment]

    @model_validator(mode="before")
    @classmethod
    def _recorded(cls, values: Any) -> Any:
        """Choose "sequence" as encoder for recordings that have become sequences, if the run file names none."""
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
        training, judged = self.train.columns
        columns = training + judged * (self.data.validation != "none")
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
    if name in Train.moved:
        return [f"train.{Train.moved[name]}.{name}"]
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
    """The content of a run file and the changes to it, before it is checked.

    Args:
        data: the keys that file, command line or environment give, with their values.
        origins: of the same form, with the origin of each value in its place.
        sources: for each key that is not from the file: where its value comes from.
        name: of the run file, for messages.
    """

    data: Dict[str, Any]
    origins: Dict[str, Any]
    sources: Dict[str, str]
    name: str

    def changed(self, key: str, value: Any, source: str) -> Given:
        """A copy in which one key has another value, which comes from ``source``.

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
    large = [key for key, value in leaves(said.data).items() if isinstance(value, int) and abs(value) > MOST]
    if large:
        raise ConfigError([f"{said.name}: {key}: whole numbers of TOML have 64 bits at most" for key in large])
    try:
        return RunFile.model_validate(said.data)
    except ValidationError as error:
        raise ConfigError(problems(error, RunFile, said.data, said.name, said.sources)) from None


def settled(said: Given) -> Given:
    """The run file with its engine written down, so that neither the environment nor a default can change it later."""
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
    except (OSError, MemoryError) as error:
        raise ConfigError([f"{path}: cannot be read: {getattr(error, 'strerror', 'it is too large')}"]) from None
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
        place = re.search(r"at line (\d+)", str(error))
        number = int(place[1]) if place else 0
        line = "".join(f": {each.strip()}" for each in text.splitlines()[number - 1 : number] if number)
        rules = 'text stands in quotes, key = "text"; commas stand between entries; true and false are small'
        raise ConfigError([f"{path}: not a TOML file: {error}{line}; {rules}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: has too many brackets within brackets"]) from None


def _absolute(data: Dict[str, Any], folder: Path) -> Dict[str, Any]:
    """Replace relative paths to data by absolute ones; a relative path starts at ``folder``."""
    table = data.get("data")
    for key in PATHS if isinstance(table, dict) else ():
        if isinstance(table.get(key), str):  # type: ignore[union-attr]
            table[key] = os.path.abspath(folder / Path(table[key]).expanduser())  # type: ignore[index]
    return data


#: A word, a path, the name of an array such as x_{part}, or a size such as 8GB.
BARE = re.compile(r"[A-Za-z_./~$]([^\s\"'=\[\]{}]|{part})*|\d+(\.\d+)?[kMGT]i?B")
KEY = re.compile(r'(("[^"]+"|[^."\s]+)(\.|$))+(?<!\.)')  # names, in quotes if they have a dot themselves
MOST = 2**63 - 1  # what TOML promises; Python has no limit
ABSENT: Any = object()  # stands for the value of a key that is to be removed


def _change(text: str) -> Tuple[str, Any]:
    """The key and the value in the text of one ``--set``."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not KEY.fullmatch(key):
        raise ConfigError([f"--set {text}: must be key.path=value, e.g. --set train.epochs=3"])
    return key, value_of(f"--set {text}", value) if value else ABSENT


def _put(data: Dict[str, Any], key: str, value: Any, source: str) -> None:
    """Change the value at ``key``, or remove it, as ``source`` says, e.g. ``--set train.epochs=3``."""
    path = parts_of(key)
    try:
        table: Any = data
        for part, below in zip(path, path[1:]):
            index: Any = _place(table, part)
            if isinstance(table, dict):
                table.setdefault(part, {})
            if isinstance(table[index], str):  # a bare name, e.g. the layer "Leaky", is a table with one key
                named = {"name" if part == "data" else "kind": table[index]}
                table[index] = [named] if below.isdigit() else named
            elif isinstance(table[index], dict) and "kind" in table[index] and below.isdigit():
                table[index] = [table[index]]  # likewise a table that stands alone for a list
            table = table[index]
        place: Any = _place(table, path[-1])
        if value is not ABSENT:
            table[place] = value
        elif isinstance(table, dict):
            table.pop(place, None)
        else:
            del table[place]
    except (IndexError, ValueError, AttributeError, TypeError):
        raise ConfigError([f"{source}: the run file has no place {key!r}; list entries are counted from 0"]) from None


def _place(table: Any, part: str) -> Any:
    """The index in a list, or the key in a table, that a part of a dotted key says."""
    if not isinstance(table, list):
        return part
    if not part.isdecimal():  # -1: a value's origin is known by its number
        raise IndexError(part)
    return int(part)


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
