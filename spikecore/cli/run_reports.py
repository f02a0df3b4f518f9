"""Reports about a run: its gradients, its learning rule, and whether an IPU or a chip takes its network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Optional

import numpy as np

from spikecore import Model, get_engine
from spikecore.api.training.data import batches
from spikecore.cli.messages import ConfigError
from spikecore.cli.pictures import answers, of_classes
from spikecore.cli.run_directory import LEARNING, REPORT, TrainingRun
from spikecore.functional import ClassReport, class_report
from spikecore.hardware import Chip, HardwareReport, check

FOLLOWS = (
    "local rules follow no gradient, so there is none to verify. For the gradients of its network: --set "
    "train.learning=bptt --set train.metric="
)


def verify_gradients(run: TrainingRun, model: Model, samples: int = 8, against: Optional[str] = None) -> Any:
    """Verify the gradients on the first training samples, and write the report to report.txt.

    Args:
        run: the run.
        model: the model to verify.
        samples: number of training samples.
        against: name of the reference engine; None: "numpy", or another one for a model on "numpy".

    Raises:
        ConfigError: local rules learn, and there is no gradient.
    """
    from spikecore import verify

    _refuse_plasticity(run, FOLLOWS)
    inputs, targets, lengths = run.first(run.train_set, samples)
    reference: Any = against  # an engine's name, which ``verify`` checks
    report = verify(model, inputs, targets, loss=run.loss, against=reference, lengths=lengths, **run.feeding)
    run.write(REPORT, f"{report}\n\n{report.table()}\n")
    for tracker in run.trackers():
        with tracker:
            tracker.report(model, report)
    return report


def report_classes(run: TrainingRun, model: Model) -> ClassReport:
    """Precision, recall and F1 of each class on the test samples.

    Raises:
        ConfigError: the loss compares something else than classes of samples.
    """
    if run.config.train.plastic or not of_classes(run.loss):
        raise ConfigError([f"--report: is for losses of one class per sample, and the run has {run.loss!r}"])
    targets, predicted = answers(model, run.judging(run.test_set), run.feeding, run.loss)
    return class_report(targets, predicted, labels=run.test_set.classes or None)


def verify_learning(run: TrainingRun, model: Model, kind: Any, samples: int = 8, against: Optional[str] = None) -> Any:
    """Compare a learning rule with the exact gradient on the first training samples; write learning.txt.

    Args:
        run: the run.
        model: the model.
        kind: the name of the rule. If it is the run file's own, it has the options of the run file.
        samples, against: as for ``verify_gradients``.

    Returns:
        a ``LearningReport``.

    Raises:
        ConfigError: the rule does not take the network, the loss or the samples; or local rules learn.
    """
    from spikecore import verify

    _refuse_plasticity(run, FOLLOWS)
    train = run.config.train
    own = kind == train.learning.kind
    rule: Any = replace(train.learning.make(), update_every=None) if own else kind
    inputs, targets, lengths = run.first(run.train_set, samples)
    options: Dict[str, Any] = {"lengths": lengths, **run.feeding}
    reference: Any = against
    try:
        report = verify(model, inputs, targets, run.loss, reference, learning=rule, **options)
    except ValueError as error:
        raise ConfigError([f"{run.name}: --learning {kind}: {error}"]) from None
    run.write(LEARNING, f"{report}\n")
    return report


def check_for_ipu(run: TrainingRun) -> Any:
    """Check whether an IPU would accept the network and train it correctly. Nothing is compiled.

    Returns:
        a ``CheckReport``.

    Raises:
        ConfigError: local rules learn, which an IPU does not.
    """
    from spikecore.engines.ipu.networks import check_model

    _refuse_plasticity(run, "an IPU keeps weights where local rules cannot change them. Train on numpy or torch")
    options = dict(run.config.engine_options) if run.config.engine == "ipu" else {}
    engine: Any = get_engine("ipu", dtype=run.config.dtype, **{**options, "simulate": True})
    config = run.config.model_copy(update={"engine": "numpy", "device": None, "engine_options": {}})
    inputs, targets, lengths = next(iter(batches(run.loader(run.train_set), run.loss)))
    train, model = run.config.train, TrainingRun(config, None, run.name).new_model()
    optimizer, feeding = train.update_rule(), run.feeding
    options = {"engine": engine, "lengths": lengths, "learning": train.learning.make(), **feeding}
    return check_model(model, inputs, targets, run.loss, optimizer, **options)


def _refuse_plasticity(run: TrainingRun, why: str) -> None:
    """Refuse a run that learns by local rules, and say why.

    Raises:
        ConfigError: it does.
    """
    if run.config.train.plastic:
        raise ConfigError([f"{run.name}: train.learning.kind = 'Plasticity': {why}"])


def check_for_chip(run: TrainingRun, chip: Chip, samples: int) -> HardwareReport:
    """Check whether the network fits a chip; its energy is estimated on the first training samples.

    Args:
        run: the run.
        chip: the chip.
        samples: number of training samples; 0 for no estimate.
    """
    usual: Dict[str, Any] = {"engine": "numpy", "device": None, "engine_options": {}, "precision": "float32"}
    model = TrainingRun(run.config.model_copy(update=usual), run.directory, run.name).model()
    if not samples:
        return check(model, chip)
    inputs, feeding = run.first(run.train_set, samples)[0], dict(run.feeding)
    time_axis = feeding.pop("time_axis")
    if feeding["num_steps"] is None:
        inputs = np.moveaxis(np.asarray(inputs), time_axis, 0)
    return check(model, chip, inputs, **feeding)
