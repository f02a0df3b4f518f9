"""The trials of a sweep in Optuna's storage, and how several processes share them.

A trial belongs to the process that holds its lock. The system releases the lock when the process ends, even when it is
killed, so a trial that is running in the storage and not locked is one that a process has left: the next process takes
it over. Trials are handed out and finished under one lock of the whole sweep, so there are never too many. (Optuna's
own heartbeats wait until a trial has been silent for a time, and hand it on as another trial, which begins anew.)
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import numpy as np

from spikecore.cli.lock import LOCK, Occupied, owned
from spikecore.cli.messages import ConfigError
from spikecore.cli.sweep_database import connected, database_in
from spikecore.cli.sweep_space import Parameter, Space, SweepTable
from spikecore.installing import to_install

TRIALS = "trials"
FIRST_AT_RANDOM = 8  # trials before tpe learns from them
PATIENCE = 120.0  # seconds to wait for a process that hands out a trial, or that writes the results


def optuna() -> Any:
    """The module optuna, saying warnings only.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna as module
    except ModuleNotFoundError as error:
        raise ConfigError([f"a sweep needs Optuna, which is not installed ({error}): {to_install('sweep')}"]) from None
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def sampler(settings: SweepTable, number: int) -> Any:
    """The sampler of one trial. Its draws depend on the seed and on the number of the trial alone, so a
    sweep that was interrupted continues as if it had not been.
    """
    samplers = optuna().samplers
    seed = int(np.random.SeedSequence((settings.seed, number)).generate_state(1)[0])
    if settings.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():  # Optuna 3 and 4 call two of the options experimental
        warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)
        return samplers.TPESampler(
            seed=seed,
            n_startup_trials=FIRST_AT_RANDOM,
            multivariate=True,  # values of several keys are chosen together
            constant_liar=True,  # keeps away from what other processes are trying
        )


def pruner(settings: SweepTable) -> Any:
    """The pruner, which ends trials early."""
    pruners = optuna().pruners
    if settings.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return pruners.SuccessiveHalvingPruner(min_resource=1) if settings.pruner == "halving" else pruners.NopPruner()


def suggested(trial: Any, parameter: Parameter) -> Any:
    """The value of a key in a trial, as the run file says it; the same for each call."""
    limits = parameter.limits
    if limits.choices is not None:
        return parameter.named[trial.suggest_categorical(parameter.key, list(parameter.named))]
    low, high = parameter.ends
    if limits.int:
        step = {} if limits.step is None else {"step": int(limits.step)}
        return trial.suggest_int(parameter.key, low, high, log=limits.log, **step)
    return trial.suggest_float(parameter.key, low, high, log=limits.log, step=limits.step)


def first(space: Space) -> Dict[str, Any]:
    """The values of the first trial, by key. Nothing is stored."""
    trial = optuna().create_study(sampler=sampler(space.settings, 0)).ask()
    return {parameter.key: suggested(trial, parameter) for parameter in space.parameters}


class Storage:
    """The trials of the sweep in a directory.

    Args:
        directory: that of the sweep; it exists.
        space: what the sweep varies, and how it searches.
        trials: how many trials a new sweep has; None opens an existing one.
    """

    def __init__(self, directory: Path, space: Space, trials: Optional[int] = None) -> None:
        module, settings, where = optuna(), space.settings, database_in(directory)
        self.directory, self.space, self.settings = directory, space, settings
        with self.alone():  # two processes must not make the tables
            self.study = module.create_study(
                storage=connected(where),
                pruner=pruner(settings),
                study_name=where.study,
                direction="maximize" if settings.maximize else "minimize",
                load_if_exists=True,
            )
            if trials is not None:
                self.study.set_user_attr("trials", trials)

    @property
    def total(self) -> int:
        """Number of trials of the finished sweep."""
        return int(self.study.user_attrs["trials"])

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other processes from handing out or finishing trials until the block ends."""
        with owned(self.directory, LOCK, PATIENCE):
            yield

    def all(self) -> List[Any]:
        """Every trial so far, as Optuna describes it, in the order of their numbers."""
        return list(self.study.get_trials(deepcopy=False))

    def finished(self) -> List[Any]:
        """The trials that are done: complete, pruned or failed."""
        return [trial for trial in self.all() if trial.state.is_finished()]

    def best(self) -> Optional[Any]:
        """The complete trial with the best value; None if there is none."""
        complete = [trial for trial in self.all() if trial.state.name == "COMPLETE"]
        sign = -1.0 if self.settings.maximize else 1.0
        return min(complete, key=lambda trial: sign * trial.value, default=None)  # the first among equals

    @contextlib.contextmanager
    def claimed(self) -> Iterator[Optional[Any]]:
        """A trial for this process until the block ends; None if all have been handed out.

        A trial that another process has left comes before a new one.
        """
        with contextlib.ExitStack() as lock:
            with self.alone():
                trial = self._left(lock) or self._next(lock)
                for parameter in self.space.parameters if trial is not None else ():
                    suggested(trial, parameter)
            yield trial

    def tell(self, trial: Any, value: Optional[float], state: str) -> None:
        """Store that a trial is done. The caller keeps the other processes out.

        Args:
            trial: as ``claimed`` gave it.
            value: what the sweep judges by; None unless the trial is complete.
            state: "COMPLETE", "PRUNED" or "FAIL".
        """
        self.study.tell(trial, value, state=optuna().trial.TrialState[state])

    def _left(self, lock: contextlib.ExitStack) -> Optional[Any]:
        for frozen in self.all():
            if frozen.state.name == "RUNNING":
                with contextlib.suppress(Occupied):
                    lock.enter_context(self._own(frozen.number))
                    return self._again(frozen)
        return None

    def _next(self, lock: contextlib.ExitStack) -> Optional[Any]:
        every = self.all()
        waiting = [trial.number for trial in every if trial.state.name == "WAITING"]  # by Study.enqueue_trial
        number = waiting[0] if waiting else len(every)
        if number >= self.total:
            return None
        self.study.sampler = sampler(self.settings, number)
        trial = self.study.ask()
        lock.enter_context(self._own(trial.number))
        if trial.number == number:
            return trial
        return self._again(trial)  # the answer about a new trial was lost, and there is one more: it is left over

    def _again(self, trial: Any) -> Any:
        """A trial that is there already, with the draws of its own number."""
        self.study.sampler = sampler(self.settings, trial.number)
        return optuna().trial.Trial(self.study, trial._trial_id)

    def _own(self, number: int) -> Any:
        return owned(self.directory, f"{LOCK}-{number:03d}")
