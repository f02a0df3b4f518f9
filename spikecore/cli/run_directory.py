"""Runs: training and evaluating what a run file describes, with a directory for the results.

The directory holds run.toml (every key, defaults included), model.safetensors (weights, buffers, optimiser, step and
history, written after every epoch), best.safetensors (the best epoch, if early stopping restores it), history.jsonl,
result.json (loss and metrics on the test set) and the pictures. Each file is replaced in a single step, so a run may be
interrupted at any moment and resumed. The resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from spikecore import Model, get_engine, load
from spikecore.api.core.layer import Key
from spikecore.api.core.ranks import Ranks
from spikecore.api.learning.learning import UNSUPERVISED
from spikecore.api.training.batching import Feed
from spikecore.api.training.data import batches
from spikecore.api.training.interrupt import Terminated
from spikecore.base import Callback, Engine
from spikecore.cli import run_file as configs
from spikecore.cli.figures import epoch_line
from spikecore.cli.lock import owned
from spikecore.cli.messages import ConfigError
from spikecore.cli.own_kinds import own_classes
from spikecore.cli.pictures import MOST_SAMPLES, confused, draw, drawn_of, of_classes
from spikecore.cli.processes import device_of, everywhere
from spikecore.cli.resuming import Past, Watched
from spikecore.cli.run_checks import say_of_classes, tried
from spikecore.cli.scaling import NOTE, InputScaling, saved_scale, scaled
from spikecore.cli.schema import VOTE
from spikecore.datasets import DataFileError, Loader
from spikecore.errors import RankLost, ShapeError
from spikecore.files import json_text, write_atomically
from spikecore.progress import at_work
from spikecore.tracking import Tracker

RUN, MODEL, BEST, HISTORY, RESULT, REPORT, LEARNING = (
    "run.toml model.safetensors best.safetensors history.jsonl result.json report.txt learning.txt".split()
)


def new_directory(root: Any, name: str) -> Path:
    """Make the first of root/name-001, root/name-002, ... that does not exist. Two callers never get the same one."""
    for number in itertools.count(1):
        path = Path(root) / f"{name}-{number:03d}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path


def check_unused(directory: Path) -> None:
    """Refuse to start a run in a directory that holds files. Hidden files do not count: a run that was killed before
    it had written its run file leaves only hidden files.

    Raises:
        ConfigError: the directory holds files, or is itself a file.
    """
    is_file = directory.exists() and not directory.is_dir()
    if is_file or directory.is_dir() and any(not path.name.startswith(".") for path in directory.iterdir()):
        raise ConfigError([f"--out {directory} already exists: add --resume to continue it, or choose another"])


@dataclass
class TrainingRun:
    """A run file with its data and its directory.

    Args:
        config: the run file.
        directory: folder of the results; None for a run that writes no files.
        name: of the run file, for messages.
        ranks: the processes that train together; rank 0 alone writes.
        scale: how inputs are scaled, of a run that has begun; default: as the run file says, by its training samples.
    """

    config: configs.RunFile
    directory: Optional[Path] = None
    name: str = RUN
    ranks: Ranks = field(default_factory=Ranks)
    scale: Optional[InputScaling] = None
    columns: Tuple[str, ...] = field(default=(), init=False)  # what ``tried`` found to be measured: loss and metrics

    def __post_init__(self) -> None:
        data = self.config.data
        train_set, test_set = data.load(self.config.seed)
        held_out = None if data.validation == "none" else test_set
        if data.validation not in ("none", "test"):
            train_set, held_out = train_set.split(1.0 - data.validation)
        kind = getattr(data, "scale", None)  # a key of the user's own arrays
        self.scale, (train_set, test_set, held_out) = scaled(kind, self.scale, train_set, test_set, held_out)
        self.train_set, self.test_set = data.trained_on(train_set), data.judged_by(test_set)
        self.labelled_set = data.judged_by(train_set)  # by which neurons get their classes
        self.held_out: Any = None if held_out is None else data.judged_by(held_out)

    @property
    def feeding(self) -> Dict[str, Any]:
        """num_steps, encoder and time_axis, as keywords for ``fit``, ``evaluate`` and ``verify``."""
        return self.config.encoder.make()

    @property
    def loss(self) -> Any:
        """The loss that the run file describes, with its regularisers; without one, that of a training without."""
        return self.config.train.objective()

    @property
    def metric(self) -> Any:
        """The metrics of a batch that are reported beside the loss; None for the loss's own accuracy."""
        train = self.config.train
        if train.loss is None:
            return [metric.make() for metric in train.measured] or ["rate"]
        return None if train.metric is None else [metric.make() for metric in train.measured]

    def engine(self) -> Engine:
        """The engine that the run file names.

        Raises:
            EngineUnavailable: a package that the engine needs is missing.
            ConfigError: the engine has no devices, not this device, or not these options.
        """
        device = device_of(self.config.device)
        where = {} if device is None else {"device": device}
        half = {} if self.config.precision == "float32" else {"precision": self.config.precision}
        options = {**half, **self.config.engine_options}
        try:
            return get_engine(self.config.engine, dtype=self.config.dtype, **where, **options)
        except (TypeError, ValueError, RuntimeError) as error:  # torch raises RuntimeError for an unknown device
            if half and "precision" in str(error):
                line = f"{self.name}: precision = {self.config.precision!r}: {error}; --set precision= removes the key"
                raise ConfigError([line]) from None
            if options and not where:
                line = f"{self.name}: engine_options for engine {self.config.engine!r}: {error}"
                raise ConfigError([f"{line}; --set engine_options= removes the table"]) from None
            if not where:
                raise
            what = f"engine {self.config.engine!r} takes no device" if isinstance(error, TypeError) else str(error)
            line = f"{self.name}: device = {self.config.device!r}: {what}; --set device= removes the key"
            raise ConfigError([line.replace(f"device={self.config.device!r}: ", "")]) from None

    def new_model(self) -> Model:
        """Build the network with initial weights.

        Raises:
            ConfigError: the network or the encoder does not fit the data.
        """
        engine, key = self.engine(), Key((self.config.seed, "shape"))
        try:
            inputs = self.first(self.train_set, 1)[0]
        except DataFileError:
            raise
        except ValueError as error:  # recordings, for example, that no transform makes arrays of
            raise ConfigError([f"{self.name}: data: {error}. The data: {self.train_set!r}"]) from None
        try:
            sample, _ = Feed(**self.feeding)(engine, inputs, None, key)
        except ValueError as error:
            raise ConfigError([f"{self.name}: encoder: {error}. The data: {self.train_set!r}"]) from None
        try:
            shape = tuple(sample.shape[2:])
            model = Model(self.config.network.make(), engine, self.config.seed, input_shape=shape)
            model.notes.update({} if self.scale is None else {NOTE: self.scale.noted()})
            return model
        except ShapeError as error:
            raise ConfigError([f"{self.name}: network: {error}. The data: {self.train_set!r}"]) from None

    @property
    def classes(self) -> List[Any]:
        """The classes of the user's own that the run file names."""
        return own_classes(self.config.plain())

    def model(self) -> Model:
        """Build the model with the weights in the run directory, or with initial weights if it has none."""
        if self.directory is None or not (self.directory / MODEL).exists():
            return self.new_model()
        return load(self.directory / MODEL, engine=self.engine(), classes=self.classes)

    def loader(self, data: Any) -> Loader:
        """Batches of ``data`` for training, in an order drawn from the seed if the run file says ``shuffle``."""
        return Loader(data, seed=self.config.seed, **self.config.data.for_training())

    def judging(self, data: Any) -> Loader:
        """Batches of ``data`` for evaluation: all samples, in order."""
        return Loader(data, **self.config.data.for_judging())

    def first(self, data: Any, count: int) -> Tuple[Any, Any, Any]:
        """The first samples as one batch (inputs, targets, lengths); lengths are None if all steps count."""
        options = {**self.config.data.for_all(), "batch_size": count, "workers": 0}
        return next(iter(batches(Loader(data[:count], shuffle=False, **options), self.loss)))

    # ---- training, evaluation, pictures ----

    @contextlib.contextmanager
    def start(self, resume: bool = False, root: Optional[Path] = None, over: bool = False) -> Iterator[Model]:
        """Lock the directory until the block ends, write the run file into it, and give the model to train.

        Args:
            resume: continue the run in the directory.
            root: folder for a new, numbered directory, if the run has none; None for a run that writes no files.
            over: replace the files in the directory.

        Raises:
            ConfigError: encoder, network, loss and data do not fit each other, or the directory holds files.
            Occupied: another process trains in the directory.
        """
        with at_work(lambda seconds: f"checking the network, {seconds:.0f} s"):
            model = None if resume else everywhere(self.ranks, lambda: tried(self))
        with contextlib.ExitStack() as locks:

            def prepare() -> None:
                if self.ranks.rank:
                    return
                if self.directory is None and root is not None:
                    self.directory = new_directory(root, Path(self.name).stem)
                if self.directory is not None:
                    self.directory.mkdir(parents=True, exist_ok=True)
                    locks.enter_context(owned(self.directory))
                    if not resume and not over:
                        check_unused(self.directory)

            everywhere(self.ranks, prepare)
            self.directory = self.ranks.shared(self.directory)
            model = everywhere(self.ranks, self.model) if model is None else model
            everywhere(self.ranks, lambda: self.write(RUN, configs.write(self.config).decode()))
            yield model

    def train(
        self,
        model: Model,
        say: Callable[[str], None] = print,
        progress: Optional[bool] = False,
        watch: Optional[Callback] = None,
    ) -> None:
        """Train until the model has done the run file's number of epochs, and save after each of them.

        Args:
            model: the model that ``start`` gave.
            say: called with one line of text per epoch.
            progress: whether to show progress bars, as in ``Model.fit``.
            watch: called after each epoch, when it is saved, with the model and its row of the history; True ends the
                training. Default: nothing.
        """
        options, callbacks = self.config.train, [lambda model, row: self._keep(model)]
        if options.voting is not None and self.held_out is not None:
            voted = self.held_out
            callbacks.insert(0, lambda model, row: row.update(self._voted(model, self.judging(voted), "val_")))
        if options.early_stopping is not None:
            stopping: Any = options.early_stopping.make()  # type: ignore[attr-defined]
            past = Past(self._file(BEST), model, self.classes)
            if any([stopping(past, row) for row in model.history]):  # a list: stopping must see every row
                return
            callbacks.insert(-1, lambda model, row: stopping(Watched(self._saves(BEST, model), model), row))
        callbacks += [one.make() for one in (options.pruning, options.rewiring) if one is not None]  # type: ignore[attr-defined]
        if model.epochs_done >= options.epochs:
            return
        callbacks.append(lambda model, row: say(epoch_line(row)))
        try:
            with contextlib.ExitStack() as logs:
                trackers = [logs.enter_context(tracker) for tracker in self.trackers()]
                self._fit(model, (*callbacks, *trackers, *([] if watch is None else [watch])), progress)
        except (KeyboardInterrupt, Terminated, RankLost) as error:
            whole = model.trainer.executor.divided is None  # else a lost rank had a part of the weights
            if whole or not isinstance(error, RankLost):
                self._keep_unfinished(model)
            raise

    def _fit(self, model: Model, callbacks: Tuple[Callback, ...], progress: Optional[bool]) -> None:
        options = self.config.train
        if self.config.data.validation != "test" and self.ranks.rank == 0:  # fit looks at the validation samples itself
            say_of_classes(self, "test")
        model.fit(
            self.loader(self.train_set),
            loss=None if options.loss is None else self.loss,
            optimizer=options.update_rule(),
            epochs=options.epochs,
            validation=None if self.held_out is None else self.judging(self.held_out),
            schedule=options.schedule.make(),
            callbacks=callbacks,
            metric=self.metric,
            learning=options.learning.make(),
            compute=options.computing,
            resume=model.epochs_done > 0 or model.trainer.unfinished is not None,
            progress=progress,
            **self.feeding,
        )

    def trackers(self) -> List[Tracker]:
        """The trackers of the table ``[track]``; none for a run that writes no files, and on ranks that write none.

        Raises:
            ImportError: a package is missing; the message names the extra that brings it.
        """
        track = self.config.track
        # "fsdp" takes all ranks, though one writes
        looks = not self.ranks.rank or self.config.train.compute.parallel == "fsdp"
        if not track.wanted or not looks:
            return []
        directory = Path() if self.directory is None else self.directory
        held_out: Any = self.test_set if self.held_out is None else self.held_out
        inputs, _, lengths = self.first(held_out, track.samples)
        made = track.make(directory, inputs, lengths, self.feeding, self.config.plain())
        return [] if self.directory is None else made

    def _file(self, name: str) -> Optional[Path]:
        return None if self.directory is None else self.directory / name

    def _keep_unfinished(self, model: Model) -> None:
        """Save a model within an epoch, after its last whole step."""
        begun = model.trainer.unfinished
        if begun is not None and begun.batches and not begun.cut:
            self._keep(model)

    @property
    def writes(self) -> bool:
        """Whether this process writes files."""
        return self.directory is not None and self.ranks.rank == 0

    def _saves(self, name: str, model: Model) -> Optional[Path]:
        """Whether this process calls ``model.save``: if the weights are divided, all do, and the first writes."""
        return self._file(name) if self.writes or model.trainer.executor.divided is not None else None

    def _keep(self, model: Model) -> None:
        path = self._saves(MODEL, model)
        if path is not None:
            model.save(path)
            self.write(HISTORY, "".join(json_text(row) + "\n" for row in model.history))

    def write(self, name: str, text: str) -> None:
        """Replace a file of the directory, if this process writes files."""
        if self.writes and self.directory is not None:
            write_atomically(self.directory / name, text.encode())

    def evaluate(self, model: Model) -> Dict[str, Any]:
        """Loss and metrics on the test set. They are written to result.json, too."""
        shared: Any = {"parallel": self.config.train.compute.parallel} if self.ranks.size > 1 else {}
        metrics = self.judge(model, self.judging(self.test_set), **shared)
        simulated = " (simulation on the CPU)" if getattr(model.engine, "simulate", False) else ""
        about = {"engine": model.engine.name + simulated, "dtype": model.engine.dtype, "epochs": model.epochs_done}
        result = {**about, **{f"test_{name}": value for name, value in metrics.items()}}
        self.write(RESULT, json_text(result, indent=2) + "\n")
        return result

    def judge(self, model: Model, data: Any, labelled: Any = None, **shared: Any) -> Dict[str, Any]:
        """Loss and metrics of a model on batches.

        Args:
            model: the model.
            data: the batches.
            labelled: the batches by which neurons get their classes, for votes; default: all training samples.
            shared: further options of ``Model.evaluate``.
        """
        measured = model.evaluate(data, loss=self.loss, metric=self.metric, progress=False, **self.feeding, **shared)
        return {**measured, **self._voted(model, data, labelled=labelled)}

    def _voted(self, model: Model, data: Any, prefix: str = "", labelled: Any = None) -> Dict[str, Any]:
        """The accuracy of the neurons' votes by the name of its column, if the run file asks for it."""
        voting = self.config.train.voting
        if voting is None:
            return {}
        labelled = self.judging(self.labelled_set) if labelled is None else labelled
        votes = voting.make()(model, labelled, progress=False, **self.feeding)
        measured = model.evaluate(data, loss=UNSUPERVISED, metric={VOTE: votes}, progress=False, **self.feeding)
        return {f"{prefix}{VOTE}": measured[VOTE]}

    def pictures(self, model: Model, ending: str = "png") -> List[Path]:
        """Draw curves, predictions, raster, traces and, for classes, confusion; returns the paths."""
        assert self.directory is not None, "a run without directory has no place for pictures"
        inputs, targets, lengths = self.first(self.test_set, MOST_SAMPLES)
        target, classes = targets[0], self.test_set.classes
        title = f"{self.test_set.name}: first test sample"
        if classes or not getattr(target, "shape", ()):  # a target that is an array is too long a title
            title += f", target {classes[int(target)] if classes else target}"
        labels = targets if drawn_of(self.loss, targets) and not self.config.train.plastic else None
        drawn = draw(self.directory, model, inputs, self.feeding, title, labels, classes, self.loss, lengths, ending)
        if labels is not None and of_classes(self.loss):
            whole = self.judging(self.test_set)
            drawn.append(confused(self.directory, model, whole, self.feeding, classes, self.loss, ending))
        return drawn


def opened(directory: Any, engine: Optional[str] = None, sets: Any = ()) -> TrainingRun:
    """The run in a directory that ``spikecore train`` wrote.

    Args:
        directory: the run directory.
        engine: name of an engine that replaces the run's own.
        sets: further changes to the run file, as for ``read``.

    Raises:
        FileNotFoundError: it is not a run directory.
        ConfigError: its run file, or a change to it, is wrong.
    """
    directory = Path(directory)
    if not (directory / RUN).is_file():
        raise FileNotFoundError(f"{directory}: not a run directory: it holds no {RUN}. `spikecore train` makes one")
    return TrainingRun(configs.read(directory / RUN, engine, sets), directory, scale=saved_scale(directory / MODEL))
