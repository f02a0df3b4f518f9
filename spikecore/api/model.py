"""A network with weights on an engine: call it, train it, save it, move it to another engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Dict, Iterable, List, Optional, Tuple, Union

from spikecore.api.backprop.fitting import Learning
from spikecore.api.containers import check_engine
from spikecore.api.engine import Engine, Executor, get_engine
from spikecore.api.executor import fitting, recorded_for
from spikecore.api.feed import Encoder, Feed, check_count
from spikecore.api.foreign import no_layer, shown
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.functional.metrics import metrics_of, needs_membrane
from spikecore.api.isolation import isolated
from spikecore.api.layer import Key, Layer, Shape, layer_name, shapes_of
from spikecore.api.network import Output
from spikecore.api.optim import Adam, Optimizer
from spikecore.api.sizes import sample_shape, whole_number
from spikecore.api.summary import table
from spikecore.api.training import (
    Average,
    Callback,
    Row,
    Schedule,
    Training,
    batches,
    check_batches,
    evaluate,
    same_training,
)
from spikecore.api.tree import Tree, flatten
from spikecore.arguments import PathLike, Size, checked

Record = Union[bool, str, Tuple[str, ...]]
PARTS = ("params", "buffers", "optimizer", "step", "lr")  # of a state; the first three are arrays by name


class Model:
    """A network, its weights, and the engine they live on.

    Args:
        network: a layer, mostly a ``Sequential``.
        engine: an Engine or the name of one; None means ``$SPIKECORE_ENGINE``, and if that is unset "numpy".
        seed: names all random draws: first weights, dropout, encoders. Equal seeds draw equally on every engine.
        input_shape: shape of one sample, without time and batch; a number n stands for (n,). Usually found out: from
            the first layer, or at the first call.
        **options: passed to the engine if it is given by name, e.g. ``dtype="float64"``, ``device="cuda"``.

    Attributes:
        history: one dict per epoch trained: epoch, loss, accuracy or other metrics, val_loss, val_accuracy, lr,
            seconds, samples_per_s.

    Example:
        >>> net = sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.9))
        >>> model = sc.Model(net, engine="torch", seed=0)
        >>> out = model(x, num_steps=25)         # x (batch, 64), the same at each of 25 steps
        >>> out.spikes                           # (25, batch, 10)
    """

    @checked
    def __init__(
        self,
        network: Layer,
        engine: Union[None, str, Engine] = None,
        seed: int = 0,
        *,
        input_shape: Union[None, int, Shape] = None,
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
        self.history: List[Row] = []
        self.epochs_done = 0
        self.unfinished: Optional[Average] = None
        self.optimizer: Optional[Optimizer] = None
        self.loss: Any = None
        self.metric: Any = None
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
        """A model for samples of ``shape`` with the weights and the training state of ``state``; none are drawn.

        Raises:
            ShapeError: the network does not take such samples.
            ValueError, KeyError: the state is that of another network or optimiser.
        """
        made = cls.__new__(cls)
        made._begin(network, engine, seed)
        made._executor, made.output_shape = made._holder(shape, state, None, optimizer)
        made.input_shape, made.optimizer = shape, optimizer
        return made

    def _holder(
        self, shape: Shape, state: Dict[str, Any], loss: Any, optimizer: Optional[Optimizer], **options: Any
    ) -> Tuple[Executor, Shape]:
        """An executor that holds a state, and the shape of an output."""
        like = shapes_of(self.network, shape)
        params, buffers = (fitting(part, state[part], getattr(like, part)) for part in ("params", "buffers"))
        with self.engine.isolated():
            executor = self.engine.compile(self.network, params, buffers, loss, optimizer, **options)
            executor.load(state)
        return executor, like.shape

    # ---- weights ----

    @isolated
    def build(self, shape: Shape) -> None:
        """Draw the first weights for samples of ``shape``; does nothing once that has happened.

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
            RuntimeError: the shape of a sample is not known yet.
        """
        if self._executor is None:
            raise RuntimeError("the model has no weights yet: pass input_shape=(...) to Model, or call it on data once")
        return self._executor

    @property
    def classes(self) -> int:
        """Extent of the last axis of the output."""
        return self.output_shape[-1] if self.output_shape else 1

    def params(self) -> Dict[str, Any]:
        """Copies of all parameters as NumPy arrays by name, e.g. "0.weight"."""
        return self.executor.state()["params"]

    def state(self) -> Dict[str, Any]:
        """Everything training has changed: params, buffers, optimiser slots, step count, learning rate."""
        return self.executor.state()

    @checked
    @isolated
    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``; its arrays may be tensors. A model that was never trained takes no optimiser slots.

        Raises:
            ValueError, KeyError: a part or an array is missing, unknown, or of another shape or dtype; nothing has been
                replaced then.
        """
        lacking = [part for part in PARTS if part not in state]
        if lacking:
            raise ValueError(f"state has no {', '.join(lacking)}: pass all that model.state() returns")
        host = get_engine("numpy").to_numpy
        arrays = {
            part: {name: host(x) for name, x in state[part].items()}
            for part in PARTS[:3]
            if isinstance(state[part], Mapping)
        }
        self.executor.load({**state, **arrays})
        self.unfinished = None

    # ---- running ----

    @checked
    def __call__(
        self, x: Any, num_steps: Optional[Size] = None, state: Optional[Tree] = None, record: Record = "last"
    ) -> Output:
        """Run the network without training.

        Args:
            x: (time, batch, *features); with ``num_steps`` (batch, *features), a current that is constant in time.
            num_steps: number of steps of a constant input.
            state: ``out.state`` of an earlier call, to continue its sequence; None starts at rest.
            record: which layers' states to return over time: "last" (the default), names, True (all), False.

        Returns:
            ``Output``: spikes (time, batch, *features), states by layer, state after the last step.

        Raises:
            ShapeError, ValueError: wrong, empty or non-finite input.
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
        return replace(out, spikes=self.engine.xp.concat((out.spikes,), axis=0))  # no neurons: a view of x, it may be

    # ---- training ----

    @checked
    @isolated
    def fit(
        self,
        data: Iterable[Any],
        loss: Any = None,
        optimizer: Optional[Optimizer] = None,
        epochs: Size = 1,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        validation: Optional[Iterable[Any]] = None,
        schedule: Optional[Schedule] = None,
        clip_norm: Optional[float] = None,
        callbacks: Tuple[Callback, ...] = (),
        *,
        metric: Any = None,
        window: Optional[int] = None,
        learning: str = "bptt",
        update_every: Optional[int] = None,
        resume: Optional[bool] = None,
        progress: Optional[bool] = None,
        check_finite: bool = True,
    ) -> List[Row]:
        """Train; another call trains further.

        Args:
            data: an iterable of (inputs, targets) batches: ``spikecore.datasets.Loader``, a torch DataLoader, a list.
                Of (inputs, targets, lengths), if the sequences are of unequal length and padded at their end: sample
                i's loss and accuracy are those of its first lengths[i] steps.
            loss: callable ``(out, targets) -> scalar``; default that of the last ``fit``, else
                ``functional.ce_rate_loss()``. For batches with lengths, ``(out, targets, lengths)``.
            optimizer: ``sc.SGD``, ``sc.Adam``, ``sc.AdamW``, ``sc.RMSprop``; default that of the last ``fit``, else
                ``Adam(lr=5e-4)``. One like that of the last ``fit``, but for its learning rate, goes on with its
                moments; any other one starts anew.
            epochs: how often to go through ``data``, after the epochs already done.
            num_steps: number of time steps of inputs (batch, *features): constant current, or what ``encoder`` makes.
            encoder: turns (batch, *features) into (time, batch, *features), e.g. ``spikegen.rate``; without
                ``num_steps`` also sequences into sequences, e.g. ``spikegen.delta``. It may change the features:
                the network is then given what it makes of them.
            time_axis: where the time axis is, in inputs that have one, and in targets that vary in time
                (``mse_membrane_loss(time_var_targets=True)``); a function of your own gets its targets as they are.
            validation: batches to evaluate after each epoch.
            schedule: ``(epoch, epochs) -> factor`` of the learning rate, e.g. ``schedule.cosine()``.
            clip_norm: largest norm of the whole gradient.
            callbacks: each is called as ``callback(model, row)`` after an epoch; one that returns True ends training.
            metric: what to report beside the loss: a name ("accuracy_rate", "accuracy_temporal" or
                "accuracy_membrane"), a function ``(out, targets) -> number``, or several of these in a list or, to name
                their columns in the history, in a dict. Default: "accuracy", by the loss's own decoder (spike counts,
                first spikes, highest membranes, ...), where the loss compares with class labels.
            window: truncated BPTT: no gradient crosses the steps window, 2 window, ...
            learning: "bptt", backwards through time; or forward in time, with memory that does not depend on the number
                of steps: "eprop", "ottt" (see ``backprop.online``) or "rtrl" (``backprop.rtrl``).
            update_every: update the weights every so many steps instead of once per batch; states are carried on as
                constants (with "bptt": snnTorch's TBPTT), and the loss is that of each part. Dropout draws anew.
            resume: True continues an interrupted fit, of this model or of the file it was loaded from: ``epochs`` then
                counts the epochs already done, and the optimiser must be like the one so far. After Ctrl-C inside an
                epoch, training goes on with the next batch. The result is bit-identical to that of an uninterrupted
                run, given the same batches: those of epoch e must depend on e alone, as a ``Loader``'s and a list's do.
                False lets the optimiser start anew.
            progress: True or False forces a progress bar on or off; None shows one on a terminal.
            check_finite: whether NaN and infinity in the inputs are refused, and training ends where the loss is such.

        Returns:
            the history, one dict per epoch.

        Raises:
            ShapeError, ValueError, TypeError: bad input, named by argument, axis, index and layer.
            DivergedError: the mean loss of an epoch is NaN or infinite.
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
        feed, way = Feed(num_steps, encoder, time_axis, check_finite), Learning(learning, update_every)
        if self._executor is None:
            self._build_from(data, feed, loss)
        way.check(self.engine, self.executor, loss, window)
        record = {"record": "last"} if needs_membrane(metrics) and not recorded_for(loss) else {}
        self._compile(loss, optimizer, resume, clip_norm=clip_norm, window=window, **record)
        self.metric = metric
        total = epochs if resume else self.epochs_done + epochs
        return Training(
            self, data, loss, metrics, feed, total, optimizer.lr, schedule, validation, callbacks, progress, way
        ).run()

    def _build_from(self, data: Iterable[Any], feed: Feed, loss: Any) -> None:
        """Learn the shape of a sample from the first batch, which must not be lost."""
        check_batches("data", data)
        if iter(data) is data:
            raise ValueError(
                "data can be read only once, and its first batch is needed for the shape: pass input_shape to Model"
            )
        inputs, targets, _ = next(iter(batches(data)))
        x, steps = feed(self.engine, inputs, None, Key((self.seed, "shape")))
        check_count(loss, x, steps, targets)  # axes that are exchanged must not become the shape of a sample
        self.build(tuple(x.shape[2:]))

    def _compile(self, loss: Any, optimizer: Any, resume: Optional[bool], **options: Any) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer={optimizer!r} must be a spikecore optimiser, e.g. sc.Adam(lr=1e-3)")
        held = self.executor.state()
        held["lr"] = optimizer.lr
        like_before = self.optimizer is not None and same_training(self.optimizer, optimizer)
        if not resume:
            self.unfinished = None
        elif self.unfinished is not None and self.unfinished.cut:
            raise ValueError(
                "resume=True: the last step was interrupted half done, so that the weights belong to no step; load "
                "what was saved before it, or fit without resume"
            )
        elif not like_before:
            raise ValueError(f"resume=True continues with {self.optimizer!r}, not with {optimizer!r}")
        if resume is False or not like_before:
            held.update(optimizer={}, step=0)
        shape: Any = self.input_shape  # known, where there is a state
        executor, _ = self._holder(shape, held, loss, optimizer, **options)
        self.executor.close()
        self._executor, self.optimizer, self.loss = executor, optimizer, loss

    @checked
    @isolated
    def evaluate(
        self,
        data: Iterable[Any],
        loss: Any = None,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        metric: Any = None,
        progress: Optional[bool] = None,
    ) -> Row:
        """Loss and metrics over all batches.

        Args:
            data, num_steps, encoder, time_axis: as in ``fit``.
            loss: as in ``fit``; default that of the last ``fit``, else ``functional.ce_rate_loss()``.
            metric: as in ``fit``; default that of the last ``fit`` if ``loss`` is, too.
            progress: True or False forces a progress bar on or off.

        Returns:
            {"loss": ..., "accuracy": ...}, or what the metrics are called; the loss alone, if it is a function of your
            own and there is no ``metric``.
        """
        if loss is None:
            metric = self.metric if metric is None else metric
            loss = ce_rate_loss() if self.loss is None else self.loss
        feed = Feed(num_steps, encoder, time_axis)
        return evaluate(self, data, loss, metrics_of(metric, loss), feed, progress).row()

    # ---- elsewhere ----

    @checked
    def to_engine(self, engine: Union[str, Engine], **options: Any) -> Model:
        """A copy of the model, weights and training state included, on another engine.

        Args:
            engine: an Engine or its name; by name it keeps this model's dtype unless ``dtype`` is among the options.
            **options: passed to the engine.
        """
        if not isinstance(engine, Engine):
            options.setdefault("dtype", self.engine.dtype)
        engine = get_engine(engine, **options)
        if self._executor is None:
            other = Model(self.network, engine, self.seed, input_shape=self.input_shape)
        else:
            shape: Any = self.input_shape  # known, where there are weights
            other = Model.holding(self.network, engine, self.seed, shape, self.state(), self.optimizer)
        other.history, other.epochs_done = [dict(row) for row in self.history], self.epochs_done
        other.loss, other.metric, other.unfinished = self.loss, self.metric, copy(self.unfinished)
        return other

    @checked
    def save(self, path: PathLike, *, check_finite: bool = True) -> None:
        """Write the model to one file: architecture as JSON, arrays as safetensors. See ``spikecore.load``.

        The file replaces an older one in a single step: if the process dies meanwhile, the old one stays whole. The
        mode of the file stays; a new one gets that of the umask. A symbolic link stays: the file behind it is replaced.

        Args:
            path: the file.
            check_finite: whether weights that are NaN or infinite are refused, so that they do not replace good ones.

        Raises:
            OSError: the path is a folder, a device or a pipe, the file is write-protected, or the disk is full.
            DivergedError: weights or optimiser hold NaN or infinity.
            TypeError: a layer or a row of the history cannot be written, or not be read again.
        """
        from spikecore.api.checkpoint import save

        save(self, path, check_finite)

    def summary(self) -> str:
        """The layers with output shapes and numbers of parameters, as a table."""
        return table(self.network, self.input_shape or (), {name: x.size for name, x in self.params().items()})

    def __repr__(self) -> str:
        size = sum(math.prod(x.shape) for x in flatten(Tree(self.params())).values()) if self._executor else None
        return (
            f"Model({layer_name(self.network)}, {size if size is not None else 'unbuilt'} parameters, {self.engine!r})"
        )
