"""Checks of a run before it begins: whether run file, network, data and engine fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecore import Model
from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.functional.loss import comparing, reads_labels
from spikecore.api.functional.targets import check_labels, targets_on
from spikecore.api.training.batching import Feed
from spikecore.api.training.budgets import budget_of, plan_of
from spikecore.api.training.class_sets import say_of_classes as say
from spikecore.cli.messages import ConfigError
from spikecore.compression import sparsity

if TYPE_CHECKING:
    from spikecore.cli.run_directory import TrainingRun


def tried(run: TrainingRun) -> Model:
    """The network with initial weights, after a test with the first samples and all labels. The test comes before
    a directory is made, so that a run file with mistakes leaves none.

    Raises:
        ConfigError: encoder, network, loss, data and keys of [train] do not fit each other.
    """
    model = run.new_model()
    run.trackers()
    try:
        run.loader(run.train_set)  # whose options may exclude each other, or the data
        inputs, targets, lengths = run.first(run.train_set, 2)
        first = (inputs, targets) if lengths is None else (inputs, targets, lengths)
        run.columns = tuple(run.judge(model, [first], labelled=[first]))
        if run.config.train.voting is not None:
            labels = targets_on(model.engine, run.labelled_set.targets)
            check_labels(model.engine, labels, (len(run.labelled_set),), None)
        targets = Feed(**run.feeding).targets(model.engine, run.loss, run.train_set.targets)
        for term in comparing(run.loss):
            term.check_targets(model.engine, targets, len(run.train_set), model.classes)
        memory_plan(run, model)
    except NotImplementedError as error:
        raise ConfigError([f"{run.name}: train.{error}"]) from None
    except ValueError as error:
        raise ConfigError([f"{run.name}: {error}. The data: {run.train_set!r}"]) from None
    check_training(run, model)
    return model


def say_of_classes(run: TrainingRun, *parts: str) -> None:
    """Warn if all samples of a part, "validation" or "test", are of one class, or of one that is not trained on."""
    sets = {"validation": run.held_out, "test": run.test_set}
    for part in parts:
        if sets[part] is not None and reads_labels(run.loss) is not None:
            say(run.train_set.targets, sets[part].targets, part)


def check_training(run: TrainingRun, model: Model) -> None:
    """Refuse keys of [train] that do not fit each other, the network or the engine.

    Raises:
        ConfigError: a group of the optimiser matches no parameter, a name of pruning no layer, or a way of learning
            excludes another key, cannot learn the network, or is not for this engine.
    """
    train = run.config.train
    for name in ("pruning", "rewiring"):
        options = getattr(train, name)
        try:
            if options is not None:
                sparsity(model, options.make().layers)
        except ValueError as error:
            raise ConfigError([f"{run.name}: train.{name}.{error}"]) from None
    optimizer = train.update_rule()
    try:
        if optimizer is not None:
            optimizer.by_name(model.params())
    except ValueError as error:
        raise ConfigError([f"{run.name}: train.optimizer.{error}"]) from None
    way, compute = train.learning.make(), train.computing
    processes = 1 if compute.parallel == "none" else run.ranks.size
    try:
        way.check(model.engine, model.trainer.executor, run.loss, compute, processes)
        if compute.compile:
            extra(model.engine, TrainingOptions).check_compile(model.engine)
        if compute.cuda_graph:
            extra(model.engine, TrainingOptions).check_graph(model.engine)
        assert model.input_shape is not None  # the model is built
        with model.engine.isolated():
            way.check_network(model.trainer.executor, run.loss, model.input_shape)
    except (ValueError, NotImplementedError) as error:
        raise ConfigError([f"{run.name}: train: {error}"]) from None


def memory_plan(run: TrainingRun, model: Model) -> Any:
    """The plan by which training keeps the run file's memory budget; None without one.

    Raises:
        ValueError: it cannot be kept.
        NotImplementedError: the engine plans no memory.
    """
    options = run.config.train
    way = options.learning.make()
    budget = budget_of(model.engine, way, options.computing)
    if not budget:
        return None
    batch = run.first(run.train_set, -(-run.config.data.batch_size // run.ranks.size))
    feed, optimizer = Feed(**run.feeding), options.update_rule()
    return plan_of(model, batch, run.loss, optimizer, feed, budget, way.window)
