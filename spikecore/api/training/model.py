"""``Model``: a network with weights on an engine. Call it, train it, save it, move it to another engine."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, TypeVar, Union, overload

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineName, get_engine
from spikecore.api.core.extras import UserProgram, extra
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key, Layer, Shape, ShapeError, initialised
from spikecore.api.core.sizes import sample_shape, whole_number
from spikecore.api.core.stream import EventStream, Stream
from spikecore.api.core.tree import Tree
from spikecore.api.layers.containers import check_engine
from spikecore.api.layers.network import Output, check_output
from spikecore.api.training.batching import Feed, Input
from spikecore.api.training.evaluate import evaluate
from spikecore.api.training.executor import complete_state, executor_from
from spikecore.api.training.fit import fit
from spikecore.api.training.history import History
from spikecore.api.training.optimizers import Optimizer
from spikecore.api.training.own_loop import apply, train_step, value_and_grad
from spikecore.api.training.predict import predict, say_of_call
from spikecore.api.training.trainer import Trainer
from spikecore.arguments import ArrayLike, PathLike, Record, Size, Sizes, checked, shown

if TYPE_CHECKING:
    from spikecore.api.learning.plastic_network import Plasticity
    from spikecore.api.training.plastic_stream import PlasticStream

Kind = TypeVar("Kind", bound="Model")


class Model:
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
        notes: a dict of what you write down about the model, e.g. ``model.notes["data"] = "FashionMNIST"``: numbers,
            text, None, and lists and dicts of them. Files keep it.

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
            from spikecore.api.core.foreign import no_layer

            raise TypeError(
                f"network={shown(network)} is not a spikecore layer, e.g. sc.Sequential(sc.Linear(...), sc.Leaky())"
                f"{no_layer(network)}"
            )
        self._begin(network, get_engine(engine, **options), whole_number("seed", seed))
        shape = sample_shape("input_shape", input_shape) if input_shape is not None else network.input_shape
        if shape is not None:
            first = network.input_shape
            if first and len(shape) > len(first) and shape[-len(first) :] == first:
                raise ShapeError(
                    f"input_shape={shape} must be the shape of one sample, without the axes of time and batch: write "
                    f"input_shape={first}"
                )
            self.build(shape)

    def _begin(self, network: Layer, engine: Engine, seed: int) -> None:
        check_engine(network, engine)
        self.network, self.engine, self.seed = network, engine, seed
        self.history = History()
        self.notes: Dict[str, Any] = {}
        self.epochs_done = 0
        self.trainer = Trainer()
        self.input_shape: Optional[Shape] = None
        self.output_shape: Shape = ()

    @classmethod
    def from_state(
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
        model.trainer.held, model.output_shape = executor_from(network, engine, shape, state, None, optimizer)
        model.input_shape, model.trainer.optimizer = shape, optimizer
        return model

    # ---- weights ----

    @isolated
    def build(self, shape: Shape) -> None:
        """Draw initial weights for samples of ``shape``; if there are weights already, do nothing.

        Raises:
            ShapeError: the network does not take samples of this shape.
        """
        if not self.built:
            init = initialised(self.network, Key((self.seed, "init")), tuple(shape))
            self.trainer.held = self.engine.compile(self.network, init.params, init.buffers, None, None)
            self.input_shape, self.output_shape = tuple(shape), init.shape

    @property
    def built(self) -> bool:
        """Whether there are weights."""
        return self.trainer.held is not None

    @property
    def classes(self) -> int:
        """Size of the last axis of the output."""
        return self.output_shape[-1] if self.output_shape else 1

    def params(self) -> Dict[str, Any]:
        """Copies of all parameters as NumPy arrays by name, e.g. "0.weight"."""
        return self.trainer.executor.weights()

    def state(self) -> Dict[str, Any]:
        """Everything that training changes: params, buffers, optimiser slots, step count, learning rate."""
        return self.trainer.executor.state()

    @checked
    @isolated
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned; arrays may be tensors. An untrained model ignores optimiser slots.

        Raises:
            ValueError, KeyError: an array is missing, unknown, or of another shape or dtype; nothing is replaced.
        """
        self.trainer.executor.load(complete_state(state))
        self.trainer.unfinished = None

    # ---- training and judging: their files describe them ----

    fit = fit
    evaluate = evaluate
    predict = predict
    train_step = train_step
    value_and_grad = value_and_grad
    apply = apply

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
            TypeError: the input is a tensor that requires a gradient: a call gives none.
        """
        extra(self.engine, UserProgram).check_input(x)
        if num_steps is None:
            say_of_call(self, x)
        return self._run(Feed(num_steps), x, state, record)

    @isolated
    def _run(self, feed: Feed, x: Any, state: Optional[Tree], record: Record) -> Output:
        if state is not None and not isinstance(state, Mapping):
            raise TypeError(f"state={shown(state)} must be the state that an earlier call returned, out.state")
        values, steps = feed(self.engine, x, self.input_shape, Key((self.seed, "call")))
        try:
            self.build(tuple(values.shape[2:]))
        except ShapeError as error:
            read = (
                "(batch, *features)" if feed.static else "(time, batch, *features); without a time axis pass num_steps"
            )
            raise ShapeError(f"{error}. The input of shape {tuple(x.shape)} was read as {read}") from None
        out = self.trainer.executor.run(values, state, steps=steps, record=record)
        check_output(self.output_shape, out)
        if out.readout is not None:
            return out
        return replace(out, spikes=self.engine.xp.concat((out.spikes,), axis=0))  # it may be a view of x

    @overload
    def stream(self, batch_size: Size = 1, record: Record = "last", *, learning: None = None) -> Stream: ...
    @overload
    def stream(self, batch_size: Size = 1, record: Record = "last", *, learning: Plasticity) -> PlasticStream: ...
    @checked
    @isolated
    def stream(self, batch_size: Size = 1, record: Record = "last", *, learning: Optional[Plasticity] = None) -> Stream:
        """Run the network one time step per call, for control loops and live input.

        The stream has copies of the parameters as they are now: after further training, make another one. On the NumPy
        engine a step is compiled for most networks, and a call takes a few microseconds; ``stream.explain()`` says so.

        Args:
            batch_size: samples of each step; default 1.
            record: whose states ``stream.states`` returns after each step; as in ``model(x)``. ``stream.state`` has all
                that pass from step to step in any case.
            learning: ``plasticity.Plasticity``: after each step its rules change the parameters of the stream, which
                ``stream.params()`` returns, and ``step(x, reward=...)`` takes a reward. None, the default: the
                parameters stay as they are.

        Returns:
            ``Stream``: ``step(x)`` takes (batch_size, *features) and returns the output of that step; ``reset()``,
            ``state``, ``states``, ``explain()``. With ``learning`` a ``PlasticStream``.

        Raises:
            RuntimeError: the model has no weights yet.
            ShapeError: a layer needs whole sequences, such as ``BatchNormTT1d``.
            ValueError: the rules do not fit the network.
            NotImplementedError: the engine keeps weights on the device, where rules cannot change them.
        """
        shape: Any = self.input_shape  # not None, since there are weights
        if learning is not None:
            from spikecore.api.training.plastic_stream import PlasticStream

            return PlasticStream(self.network, self.engine, self.trainer.executor, shape, batch_size, record, learning)
        from spikecore.api.training.stream import stream_of

        return stream_of(self.network, self.engine, self.trainer.executor, shape, batch_size, record)

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
        recording that arrives in pieces, use ``model.stream().run_events(...)``, which continues where it ended.

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
        from spikecore.api.training.stream import samples_of

        samples, shape = samples_of(events)
        self.build(shape)
        built: Any = self.input_shape  # not None, since there are weights
        options = {"window": window, "num_steps": num_steps, "start": start}
        out: Output = self.trainer.executor.run_events(events, built, samples, **options)
        return out

    # ---- the device ----

    def close(self) -> None:
        """Give back the device, where the model holds one: on the IPU engine, its IPUs and its compiled programs.

        The weights and the training state are kept. The model can be used again: it then takes the device and compiles
        again. Other engines hold no device, and there ``close`` does nothing. A model that is deleted (``del model``)
        gives its IPUs back by itself. ``with sc.Model(...) as model:`` closes it at the end of the
        block.
        """
        if self.trainer.held is not None:
            self.trainer.held.close()

    def __enter__(self: Kind) -> Kind:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

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
        if not self.built:
            other = Model(self.network, engine, self.seed, input_shape=self.input_shape)
        else:
            shape: Any = self.input_shape  # not None, since there are weights
            other = Model.from_state(self.network, engine, self.seed, shape, self.state(), self.trainer.optimizer)
        other.history, other.epochs_done = History(dict(row) for row in self.history), self.epochs_done
        other.trainer, other.notes = self.trainer.copied(other.trainer.held), deepcopy(self.notes)
        return other

    def __getstate__(self) -> Dict[str, Any]:
        """The content of a pickle, which another process may read: the weights as NumPy arrays, not the executor."""
        return {**vars(self), "weights": self.state() if self.built else None, "trainer": self.trainer.copied()}

    def __setstate__(self, kept: Dict[str, Any]) -> None:
        kept, held = dict(kept), None
        weights, optimizer = kept.pop("weights"), kept["trainer"].optimizer
        if weights is not None:
            held, _ = executor_from(kept["network"], kept["engine"], kept["input_shape"], weights, None, optimizer)
        history = History(dict(row) for row in kept["history"])
        vars(self).update(kept, history=history, trainer=kept["trainer"].copied(held))

    @checked
    def save(self, path: PathLike, *, check_finite: bool = True) -> None:
        """Write the model to one file: architecture as JSON, arrays as safetensors. See ``spikecore.load``.

        The file replaces an older one in a single step: if the process dies meanwhile, the old file is still complete.
        The file keeps its mode; a new file gets its mode from the umask. A symbolic link is followed and kept. A pipe
        or a device is written to.

        Args:
            path: the file.
            check_finite: whether weights that are NaN or infinite are refused, so that they do not replace good ones.

        Raises:
            OSError: the path is a folder or a socket, the file is write-protected, or the disk is full.
            DivergedError: weights or optimiser slots hold NaN or infinity.
            TypeError: a layer, a row of the history or a note cannot be written, or could not be read again.
        """
        from spikecore.api.training.checkpoint import save

        save(self, path, check_finite)

    def summary(self) -> str:
        """A table of the layers with output shapes, numbers of parameters, and the sparsity of a pruned network."""
        from spikecore.api.training.model_text import summary

        return summary(self)

    if not TYPE_CHECKING:  # type checkers are to refuse such names

        def __getattr__(self, name: str) -> Any:
            from spikecore.other_names import no_attribute

            raise AttributeError(no_attribute("Model", name, dir(type(self))))

    def __repr__(self) -> str:
        from spikecore.api.training.model_text import line

        return line(self)

    def _repr_html_(self) -> str:
        from spikecore.api.training.model_text import html

        return html(self)
