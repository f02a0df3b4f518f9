"""The methods of ``Model`` that go over whole data: fit, evaluate, predict."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Optional, Tuple, Union, overload

from spikecore.api.core.foreign import shown
from spikecore.api.core.isolation import isolated
from spikecore.api.core.sizes import whole_number
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.metrics import Metric, metrics_of, needs_membrane
from spikecore.api.learning.learning_rules import Kind, LearningRule
from spikecore.api.learning.plastic_network import Plasticity
from spikecore.api.training.batching import Encoder, Feed, Input
from spikecore.api.training.budgets import Bytes, budget_of
from spikecore.api.training.callbacks import Callbacks
from spikecore.api.training.data import are_arrays, batches_of, first_sample_shape
from spikecore.api.training.evaluate import evaluate
from spikecore.api.training.executor import recorded_for
from spikecore.api.training.fit import Schedule, Training
from spikecore.api.training.history import History, Row
from spikecore.api.training.learning import UNSUPERVISED, Learning
from spikecore.api.training.optimizers import Optimizer
from spikecore.api.training.own_loop import OwnLoop
from spikecore.api.training.plastic import check_options, reported
from spikecore.api.training.predict import predictions
from spikecore.api.training.resuming import FitStart, check_resume, keeps_moments
from spikecore.api.training.shards import sharded
from spikecore.api.training.together import Parallel, check_compile, check_memory, compare, ranks_for
from spikecore.api.training.voting import Votes
from spikecore.arguments import ArrayLike, NumpyArray, Size, checked

if TYPE_CHECKING:
    from spikecore.api.core.engine import Executor
    from spikecore.api.core.layer import Shape


def with_targets(method: Any) -> Callable[..., Any]:
    """Decorator of methods that take batches: an array in second place is the keyword ``targets``."""

    @functools.wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        if len(given) > 2 and (hasattr(given[2], "shape") or isinstance(given[2], (list, tuple))):
            given, named = (*given[:2], *given[3:]), {"targets": given[2], **named}
        return method(*given, **named)

    return call


class FitEvaluate(OwnLoop):
    """The methods of ``Model`` that go over whole data."""

    if TYPE_CHECKING:  # of ``Model``
        epochs_done: int
        fit_start: FitStart
        history: History
        metric: Any
        plasticity: Optional[Plasticity]

        def build(self, shape: Shape) -> None: ...
        def holder(
            self, shape: Shape, state: Dict[str, Any], loss: Any, optimizer: Optional[Optimizer], **options: Any
        ) -> Tuple[Executor, Shape]: ...

    @overload
    def fit(
        self,
        data: Iterable[Any],
        loss: Optional[LossFunction] = None,
        optimizer: Optional[Optimizer] = None,
        epochs: Size = 1,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        validation: Optional[Iterable[Any]] = None,
        schedule: Optional[Schedule] = None,
        clip_norm: Optional[float] = None,
        callbacks: Callbacks = (),
        *,
        metric: Optional[Metric] = None,
        window: Optional[int] = None,
        learning: Union[Kind, LearningRule, Plasticity] = "bptt",
        update_every: Optional[int] = None,
        accumulate: Size = 1,
        parallel: Parallel = "data",
        memory: Optional[Bytes] = None,
        compile: bool = False,
        resume: Optional[bool] = None,
        progress: Optional[bool] = None,
        check_finite: bool = True,
    ) -> History: ...
    @overload
    def fit(
        self,
        data: ArrayLike,
        targets: ArrayLike,
        loss: Optional[LossFunction] = None,
        optimizer: Optional[Optimizer] = None,
        epochs: Size = 1,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        validation: Optional[Iterable[Any]] = None,
        schedule: Optional[Schedule] = None,
        clip_norm: Optional[float] = None,
        callbacks: Callbacks = (),
        *,
        batch_size: Optional[Size] = None,
        metric: Optional[Metric] = None,
        window: Optional[int] = None,
        learning: Union[Kind, LearningRule, Plasticity] = "bptt",
        update_every: Optional[int] = None,
        accumulate: Size = 1,
        parallel: Parallel = "data",
        memory: Optional[Bytes] = None,
        compile: bool = False,
        resume: Optional[bool] = None,
        progress: Optional[bool] = None,
        check_finite: bool = True,
    ) -> History: ...
    @with_targets
    @checked
    @isolated
    def fit(
        self,
        data: Iterable[Any],
        loss: Optional[LossFunction] = None,
        optimizer: Optional[Optimizer] = None,
        epochs: Size = 1,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        validation: Optional[Iterable[Any]] = None,
        schedule: Optional[Schedule] = None,
        clip_norm: Optional[float] = None,
        callbacks: Callbacks = (),
        *,
        targets: Optional[ArrayLike] = None,
        batch_size: Optional[Size] = None,
        metric: Optional[Metric] = None,
        window: Optional[int] = None,
        learning: Union[Kind, LearningRule, Plasticity] = "bptt",
        update_every: Optional[int] = None,
        accumulate: Size = 1,
        parallel: Parallel = "data",
        memory: Optional[Bytes] = None,
        compile: bool = False,
        resume: Optional[bool] = None,
        progress: Optional[bool] = None,
        check_finite: bool = True,
    ) -> History:
        """Train the network. Another call continues the training.

        ``fit(x, y, ...)`` takes two arrays with the samples along axis 0. It is short for
        ``fit(Loader(x, y, seed=model.seed), ...)``: the samples are shuffled anew for each epoch, by the model's seed.

        Args:
            data: an iterable of (inputs, targets) batches: ``spikecore.datasets.Loader``, a torch DataLoader, a list;
                or, with ``targets``, the inputs of all samples.
                Batches (inputs, targets, lengths) hold sequences of unequal length, padded at the end: the loss and
                the metrics of sample i use its first lengths[i] steps.
            loss: callable ``(out, targets) -> scalar``, for batches with lengths ``(out, targets, lengths)``; default:
                the loss of the last ``fit``, else ``functional.ce_rate_loss()``.
            optimizer: ``sc.SGD``, ``sc.Adam``, ``sc.AdamW``, ``sc.RMSprop``; default: that of the last ``fit``, else
                ``Adam(lr=5e-4)``. If it is of the same kind as that of the last ``fit``, and trains no parameter that
                was frozen there, its moments go on, whatever else has changed; else they start at zero.
            epochs: how many more times to go through ``data``; default 1.
            num_steps: number of time steps of inputs (batch, *features), which are a constant current or are encoded.
            encoder: converts (batch, *features) to (time, batch, *features), e.g. ``spikegen.rate``; without
                ``num_steps`` also sequences to sequences, e.g. ``spikegen.delta``. It may change the features' shape.
            time_axis: the time axis of inputs that have one, and of targets that vary in time
                (``mse_membrane_loss(time_var_targets=True)``); your own loss functions get the targets unchanged.
            validation: batches to evaluate after each epoch, or a pair (x, y) as ``fit(x, y)`` takes it.
            schedule: ``(epoch, epochs) -> factor`` of the learning rate, e.g. ``schedule.cosine()``. It counts the
                epochs of this ``fit``, from 0, so that each ``fit`` begins it anew, unless it resumes another. One with
                ``each`` = "step" is asked before each update, with a number such as 2.25 for the epoch, so ``data``
                needs a length; the history then has the rate of an epoch's last update.
            clip_norm: largest norm of the whole gradient, > 0; None, the default, does not clip.
            callbacks: each is called as ``callback(model, row)`` after an epoch; if one returns True, training ends. A
                callback with a method ``after_step(model, step)`` is told of each update of the weights, see
                ``sc.Step``; if it returns True, training ends there, and ``resume=True`` goes on with the next batch.
            targets: the targets of all samples, if ``data`` is an array; ``fit(x, y)`` is ``fit(x, targets=y)``.
            batch_size: number of samples in a batch of arrays; default 64.
            metric: what to report besides the loss: a name ("accuracy_rate", "accuracy_temporal",
                "accuracy_membrane", "label_error_rate"; "rate", the spikes per step of a neuron of the last layer), a
                function ``(out, targets) -> number``, a list of these, or a dict of these by column. Default:
                "accuracy", decoded as the loss decodes, if it compares with labels.
            window: truncated BPTT: no gradient crosses the steps window, 2 window, ...
            learning: "bptt" (the default), backwards through time; or forward in time, with memory that does not depend
                on the number of steps: "eprop", "ostl", "ottt", "ndot", "sltt", "decolle", "rtrl", or a rule with
                options, such as ``backprop.eprop(feedback="random")``; docs/learning.md compares them. Or by local
                rules, ``plasticity.Plasticity``: then targets may be left out, ``fit(x, learning=...)``. The rules have
                the learning rates, which a schedule scales; there is no optimiser. A loss is reported if it is given,
                and by default the metric is "rate", the spikes per step of a neuron of the last layer.
            update_every: update the weights every so many steps instead of once per batch (with "bptt": snnTorch's
                TBPTT). The loss is that of each part; states are passed on without gradient; dropout masks are redrawn.
            accumulate: how many batches make one update of the weights, by the mean gradient of all their samples: like
                batches that are so many times larger, in the memory of one. Batch normalisation takes its statistics
                from each batch. Default 1.
            parallel: "data", the default: in a process group of torch.distributed each process takes its part of every
                batch, as docs/parallel.md describes; without a group, this process trains alone. "fsdp": like "data",
                but each process keeps only its part of weights, gradients and moments, and gathers a layer's weights
                when it computes this layer; until the next ``fit``, all processes must make the same calls of the
                model. "none": this process trains alone in any case.
            memory: how much memory a training step may take, e.g. "512MB", "8GB", or a number of bytes; None, the
                default: as much as it needs. It counts weights, gradients, the optimiser's slots, the batch and all
                that is computed between, not the program and the data set. Before the first step the peak is computed
                from shapes. Where it is too high, groups of layers or steps are computed again, or the batch goes in
                parts; the gradient stays that of the whole batch. For the torch engine; see docs/memory.md.
            compile: whether neighbouring layers without state, such as convolution, normalisation and pooling, go
                through ``torch.compile`` in training; default False. Results are the same up to rounding, and draws are
                the same. For the torch engine with a C++ compiler; see docs/memory.md.
            resume: True continues the last fit of this model or of the file it was loaded from, after Ctrl-C with the
                next batch. ``epochs`` then includes those that this fit has done already, so that the same call with
                ``resume=True`` ends what was interrupted, and the optimiser must equal the one so far. The result is
                bit-identical to an uninterrupted run if the batches of epoch e depend on e alone, as those of a
                ``Loader`` or a list do. False resets the optimiser's moments.
            progress: True or False forces a progress bar over all epochs on or off; it has the epoch, the loss, the
                metrics and the time left, and needs tqdm. None, the default, shows one on a terminal and in a notebook.
            check_finite: whether NaN and infinity in inputs are refused, and a loss or a weight that is not finite ends
                training.

        Returns:
            the history, a list with one dict per epoch.

        Raises:
            ShapeError, ValueError, TypeError: bad input; the message names argument, axis, index and layer.
            RankError: processes that train together differ or cannot go on; the message names the rank.
            DivergedError: the loss of a batch, or a weight at the end of an epoch, is NaN or infinite; the message says
                in which layer and at which time step it begins. On engines whose weights are on the host's side, the
                weights are those before this batch.

        Warns:
            TrainingWarning: the network has no neurons, inputs look like pixels of 0 to 255 or make currents far above
                the first threshold, the validation samples are all of one class or of one that is not trained on, a
                layer never fires or always fires, or gradients vanish or explode. Some samples of one batch are looked
                at after the first epoch, from ten epochs on also after the last; the training itself stays the same.
        """
        given_loss, given_optimizer, plastic = loss, optimizer, isinstance(learning, Plasticity)
        loss, optimizer = self._with_defaults(loss, optimizer)
        told_loss, told_metric = loss, metric  # what the history tells
        if plastic:
            check_options(given_optimizer, clip_norm, compile)
            told_loss, told_metric = reported(given_loss, metric)
        metrics, epochs = metrics_of(told_metric, told_loss), whole_number("epochs", epochs, 1)
        accumulate = whole_number("accumulate", accumulate, 1)
        feed, way = Feed(num_steps, encoder, time_axis, check_finite), Learning(learning, update_every)
        data = self._batches(data, targets, feed, batch_size, shuffle=True, unlabelled=plastic)
        if are_arrays(validation):
            x, y = validation  # type: ignore[misc]
            validation = self._batches(x, y, feed, batch_size)
        ranks = ranks_for(self.engine, parallel)
        check_memory(parallel, memory)
        check_compile(self.engine, compile, parallel, memory)
        if self._executor is None:
            self.build(first_sample_shape(self.engine, self.seed, data, feed, told_loss))
        way.check(self.engine, self.executor, told_loss, window, accumulate, ranks.size)
        own: Any = {"record": "last"} if needs_membrane(metrics) and "last" not in recorded_for(loss) else {}
        own.update({"ranks": ranks} if ranks.size > 1 else {})
        own.update({"divides": True} if ranks.size > 1 and parallel == "fsdp" else {})
        own.update({"compiles": True} if compile else {})
        own.update({} if memory is None else budget_of(self.engine, way, memory, accumulate))
        self._compile(loss, optimizer, resume, clip_norm=clip_norm, window=window, **own)
        self.metric, self.plasticity, self.time_axis = metric, way.plasticity, time_axis
        start = self.fit_start if resume else FitStart(self.epochs_done, self.executor.steps_done)
        named = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "schedule": schedule, "clip_norm": clip_norm}
        named.update(num_steps=num_steps, encoder=encoder, time_axis=time_axis, metric=metric, window=window)
        named.update(parallel=parallel, compile=compile)
        compare(self, ranks, data, validation, **named, accumulate=accumulate, check_finite=check_finite, resume=resume)
        data, validation = ranks.alike(lambda: (sharded(data, ranks), sharded(validation, ranks, empty=True)))
        options: Any = {"learning": way, "window": window, "accumulate": accumulate, "ranks": ranks}
        base_lr, total = 1.0 if plastic else optimizer.lr, start.epochs + epochs
        training = Training(
            self, data, told_loss, metrics, feed, total, base_lr, schedule, validation, callbacks, progress, **options
        )
        self.fit_start = start
        return training.run()

    def _batches(
        self,
        data: Any,
        targets: Any,
        feed: Feed,
        batch_size: Optional[int],
        shuffle: bool = False,
        unlabelled: bool = False,
    ) -> Any:
        if targets is not None or unlabelled and hasattr(data, "shape"):
            return batches_of(data, targets, feed, batch_size, self.seed, shuffle)
        if batch_size is not None:
            raise TypeError(
                f"batch_size={batch_size} is for two arrays, (x, y, batch_size={batch_size}); data={shown(data)} "
                f"brings its own batches: write spikecore.datasets.Loader(x, y, batch_size={batch_size})"
            )
        return data

    def _compile(self, loss: Any, optimizer: Any, resume: Optional[bool], **options: Any) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer={shown(optimizer)} must be a spikecore optimiser, e.g. sc.Adam(lr=1e-3)")
        state = self.executor.state()
        if resume:
            check_resume(self.unfinished, self.optimizer, optimizer)
        else:
            self.unfinished, state["lr"] = None, optimizer.lr
        if resume is False or not keeps_moments(self.optimizer, optimizer, state["params"]):
            state.update(optimizer={}, step=0, scaler=None)
            self.fit_start = self.fit_start._replace(updates=0)
        trained = optimizer.by_name(state["params"])
        frozen = [name for name, spec in trained.items() if spec is None]
        slots = {name: x for name, x in state["optimizer"].items() if name.rpartition(".")[0] not in frozen}
        state["optimizer"] = slots
        shape: Any = self.input_shape  # not None, since there are weights
        executor, _ = self.holder(shape, state, loss, optimizer, **options)
        self.executor.close()
        self._executor, self.optimizer, self.loss = executor, optimizer, loss
        self.compiled = {"record": (), **options, "loss": loss, "optimizer": optimizer}

    @overload
    def evaluate(
        self,
        data: Iterable[Any],
        loss: Optional[LossFunction] = None,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        metric: Optional[Metric] = None,
        parallel: Parallel = "none",
        progress: Optional[bool] = None,
    ) -> Row: ...
    @overload
    def evaluate(
        self,
        data: ArrayLike,
        targets: ArrayLike,
        loss: Optional[LossFunction] = None,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        batch_size: Optional[Size] = None,
        metric: Optional[Metric] = None,
        parallel: Parallel = "none",
        progress: Optional[bool] = None,
    ) -> Row: ...
    @with_targets
    @checked
    @isolated
    def evaluate(
        self,
        data: Iterable[Any],
        loss: Optional[LossFunction] = None,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        targets: Optional[ArrayLike] = None,
        batch_size: Optional[Size] = None,
        metric: Optional[Metric] = None,
        parallel: Parallel = "none",
        progress: Optional[bool] = None,
    ) -> Row:
        """Compute the mean loss and metrics over all batches, without training.

        Args:
            data, targets, batch_size, num_steps, encoder, time_axis: as in ``fit``.
            loss: as in ``fit``; default: that of the last ``fit``, else ``functional.ce_rate_loss()``; none if neurons
                vote for classes (``metric=votes_of(...)``), since outputs then are no classes.
            metric: as in ``fit``; default: that of the last ``fit`` if ``loss`` is left out, too.
            parallel: "none", the default: this process evaluates all samples, so that one process of a group can
                evaluate by itself. "data": each process of a group takes its part of every batch, and all get the
                means over all samples; all processes must call it. "fsdp" is the same.
            progress: True or False forces a progress bar on or off; None shows one on a terminal and in a notebook.

        Returns:
            {"loss": ..., "accuracy": ...}, or the columns of ``metric``; {"loss": ...} alone for your own functions.
        """
        given_loss = loss
        if loss is None:
            metric = self.metric if metric is None else metric
            loss = self._last_loss()
        metrics = metrics_of(metric, loss)
        if given_loss is None and any(isinstance(one, Votes) for one in metrics.values()):
            loss = UNSUPERVISED
        feed = Feed(num_steps, encoder, time_axis)
        data = self._batches(data, targets, feed, batch_size)
        ranks = ranks_for(self.engine, parallel)
        data = ranks.alike(lambda: sharded(data, ranks, empty=True))
        return evaluate(self, data, loss, metrics, feed, progress, ranks).row()

    @checked
    @isolated
    def predict(
        self,
        x: Input,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        loss: Optional[LossFunction] = None,
        lengths: Optional[ArrayLike] = None,
        batch_size: Size = 256,
    ) -> NumpyArray:
        """The class that the model predicts for each sample.

        It is decoded as the loss decodes: the class for which the loss would be smallest. That is the class with most
        spikes for losses of rates, the highest membrane for losses of membranes, the first spike for temporal losses.

        Args:
            x: the samples, as for a call or ``fit``: (batch, *features) with ``num_steps`` or an encoder, else (time,
                batch, *features); with time_axis=1 also a list of sequences (time, *features) of unequal length.
            num_steps, encoder, time_axis: as in ``fit``.
            loss: by whose decoder; default: the loss of the last ``fit``, else ``functional.ce_rate_loss()``. Files do
                not hold a loss, so a loaded model needs it unless it counts spikes.
            lengths: how many steps of each sample count, (batch,); None, the default: all.
            batch_size: how many samples to compute at a time, which bounds the memory; default 256.

        Returns:
            Labels (batch,), a NumPy array of int64.

        Raises:
            TypeError: the loss compares with no class labels, as in regression; the message says what to read instead.
            ShapeError, ValueError: bad input, as in ``fit``.

        Warns:
            TrainingWarning: ``fit`` was given a ``time_axis``, and here it is left out.

        Example:
            >>> model.predict(x, num_steps=25)   # x (4, 64)
            array([3, 1, 0, 7])
        """
        loss = self._last_loss() if loss is None else loss
        return predictions(self, x, loss, Feed(num_steps, encoder, time_axis), lengths, batch_size)
