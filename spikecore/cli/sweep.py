"""Sweeps: many runs of one run file with different values, to find those that are best on the validation samples.

The directory holds run.toml (the run file with the changes of the command line), space.toml, sweep.db (Optuna's storage
of the trials), trials.csv, best.toml (a run file with the best values), result.json, pictures, and ``trials``: a run
directory for each trial. Only the best trial keeps its weights.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from spikecore.cli import sweep_results
from spikecore.cli.run_directory import HISTORY, MODEL, RESULT, RUN, TrainingRun
from spikecore.cli.run_file import Given, checked, write
from spikecore.cli.sweep_space import Space
from spikecore.cli.sweep_storage import TRIALS, Storage
from spikecore.errors import DivergedError, TrainingWarning
from spikecore.files import json_text, write_atomically

STARTS = 3  # how often a trial may begin without finishing an epoch; how many failures, and nothing else, end a sweep


class Hopeless(RuntimeError):
    """The first trials of a sweep have all failed."""


@dataclass
class Sweep:
    """A sweep in its directory.

    Args:
        directory: of the sweep.
        said: the run file, without the values of a trial.
        space: what the sweep varies.
        storage: its trials.
    """

    directory: Path
    said: Given
    space: Space
    storage: Storage

    def work(self, say: Callable[[str], None]) -> None:
        """Run trials until all have been handed out, to this process or to others.

        Args:
            say: called with one line of text per trial.

        Raises:
            Hopeless: the first trials have all failed.
            ConfigError: the run file does not work on this machine.
        """
        TrainingRun(
            checked(self.said), None, RUN
        ).new_model()  # else one machine without the data would fail all trials
        while True:
            self.check_hope()
            with self.storage.claimed() as trial:
                if trial is None:
                    return
                say(self._carry_out(trial))

    @property
    def hopeless(self) -> bool:
        """Whether the first trials have all failed."""
        done = self.storage.finished()
        return len(done) >= STARTS and all(trial.state.name == "FAIL" for trial in done)

    def check_hope(self) -> None:
        """End a sweep of which nothing can come.

        Raises:
            Hopeless: the first trials have all failed.
        """
        if self.hopeless:
            done = self.storage.finished()
            why = done[-1].user_attrs["reason"]
            raise Hopeless(f"{self.directory}: the first {len(done)} trials have all failed, the last one with {why}")

    @property
    def tested(self) -> List[int]:
        """The numbers of the trials that have been evaluated on the test samples."""
        path = self.directory / RESULT
        return list(json.loads(path.read_text(encoding="utf-8")).get("tested_trials", ())) if path.exists() else []

    @property
    def running(self) -> List[int]:
        """The numbers of trials that a process runs now, or has left unfinished."""
        return [trial.number for trial in self.storage.all() if trial.state.name == "RUNNING"]

    def finish(self) -> Optional[Dict[str, Any]]:
        """Evaluate the best trial on the test samples, and write trials.csv, best.toml and result.json.

        Returns:
            the content of result.json; None if no trial is complete.
        """
        with self.storage.alone():
            sweep_results.write_table(self.directory, self.storage)
            self._forget_weights()
            best = self.storage.best()
            if best is None:
                return None
            job = self.job_of(best)
            if not (self.directory_of(best) / MODEL).exists():
                raise FileNotFoundError(f"{self.directory_of(best)}: holds no {MODEL}, the weights of the best trial")
            result = sweep_results.summary(self.directory, self.storage, job.evaluate(job.model()))
            result["tested_trials"] = sorted({*self.tested, best.number})
            whole = write(self.job_of(best, whole=True).config)
            write_atomically(self.directory / sweep_results.BEST_RUN, whole)
            write_atomically(self.directory / RESULT, (json_text(result, indent=2) + "\n").encode())
            return result

    def job_of(self, trial: Any, whole: bool = False) -> TrainingRun:
        """The run of a trial with its directory.

        Args:
            trial: running or done.
            whole: with as many epochs as the run file says, not the space.
        """
        said = self.said if whole else self.space.base(self.said)
        for parameter, value in zip(self.space.parameters, sweep_results.values_of(self.storage, trial).values()):
            said = parameter.put(said, value, f"trial {trial.number}")
        return TrainingRun(checked(said), self.directory_of(trial), RUN)

    def directory_of(self, trial: Any) -> Path:
        """The run directory of a trial."""
        return self.directory / TRIALS / f"{trial.number:03d}"

    def _carry_out(self, trial: Any) -> str:
        """Run a trial and store its result; returns a line about it."""
        state, value, reason = "COMPLETE", None, ""
        try:
            self._count_start(trial)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TrainingWarning)  # among many settings there are bad ones
                value = self._value(trial)
            state = "PRUNED" if value is None else state
        except DivergedError as error:  # bad values, not a fault: the sampler learns from them
            state, reason = "PRUNED", str(error)
        except (ValueError, RuntimeError, MemoryError) as error:  # a network too large for a device is a RuntimeError
            state, reason = "FAIL", f"{type(error).__name__}: {error}"
        except KeyboardInterrupt:
            trial.set_user_attr("starts", [0, 0])  # this end was no accident
            raise
        history = self._history(trial)
        trial.set_user_attr("epochs", len(history))
        trial.set_user_attr("seconds", round(sum(row["seconds"] for row in history), 3))
        if reason:
            trial.set_user_attr("reason", " ".join(reason.split()))
        with self.storage.alone():
            self.storage.tell(trial, value, state)
            sweep_results.write_table(self.directory, self.storage)
            self._forget_weights()
            return sweep_results.line(self.storage, trial.number, len(self.storage.finished()))

    def _count_start(self, trial: Any) -> None:
        """Count how often a trial has begun without finishing an epoch: a crash that repeats would repeat forever.

        Raises:
            RuntimeError: it has begun too often.
        """
        epochs = len(self._history(trial))
        before, starts = trial.user_attrs.get("starts", (epochs, 0))
        starts = starts + 1 if before == epochs else 1
        if starts > STARTS:
            raise RuntimeError(f"its process was killed {STARTS} times before it had finished epoch {epochs + 1}")
        trial.set_user_attr("starts", [epochs, starts])

    def _history(self, trial: Any) -> List[Dict[str, Any]]:
        """The epochs of a trial that are saved."""
        path = self.directory_of(trial) / HISTORY
        return [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def _value(self, trial: Any) -> Optional[float]:
        """Train as the trial says, from where another process may have left it; None if it is pruned."""
        job, metric = self.job_of(trial), self.space.settings.metric
        epochs, pruned = job.config.train.epochs, []
        job.config.train.compute.parallel = (
            "none"  # of several processes, as srun starts them, each has a trial of its own
        )
        told = self.storage.all()[trial.number].intermediate_values

        def watch(model: Any, row: Any) -> bool:
            if row["epoch"] - 1 not in told:  # Optuna counts from 0
                trial.report(_number(row[metric]), row["epoch"] - 1)
            if row["epoch"] < epochs and trial.should_prune():
                pruned.append(row["epoch"])
            return bool(pruned)

        with job.start(resume=(self.directory_of(trial) / MODEL).exists(), over=True) as model:
            for row in model.history:  # what another process has saved and may not have told
                watch(model, row)
            if not pruned:
                job.train(model, lambda line: None, watch=watch)
            return None if pruned else _judged(job, model, metric)

    def _forget_weights(self) -> None:
        """Delete the weights of all trials that are done, but those of the best."""
        best = self.storage.best()
        for trial in self.storage.finished():
            if best is None or trial.number != best.number:
                for weights in self.directory_of(trial).glob("*.safetensors"):
                    weights.unlink()


def _judged(job: TrainingRun, model: Any, metric: str) -> float:
    """The metric of the weights that a run ends with.

    Raises:
        DivergedError: it is no finite number.
    """
    stopping: Any = job.config.train.early_stopping
    if stopping is None or not stopping.restore_best:
        value = _number(model.history[-1][metric])
    else:  # these may be the weights of an earlier epoch
        data = job.judging(job.held_out)  # type: ignore[arg-type]
        judged = job.judge(model, data)
        value = _number(judged[metric[len("val_") :]])
    if not math.isfinite(value):
        raise DivergedError(f"{metric} is {value}")
    return value


def _number(value: Optional[float]) -> float:
    return math.nan if value is None else float(value)  # a history read from a file has None for NaN
