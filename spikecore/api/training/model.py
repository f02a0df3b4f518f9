"""``Model``: a network with weights on an engine. Call it, train it, save it, move it to another engine."""

from __future__ import annotations

import functools
from copy import copy
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
    overload,
)

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.engines import EngineName, get_engine
from spikecore.api.core.foreign import no_layer, shown
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key, Layer, Shape, shapes_of
from spikecore.api.core.sizes import sample_shape, whole_number
from spikecore.api.core.stream import Stream
from spikecore.api.core.tree import Tree
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.functional.metrics import Metric, metrics_of, needs_membrane
from spikecore.api.layers.containers import check_engine, walk
from spikecore.api.layers.network import Output
from spikecore.api.layers.summary import rows_of
from spikecore.api.training.batching import Encoder, Feed, Input
from spikecore.api.training.budgets import Bytes, budget_of
from spikecore.api.training.callbacks import Callbacks
from spikecore.api.training.checkpoint import save
from spikecore.api.training.data import are_arrays, batches_of, first_sample_shape
from spikecore.api.training.elsewhere import no_attribute
from spikecore.api.training.evaluate import Average, evaluate
from spikecore.api.training.executor import complete_state, fitting, recorded_for
from spikecore.api.training.fit import Schedule, Training
from spikecore.api.training.history import History, Row
from spikecore.api.training.learning import Kind, Learning
from spikecore.api.training.optimizers import Adam, Optimizer
from spikecore.api.training.own_loop import OwnLoop
from spikecore.api.training.predict import predictions
from spikecore.api.training.resuming import check_resume, keeps_moments
from spikecore.api.training.shards import sharded
from spikecore.api.training.stream import EventStream, samples_of, stream_of
from spikecore.api.training.together import Parallel, compare, ranks_for
from spikecore.arguments import ArrayLike, HostArray, PathLike, Record, Size, Sizes, checked
from spikecore.printing import Text, call, columns, table

PARTS = ("params", "buffers", "optimizer", "step", "lr")  # of a state; the first three are arrays by name


def with_targets(method: Any) -> Callable[..., Any]:
    """Decorator of methods that take batches: an array in second place is the keyword ``targets``."""

    @functools.wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        if len(given) > 2 and (hasattr(given[2], "shape") or isinstance(given[2], (list, tuple))):
            given, named = (*given[:2], *given[3:]), {"targets": given[2], **named}
        return method(*given, **named)

    return call


class Model(OwnLoop):
    """A network with its weights on an engine.

    Args:
        network: a layer, mostly a ``Sequential``.
        engine: an Engine or its name; None (the default) means ``$SPIKECORE_ENGINE``, or "numpy" if that is unset.
        seed: seed of all random numbers: initial weights, dropout, encoders. Equal seeds give equal numbers on every
            engine; default 0.
        input_shape: shape of one sample, without time and batch; an int n means (n,). None, the default: the first
            layer determines it, or the first call.
        **options: passed to the engine if it is given by name, e.g. ``dtype="float64"``, ``device="cuda"``.

    Attributes:
        history: a list with one dict per trained epoch: epoch, loss, accuracy or other metrics, val_loss, val_accuracy,
            lr, seconds, samples_per_s. It prints as a table.

    Example:
        >>> net = sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.9))
        >>> model = sc.Model(net, engine="torch", seed=0)
        >>> out = model(x, num_steps=25)         # x (batch, 64), repeated at each of 25 steps
        >>> out.spikes                           # (25, batch, 10)
    """

    @checked
    def __init__(
        self,
        network: Layer,
        engine: Union[None, EngineName, Engine] = None,
        seed: int = 0,
        *,
        input_shape: Optional[Sizes] = None,
        **options: Any,
    ) -> None:
        if not isinstance(network, Layer):
            raise TypeError(
                f"network={shown(network)} is not a spikecore layer, e.g. sc.Sequential(sc.Linear(...), sc.Leaky())"
                f"{no_layer(network)}"
            )
        self._begin(network, get_engine(engine, **options), whole_number("seed", seed))
        shape = sample_shape("input_shape", input_shape) if input_shape is not None else network.input_shape
        if shape is not None:
            self.build(shape)

    def _begin(self, network: Layer, engine: Engine, seed: int) -> None:
        check_engine(network, engine)
        self.network, self.engine, self.seed = network, engine, seed
        self.history = History()
        self.epochs_done = 0
        self.unfinished: Optional[Average] = None
        self.optimizer: Optional[Optimizer] = None
        self.loss: Any = None
        self.metric: Any = None
        self.compiled: Optional[Dict[str, Any]] = None  # options of the executor, if it trains
        self.input_shape: Optional[Shape] = None
        self.output_shape: Shape = ()
        self._executor: Optional[Executor] = None

    @classmethod
    def holding(
        cls,
        network: Layer,
        engine: Engine,
        seed: int,
        shape: Shape,
        state: Dict[str, Any],
        optimizer: Optional[Optimizer] = None,
    ) -> Model:
        """A model for samples of ``shape`` with the weights and the training state in ``state``.

        Raises:
            ShapeError: the network does not take samples of this shape.
            ValueError, KeyError: the state belongs to another network or optimiser.
        """
        model = cls.__new__(cls)
        model._begin(network, engine, seed)
        model._executor, model.output_shape = model.holder(shape, state, None, optimizer)
        model.input_shape, model.optimizer = shape, optimizer
        return model

    def holder(
        self, shape: Shape, state: Dict[str, Any], loss: Any, optimizer: Optional[Optimizer], **options: Any
    ) -> Tuple[Executor, Shape]:
        """An executor with the weights and training state in ``state``, and the shape of one sample of the output."""
        like = shapes_of(self.network, shape)
        params, buffers = (fitting(part, state[part], getattr(like, part)) for part in ("params", "buffers"))
        with self.engine.isolated():
            executor = self.engine.compile(self.network, params, buffers, loss, optimizer, **options)
            executor.load(state)
        return executor, like.shape

    # ---- weights ----

    @isolated
    def build(self, shape: Shape) -> None:
        """Draw initial weights for samples of ``shape``; if there are weights already, do nothing.

        Raises:
            ShapeError: the network does not take samples of this shape.
        """
        if self._executor is None:
            init = self.network.init(Key((self.seed, "init")), tuple(shape))
            self._executor = self.engine.compile(self.network, init.params, init.buffers, None, None)
            self.input_shape, self.output_shape = tuple(shape), init.shape

    @property
    def executor(self) -> Executor:
        """The executor that holds the weights.

        Raises:
            RuntimeError: there are no weights yet, since the shape of a sample is not known.
        """
        if self._executor is None:
            raise RuntimeError("the model has no weights yet: pass input_shape=(...) to Model, or call it on data once")
        return self._executor

    @property
    def classes(self) -> int:
        """Size of the last axis of the output."""
        return self.output_shape[-1] if self.output_shape else 1

    def params(self) -> Dict[str, Any]:
        """Copies of all parameters as NumPy arrays by name, e.g. "0.weight"."""
        return self.executor.weights()

    def state(self) -> Dict[str, Any]:
        """Everything that training changes: params, buffers, optimiser slots, step count, learning rate."""
        return self.executor.state()

    @checked
    @isolated
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned; arrays may be tensors. An untrained model ignores optimiser slots.

        Raises:
            ValueError, KeyError: an array is missing, unknown, or of another shape or dtype; nothing is replaced.
        """
        self.executor.load(complete_state(state))
        self.unfinished = None

    # ---- running ----

    @checked
    def __call__(
        self, x: Input, num_steps: Optional[Size] = None, state: Optional[Tree] = None, record: Record = "last"
    ) -> Output:
        """Run the network without training.

        Args:
            x: (time, batch, *features); with ``num_steps`` (batch, *features), a current that is constant in time.
            num_steps: number of steps of a constant input.
            state: ``out.state`` of an earlier call, to continue its sequence; None, the default, starts at rest.
            record: whose states to return over time: "last" (the default), names of layers, True (all) or False (none).

        Returns:
            ``Output``: spikes (time, batch, *features), states by layer, state after the last step.

        Raises:
            ShapeError, ValueError: the input has a wrong shape, is empty or not finite.
        """
        return self._run(Feed(num_steps), x, state, record)

    @isolated
    def _run(self, feed: Feed, x: Any, state: Optional[Tree], record: Record) -> Output:
        if state is not None and not isinstance(state, Mapping):
            raise TypeError(f"state={shown(state)} must be the state that an earlier call returned, out.state")
        values, steps = feed(self.engine, x, self.input_shape, Key((self.seed, "call")))
        self.build(tuple(values.shape[2:]))
        out = self.executor.run(values, state, steps=steps, record=record)
        if out.readout is not None:
            return out
        return replace(out, spikes=self.engine.xp.concat((out.spikes,), axis=0))  # it may be a view of x

    @checked
    @isolated
    def stream(self, batch_size: Size = 1, record: Record = "last") -> Stream:
        """Run the network one time step per call, for control loops and live input.

        The stream has copies of the parameters as they are now: after further training, make another one. On the NumPy
        engine a step is compiled for most networks, and a call takes a few microseconds; ``stream.explain()`` says so.

        Args:
            batch_size: samples of each step; default 1.
            record: whose states ``stream.states`` returns after each step; as in ``model(x)``. ``stream.state`` has all
                that pass from step to step in any case.

        Returns:
            ``Stream``: ``step(x)`` takes (batch_size, *features) and returns the output of that step; ``reset()``,
            ``state``, ``states``, ``explain()``.

        Raises:
            RuntimeError: the model has no weights yet.
            ShapeError: a layer needs whole sequences, such as ``BatchNormTT1d``.
        """
        shape: Any = self.input_shape  # not None, since there are weights
        return stream_of(self.network, self.engine, self.executor, shape, batch_size, record)

    @checked
    @isolated
    def run_events(
        self,
        events: Union[EventStream, Sequence[EventStream], ArrayLike],
        *,
        window: Optional[Size] = None,
        num_steps: Optional[Size] = None,
        start: Optional[int] = None,
    ) -> Output:
        """Run the network on events: the work grows with the spikes, not with neurons times steps.

        The spikes are those of ``model(x)`` on the frames of ``ToFrames(window=window, steps=num_steps, start=start)``.
        It runs on the NumPy engine, for networks whose streams are compiled (``model.stream().explain()``). For a
        recording that arrives in pieces, use ``model.stream().run_events(...)``, which goes on where it ended.

        Args:
            events: ``Events``; a list of them, one per sample; or a sequence (time, batch, *features), mostly zeros.
            window: length of a time step in microseconds; needed for ``Events``.
            num_steps: number of steps; later events are left out. None, the default: as many as the longest needs.
            start: time in microseconds at which the first step begins; None, the default: at each sample's first event.

        Returns:
            ``Output``: spikes (time, batch, *features) and the state after the last step. No states are recorded.

        Raises:
            ShapeError: the events' frames do not fit the first layer.
            ValueError: ``window`` is missing, or is given for an array; or the array is not finite.
            TypeError: ``events`` is something else.
            NotImplementedError: another engine, or a network that has no compiled stream; says why.
        """
        samples, shape = samples_of(events)
        self.build(shape)
        built: Any = self.input_shape  # not None, since there are weights
        options = {"window": window, "num_steps": num_steps, "start": start}
        out: Output = self.executor.run_events(events, built, samples, **options)
        return out

    # ---- training ----

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
        learning: Kind = "bptt",
        update_every: Optional[int] = None,
        accumulate: Size = 1,
        parallel: Parallel = "data",
        memory: Optional[Bytes] = None,
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
        learning: Kind = "bptt",
        update_every: Optional[int] = None,
        accumulate: Size = 1,
        parallel: Parallel = "data",
        memory: Optional[Bytes] = None,
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
        learning: Kind = "bptt",
        update_every: Optional[int] = None,
        accumulate: Size = 1,
        parallel: Parallel = "data",
        memory: Optional[Bytes] = None,
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
            schedule: ``(epoch, epochs) -> factor`` of the learning rate, e.g. ``schedule.cosine()``. One with ``each``
                = "step" is asked before each update, with a number such as 2.25 for the epoch, so ``data`` needs a
                length; the history then has the rate of an epoch's last update.
            clip_norm: largest norm of the whole gradient, > 0; None, the default, does not clip.
            callbacks: each is called as ``callback(model, row)`` after an epoch; if one returns True, training ends. A
                callback with a method ``after_step(model, step)`` is told of each update of the weights, see
                ``sc.Step``; if it returns True, training ends there, and ``resume=True`` goes on with the next batch.
            targets: the targets of all samples, if ``data`` is an array; ``fit(x, y)`` is ``fit(x, targets=y)``.
            batch_size: number of samples in a batch of arrays; default 64.
            metric: what to report besides the loss: a name ("accuracy_rate", "accuracy_temporal" or
                "accuracy_membrane"), a function ``(out, targets) -> number``, a list of these, or a dict of these by
                column of the history. Default: "accuracy", decoded as the loss decodes, if it compares with labels.
            window: truncated BPTT: no gradient crosses the steps window, 2 window, ...
            learning: "bptt" (the default), backwards through time; or forward in time, with memory that does not depend
                on the number of steps: "eprop", "ottt" (see ``backprop.online``) or "rtrl" (``backprop.rtrl``).
            update_every: update the weights every so many steps instead of once per batch (with "bptt": snnTorch's
                TBPTT). The loss is that of each part; states are passed on without gradient; dropout masks are redrawn.
            accumulate: how many batches make one update of the weights, by the mean gradient of all their samples: like
                batches that are so many times larger, in the memory of one. Batch normalisation takes its statistics
                from each batch. Default 1.
            parallel: "data", the default: in a process group of torch.distributed each process takes its part of every
                batch, as docs/parallel.md describes; without a group, this process trains alone. "none": this process
                trains alone in any case.
            memory: how much memory a training step may take, e.g. "512MB", "8GB", or a number of bytes; None, the
                default: as much as it needs. It counts weights, gradients, the optimiser's slots, the batch and all
                that is computed between, not the program and the data set. Before the first step the peak is computed
                from shapes. Where it is too high, groups of layers or steps are computed again, or the batch goes in
                parts; the gradient stays that of the whole batch. For the torch engine; see docs/memory.md.
            resume: True continues an interrupted fit of this model or of the file it was loaded from, after Ctrl-C with
                the next batch. ``epochs`` then includes the epochs already done, and the optimiser must equal the one
                so far. The result is bit-identical to an uninterrupted run if the batches of epoch e depend on e alone,
                as those of a ``Loader`` or a list do. False resets the optimiser's moments.
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
            TrainingWarning: the network has no neurons, inputs look like pixels of 0 to 255, a layer never fires or
                always fires, or gradients vanish or explode. Some samples of one batch are looked at after the first
                epoch, from ten epochs on also after the last; the training itself stays the same.
        """
        if loss is None:
            loss = ce_rate_loss() if self.loss is None else self.loss
        if optimizer is None:
            optimizer = Adam(lr=5e-4) if self.optimizer is None else self.optimizer
        if not callable(loss) or isinstance(loss, type):
            raise TypeError(
                f"loss={loss!r} must be a callable (out, targets), e.g. spikecore.functional.ce_rate_loss()"
            )
        metrics, epochs = metrics_of(metric, loss), whole_number("epochs", epochs, 1)
        accumulate = whole_number("accumulate", accumulate, 1)
        feed, way = Feed(num_steps, encoder, time_axis, check_finite), Learning(learning, update_every)
        data = self._batches(data, targets, feed, batch_size, shuffle=True)
        if are_arrays(validation):
            x, y = validation  # type: ignore[misc]
            validation = self._batches(x, y, feed, batch_size)
        ranks = ranks_for(self.engine, parallel)
        if self._executor is None:
            self.build(first_sample_shape(self.engine, self.seed, data, feed, loss))
        way.check(self.engine, self.executor, loss, window, accumulate, ranks.size)
        own: Any = {"record": "last"} if needs_membrane(metrics) and not recorded_for(loss) else {}
        own.update({"ranks": ranks} if ranks.size > 1 else {})
        own.update({} if memory is None else budget_of(self.engine, way, memory, accumulate))
        self._compile(loss, optimizer, resume, clip_norm=clip_norm, window=window, **own)
        self.metric = metric
        total = epochs if resume else self.epochs_done + epochs
        named = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "schedule": schedule, "clip_norm": clip_norm}
        named.update(num_steps=num_steps, encoder=encoder, time_axis=time_axis, metric=metric, window=window)
        compare(self, ranks, data, validation, **named, accumulate=accumulate, check_finite=check_finite, resume=resume)
        data, validation = ranks.alike(lambda: (sharded(data, ranks), sharded(validation, ranks, empty=True)))
        options: Any = {"learning": way, "window": window, "accumulate": accumulate, "ranks": ranks}
        return Training(
            self, data, loss, metrics, feed, total, optimizer.lr, schedule, validation, callbacks, progress, **options
        ).run()

    def _batches(self, data: Any, targets: Any, feed: Feed, batch_size: Optional[int], shuffle: bool = False) -> Any:
        if targets is not None:
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
            loss: as in ``fit``; default: that of the last ``fit``, else ``functional.ce_rate_loss()``.
            metric: as in ``fit``; default: that of the last ``fit`` if ``loss`` is left out, too.
            parallel: "none", the default: this process evaluates all samples, so that one process of a group can
                evaluate by itself. "data": each process of a group takes its part of every batch, and all get the
                means over all samples; all processes must call it.
            progress: True or False forces a progress bar on or off; None shows one on a terminal and in a notebook.

        Returns:
            {"loss": ..., "accuracy": ...}, or the columns of ``metric``; {"loss": ...} alone for your own functions.
        """
        if loss is None:
            metric = self.metric if metric is None else metric
            loss = ce_rate_loss() if self.loss is None else self.loss
        feed = Feed(num_steps, encoder, time_axis)
        data = self._batches(data, targets, feed, batch_size)
        ranks = ranks_for(self.engine, parallel)
        data = ranks.alike(lambda: sharded(data, ranks, empty=True))
        return evaluate(self, data, loss, metrics_of(metric, loss), feed, progress, ranks).row()

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
    ) -> HostArray:
        """The class that the model predicts for each sample.

        It is decoded as the loss decodes: the class for which the loss would be smallest. That is the class with most
        spikes for losses of rates, the highest membrane for losses of membranes, the first spike for temporal losses.

        Args:
            x: the samples, as for a call or ``fit``: (batch, *features) with ``num_steps`` or an encoder, else (time,
                batch, *features).
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

        Example:
            >>> model.predict(x, num_steps=25)   # x (4, 64)
            array([3, 1, 0, 7])
        """
        if loss is None:
            loss = ce_rate_loss() if self.loss is None else self.loss
        return predictions(self, x, loss, Feed(num_steps, encoder, time_axis), lengths, batch_size)

    # ---- copies, files, text ----

    @checked
    def to_engine(self, engine: Union[EngineName, Engine], **options: Any) -> Model:
        """A copy of the model on another engine, with its weights and training state.

        Args:
            engine: an Engine or its name; with a name, the dtype stays unless ``dtype`` is among the options.
            **options: passed to the engine.
        """
        if not isinstance(engine, Engine):
            options.setdefault("dtype", self.engine.dtype)
        engine = get_engine(engine, **options)
        if self._executor is None:
            other = Model(self.network, engine, self.seed, input_shape=self.input_shape)
        else:
            shape: Any = self.input_shape  # not None, since there are weights
            other = Model.holding(self.network, engine, self.seed, shape, self.state(), self.optimizer)
        other.history, other.epochs_done = History(dict(row) for row in self.history), self.epochs_done
        other.loss, other.metric, other.unfinished = self.loss, self.metric, copy(self.unfinished)
        return other

    def __getstate__(self) -> Dict[str, Any]:
        """What goes into a pickle, and so to another process: the weights as NumPy arrays, not the executor."""
        weights = None if self._executor is None else self.state()
        return {**vars(self), "_executor": weights, "compiled": None}

    def __setstate__(self, kept: Dict[str, Any]) -> None:
        weights = kept["_executor"]
        own = {"history": History(dict(row) for row in kept["history"]), "unfinished": copy(kept["unfinished"])}
        vars(self).update(kept, _executor=None, **own)
        if weights is not None:
            shape: Any = self.input_shape  # not None, since there are weights
            self._executor, _ = self.holder(shape, weights, None, self.optimizer)

    @checked
    def save(self, path: PathLike, *, check_finite: bool = True) -> None:
        """Write the model to one file: architecture as JSON, arrays as safetensors. See ``spikecore.load``.

        The file replaces an older one in a single step: if the process dies meanwhile, the old file stays complete. The
        mode of the file stays; a new file gets its mode from the umask. Symbolic links are followed and stay.

        Args:
            path: the file.
            check_finite: whether weights that are NaN or infinite are refused, so that they do not replace good ones.

        Raises:
            OSError: the path is a folder, a device or a pipe, the file is write-protected, or the disk is full.
            DivergedError: weights or optimiser slots hold NaN or infinity.
            TypeError: a layer or a row of the history cannot be written, or could not be read again.
        """
        save(self, path, check_finite)

    def summary(self) -> str:
        """A table of the layers with output shapes and numbers of parameters."""
        rows, head = rows_of(self.network, self.input_shape or (), self._counts())
        return Text(columns([head, *rows], left=len(head)))

    if not TYPE_CHECKING:  # type checkers are to refuse such names

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(no_attribute("Model", name, dir(type(self))))

    def __repr__(self) -> str:
        return call("Model", [repr(self.network), f"{self._size()} parameters", repr(self.engine)])

    def _repr_html_(self) -> str:
        title = f"Model: {self._size()} parameters, {self.engine!r}, {self.epochs_done} epochs trained"
        if self._executor is None:
            return table(title, [(name, repr(layer)) for name, layer in walk(self.network)], ("layer", "kind"))
        return table(title, *rows_of(self.network, self.input_shape or (), self._counts()))

    def _counts(self) -> Dict[str, int]:
        """The number of entries of each parameter."""
        return {name: x.size for name, x in self.params().items()}

    def _size(self) -> str:
        return f"{sum(self._counts().values()):,}" if self._executor is not None else "unbuilt"
