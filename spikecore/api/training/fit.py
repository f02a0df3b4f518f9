"""``Model.fit``: trains a model on batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterable, Optional, Union

from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.isolation import isolated
from spikecore.api.core.sizes import whole_number
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.metrics import Metric, metrics_of, needs_membrane
from spikecore.api.learning.learning import UNSUPERVISED, Learning, LearningName, learning_of
from spikecore.api.training.batching import Encoder, Feed
from spikecore.api.training.budgets import budget_of
from spikecore.api.training.callbacks import Callbacks, Schedule
from spikecore.api.training.compute import Compute
from spikecore.api.training.data import are_arrays, batches_for, first_sample_shape
from spikecore.api.training.executor import recorded_for
from spikecore.api.training.history import History
from spikecore.api.training.loop import Training
from spikecore.api.training.optimizers import Optimizer
from spikecore.api.training.resuming import FitStart
from spikecore.api.training.shards import sharded
from spikecore.api.training.together import check_ranks_agree, ranks_for
from spikecore.api.training.trainer import alone
from spikecore.arguments import ArrayLike, Size, checked, shown
from spikecore.progress import at_work

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


@checked  # arguments against their annotations
@isolated  # from modes of the array library, such as torch.no_grad
@alone  # no other thread trains this model meanwhile
def fit(
    self: Model,
    data: Union[Iterable[Any], ArrayLike],
    targets: Optional[ArrayLike] = None,
    *,
    loss: Optional[LossFunction] = None,
    optimizer: Optional[Optimizer] = None,
    epochs: Size = 1,
    batch_size: Optional[Size] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    validation: Optional[Iterable[Any]] = None,
    metric: Optional[Metric] = None,
    schedule: Optional[Schedule] = None,
    learning: Union[LearningName, Learning] = "bptt",
    compute: Compute = Compute(),  # noqa: B008  (immutable)
    callbacks: Callbacks = (),
    resume: Optional[bool] = None,
    progress: Optional[bool] = None,
) -> History:
    """Train the network. Another call continues the training.

    ``fit(x, y, ...)`` takes two arrays with the samples along axis 0. It is short for
    ``fit(Loader(x, y, seed=model.seed), ...)``: the samples are shuffled again for each epoch, by the model's seed.

    Args:
        data: an iterable of (inputs, targets) batches: ``spikecore.datasets.Loader``, a torch DataLoader, a list; or,
            with ``targets``, the inputs of all samples.
            Batches (inputs, targets, lengths) hold sequences of unequal length, padded at the end: the loss and the
            metrics of sample i use its first lengths[i] steps.
        targets: the targets of all samples, if ``data`` is an array.
        loss: callable ``(out, targets) -> scalar``, for batches with lengths ``(out, targets, lengths)``; default: the
            loss of the last ``fit``, else ``functional.ce_rate_loss()``.
        optimizer: ``sc.SGD``, ``sc.Adam``, ``sc.AdamW``, ``sc.RMSprop``; default: that of the last ``fit``, else
            ``Adam(lr=5e-4)``. An optimiser of the same kind as the last one keeps the moments, unless it trains a
            parameter that was frozen. Otherwise moments start at zero.
        epochs: how many more times to go through ``data``; default 1.
        batch_size: number of samples in a batch of arrays; default 64.
        num_steps: number of time steps of inputs (batch, *features), which are a constant current or are encoded.
        encoder: converts (batch, *features) to (time, batch, *features), e.g. ``spikegen.rate``; without ``num_steps``
            also sequences to sequences, e.g. ``spikegen.delta``. It may change the features' shape.
        time_axis: the time axis of inputs that have one, and of targets that vary in time
            (``mse_membrane_loss(time_var_targets=True)``); your own loss functions get the targets unchanged.
        validation: batches to evaluate after each epoch, or a pair (x, y) as ``fit(x, y)`` takes it.
        metric: what to report besides the loss: a name ("accuracy_rate", "accuracy_temporal", "accuracy_membrane",
            "label_error_rate"; "rate", the spikes per step of a neuron of the last layer), a function
            ``(out, targets) -> number``, a list of these, or a dict of these by column. Default: "accuracy", decoded as
            the loss decodes, if it compares with labels.
        schedule: ``(epoch, epochs) -> factor`` of the learning rate, e.g. ``schedule.cosine()``. It counts the epochs
            of this ``fit`` from 0; a ``fit`` that resumes another counts on. A schedule with ``each`` = "step" sets the
            rate before each update: the epoch is then a number such as 2.25, ``data`` needs a length, and the history
            has the rate of an epoch's last update.
        learning: how gradients are computed. Backwards through time: "bptt" (the default), or
            ``sc.BPTT(window=..., update_every=...)`` over parts of a sequence. Forward in time, with memory that does
            not depend on the number of steps: "eprop", "ostl", "ottt", "ndot", "sltt", "decolle", "rtrl", or one of
            these with options, such as ``sc.EProp(feedback="random")``; docs/learning.md compares them. Without
            gradients, by local rules: ``plasticity.Plasticity``. Then targets may be left out, the rules have the
            learning rates, and there is no optimiser. A schedule scales the rates. A loss is reported if it is given;
            the default metric is "rate", the spikes per step of a neuron of the last layer.
        compute: with which processes, in how much memory, compiled or not: ``sc.Compute``.
        callbacks: each is called as ``callback(model, row)`` after an epoch; if one returns True, training ends. If
            a callback has a method ``after_step(model, step)``, that is called after each update of the weights, see
            ``base.Step``. If it returns True, training ends there; ``resume=True`` continues with the next batch.
        resume: True continues the last fit of this model or of the file it was loaded from, after Ctrl-C with the next
            batch. ``epochs`` then includes the epochs that are done, so the same call with ``resume=True`` completes
            the fit. The optimiser must be the same, except for ``lr`` and ``clip_norm``. The result is
            bit-identical to an uninterrupted run if the batches of epoch e depend on e alone, as in a ``Loader`` or a
            list. False resets the optimiser's moments. None, the default: a new fit; moments as under ``optimizer``.
        progress: True or False forces a progress bar over all epochs on or off; it has the epoch, the loss, the metrics
            and the time left, and needs tqdm. None, the default, shows one on a terminal and in a notebook.

    Returns:
        the history, a list with one dict per epoch.

    Raises:
        ShapeError, ValueError, TypeError: bad input; the message names argument, axis, index and layer.
        RankError: processes that train together differ or cannot continue; the message names the rank.
        DivergedError: the loss of a batch, its gradient, or a weight at the end of an epoch, is NaN or infinite; the
            message says in which layer it begins, and of a loss at which time step. On the NumPy and torch engines, the
            weights are those before this batch.

    Warns:
        TrainingWarning: the network has no neurons, inputs look like pixels of 0 to 255 or make currents far above the
            first threshold, the validation samples are all of one class or of one that is not trained on, a layer never
            fires or always fires, or gradients vanish or explode. Some samples of one batch are looked at after the
            first epoch, from ten epochs on also after the last; the training itself stays the same.
    """
    trainer, way = self.trainer, learning_of(learning)
    if optimizer is not None and not way.gradients:
        raise TypeError(
            f"optimizer={shown(optimizer)}: learning={shown(way)} has no optimiser, its rules have the learning rates: "
            "leave it out; schedule=... scales them"
        )
    unsupervised = not way.gradients and loss is None
    loss, optimizer = trainer.with_defaults(loss, optimizer)
    reported: Any = UNSUPERVISED if unsupervised else loss  # the loss in the history
    metrics = metrics_of("rate" if unsupervised and metric is None else metric, reported)
    epochs = whole_number("epochs", epochs, 1)
    feed = Feed(num_steps, encoder, time_axis, compute.check_finite)
    batches = batches_for(self, data, targets, feed, batch_size, shuffle=True, unlabelled=not way.gradients)
    if are_arrays(validation):
        x, y = validation  # type: ignore[misc]
        validation = batches_for(self, x, y, feed, batch_size)
    ranks = ranks_for(self.engine, compute.parallel)
    if not self.built:
        self.build(first_sample_shape(self.engine, self.seed, batches, feed, reported))
    way.check(self.engine, self.trainer.executor, reported, compute, ranks.size)
    if compute.compile:
        extra(self.engine, TrainingOptions).check_compile(self.engine)
    if compute.cuda_graph:
        extra(self.engine, TrainingOptions).check_graph(self.engine)
    options: Any = {"record": "last"} if needs_membrane(metrics) and "last" not in recorded_for(loss) else {}
    options.update({"ranks": ranks} if ranks.size > 1 else {})
    options.update({"divides": True} if ranks.size > 1 and compute.parallel == "fsdp" else {})
    options.update({"compiles": True} if compute.compile else {})
    options.update({"graphs": True} if compute.cuda_graph else {})
    options.update(budget_of(self.engine, way, compute))
    with at_work(lambda seconds: f"spikecore: preparing the training, {seconds:.0f} s", progress):
        trainer.compile(self, loss, optimizer, resume, window=way.window, **options)
    trainer.metric, trainer.learning, trainer.time_axis = metric, way, time_axis
    start = trainer.start if resume else FitStart(self.epochs_done, self.trainer.executor.steps_done)
    common: Any = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "schedule": schedule, "metric": metric}
    common.update(num_steps=num_steps, encoder=encoder, time_axis=time_axis, learning=way)
    common["compute"] = replace(compute, memory=None)  # the memory budget may differ between ranks
    check_ranks_agree(self, ranks, batches, validation, **common, resume=resume)  # raises on all ranks
    # ``alike`` calls this in all processes that train together; if it raises in one, all raise
    batches, validation = ranks.alike(lambda: (sharded(batches, ranks), sharded(validation, ranks, empty=True)))
    kind: Any = Training
    plain = way.whole and compute.accumulate == 1 and ranks.size == 1
    if plain and extra(self.engine, TrainingOptions).queue(self.engine) is not None:
        from spikecore.api.training.late import LateTraining as kind
    training = kind(
        self, batches, reported, metrics, feed, start.epochs + epochs, optimizer.lr if way.gradients else 1.0,
        schedule, validation, callbacks, progress, learning=way, accumulate=compute.accumulate, ranks=ranks,
    )  # fmt: skip
    trainer.start = start
    return training.run()
