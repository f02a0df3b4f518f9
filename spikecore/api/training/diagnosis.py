"""Warnings of a training that runs but cannot learn well.

A few samples of a batch are looked at after the first epoch, and in long trainings after the last one, without kernels
and without any effect on the training. A look costs about as much as one training step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from spikecore.api.core.layer import Key, Layer, Pass, layer_name
from spikecore.api.core.messages import warn
from spikecore.api.core.parameters import values_of
from spikecore.api.core.tree import flatten
from spikecore.api.core.variants import unfused
from spikecore.api.functional.base import LossBase, decoder_of, reads_labels, terms
from spikecore.api.functional.targets import targets_on
from spikecore.api.functional.tasks import VALUE_BY_STEP, TargetKind
from spikecore.api.layers.containers import readout, walk
from spikecore.api.layers.network import objective
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.clipping import largest, norm_of, place_of
from spikecore.api.training.data import DeviceBatch
from spikecore.arguments import shown

SAMPLES = 8  # of the first batch of an epoch
APART = 9  # epochs between both looks, at least
FEW, MOST_COLUMNS = 5, 1000  # samples; columns of a table, of which images have more
FAR = 10.0  # from 0, for targets that a membrane is to reach
FEW_STEPS = 5  # in so few steps a healthy neuron may fire at each
ALWAYS = 0.99  # spikes per neuron and step
VANISHED = 1e-8  # largest gradient of a weight, relative to that of all weights
EXPLODED = 1e4  # |gradient| |weights|, relative to the loss or 1
LOUD = 10.0  # |gradient|, relative to the loss or 1, below which nobody asks for |weights|
# Deviation of the first currents, relative to the threshold. Only neurons whose current lies between 0 and the
# threshold can fire at some steps; of normal ones that is a share of 0.4 / 20, two of a hundred, and a spike says no
# more than a sign. Counts of 10 events make about 5, unscaled columns of a table and pixels of 255 more than 50.
LARGE = 20.0
MOST_LR = 1.0  # of weights, which begin below 1
MOST_GAIN = 100.0  # of weights: below LARGE / MOST_GAIN inputs are not looked at any further


def _threshold(layer: Layer) -> Optional[float]:
    """The threshold of neurons whose membranes rest at 0, if it is one number; else None."""
    neuron = layer.core[0] if isinstance(layer, Stepper) and layer.spiking else None
    if neuron is None or getattr(type(neuron), "threshold", None) != 1.0:  # others have units of their own
        return None
    level = values_of(neuron.threshold)
    return level if isinstance(level, float) else None


@dataclass
class Diagnosis:
    """Looks at one training.

    Args:
        model: the model that is trained.
        loss: its loss.
        window: of truncated BPTT.
        looks: whether gradients are those of BPTT over whole sequences, on an engine that hands them out; else only the
            network and the inputs are looked at.
    """

    model: Any
    loss: Any
    window: Optional[int]
    looks: bool
    kept: Optional[DeviceBatch] = None
    said: Set[str] = field(default_factory=set)

    def of_network(self) -> None:
        """Say that a network has no neurons."""
        layers = [layer for _, layer in walk(self.model.network)]
        if not any(isinstance(layer, Stepper) for layer in layers):
            kinds = ", ".join(dict.fromkeys(map(layer_name, layers))) or "no layer"
            warn(
                f"fit: the network has no neurons ({kinds}), so nothing in it spikes or depends on time. Add neurons, "
                "e.g. sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.9))"
            )
        for name, layer in walk(self.model.network):
            level = _threshold(layer)
            if level is not None and level <= 0.0:
                warn(
                    f"fit: layer {name or 0} ({layer_name(layer)}) has threshold={level:g}, and its membranes rest at "
                    "0: any current makes them fire, and a spike takes nothing off them. Give a threshold above 0; the "
                    "default is 1.0"
                )

    def of_classes(self, data: Any, validation: Any) -> None:
        """Warn of training samples, and of validation targets, from which little can be learned or judged."""
        read = decoder_of(self.loss)
        if read is not None and read.task is not None:
            say_of_samples(getattr(data, "inputs", None), getattr(data, "targets", None), read.task, read)
        if validation is not None and reads_labels(self.loss) is not None:
            from spikecore.api.training.class_sets import say_of_classes

            say_of_classes(getattr(data, "targets", None), getattr(validation, "targets", None), "validation")

    def of_inputs(self, x: Any, constant: bool) -> None:
        """Say that inputs look like images of 0 to 255, or make currents far above the first threshold.

        Args:
            x: a batch, (time or 1, batch, *features).
            constant: whether it is a current without an encoder.
        """
        values = self.model.engine.to_numpy(x[:, : min(SAMPLES, x.shape[1]), ...])
        pixels = values.min() >= 0 and 128 <= values.max() <= 255 and bool((values == values.round()).all())
        if constant and pixels:
            warn(
                f"fit: the inputs are whole numbers up to {values.max():.0f}, like pixels of 8-bit images. A current "
                "this large makes neurons fire at every step: divide by 255"
            )
            return
        top = float(abs(values).max())
        size = top * float(((values / top) ** 2).mean()) ** 0.5 if 0.0 < top < math.inf else 0.0
        name, currents = self._currents() if size > LARGE / MOST_GAIN else ("", 0.0)
        if size * currents > LARGE:
            warn(
                f"fit: the inputs reach {top:.4g}, and the currents that they make in layer {name} are "
                f"about {size * currents:.0f} times its threshold, so that its neurons fire at every step or never. "
                "Scale the inputs by the training samples: mean, std = x_train.mean(0), x_train.std(0); x = (x - mean)"
                ' / std; in a run file: [data] scale = "standard"'
            )

    def _currents(self) -> Tuple[str, float]:
        """The first neuron, and the deviation of its currents relative to its threshold for inputs of size 1.

        It is 0.0 where that cannot be read off: behind a normalisation, no connection or several, for neurons with
        weights of their own or without a threshold, and where weights are divided among processes.
        """
        executor, gain, connected = self.model.trainer.executor, 1.0, False
        weights = {} if executor.divided is not None else self.model.params()
        for name, layer in walk(self.model.network) if weights else ():
            if isinstance(layer, Stepper):
                level = values_of(layer.core[0].threshold) if layer.spiking and not layer.projects else 0.0
                level = float(level.mean()) if hasattr(level, "mean") else level
                known = connected and isinstance(level, float) and level > 0.0  # an initialiser is no number
                return f"{name or 0} ({layer_name(layer)})", gain / level if known else 0.0
            own = [weights[path] for path in (f"{name}.{entry}" for entry in layer.connections) if path in weights]
            if layer.normalises or (own and connected):
                break
            if own:
                gain, connected = float((own[0] * own[0]).sum() / max(1, own[0].shape[0])) ** 0.5, True
        return "", 0.0

    def keep(self, x: Any, steps: Optional[int], targets: Any, lengths: Optional[List[int]], key: Key) -> None:
        """Keep copies of some samples of a batch (time or 1, batch, *features), for ``look``."""
        if not self.looks:
            return
        engine = self.model.engine
        whole = targets_on(engine, targets)
        batch = int(x.shape[1])
        axis = next((i for i, extent in enumerate(whole.shape[:2]) if extent == batch), None)
        if batch > SAMPLES and axis is None:  # targets of the user's own kind, which cannot be divided
            return
        part = slice(min(SAMPLES, batch))
        some = whole if batch <= SAMPLES else whole[part, ...] if axis == 0 else whole[:, part, ...]
        copy = engine.xp.concat
        self.kept = DeviceBatch(
            copy((x[:, part, ...],), axis=0),
            steps,
            copy((some,), axis=0),
            None if lengths is None else lengths[part],
            key,
        )

    def look(self, epoch: int) -> None:
        """Run what is kept, and say in one line what is wrong: layers, gradients."""
        if self.kept is None:
            return
        (_, out), grads = self.run(self.kept)
        firing = list(_firing(self._watched(), self.model.engine, out))
        lr = float(self.model.trainer.executor.lr)
        if firing and lr > MOST_LR:
            firing.append(("lr", f"lr={lr:g} may be the cause, since it moves weights that far: try lr=1e-3"))
        findings = [*firing, *self._gradients(grads, any(kind.startswith("never") for kind, _ in firing))]
        new = {kind: text for kind, text in findings if kind not in self.said}
        self.said.update(new)
        if new:
            warn(f"fit, after epoch {epoch}, {self.kept.x.shape[1]} samples: {'; '.join(new.values())}")

    def run(self, kept: DeviceBatch) -> Any:
        """Loss, output and gradients of samples, by the loop over steps: kernels would have to be compiled for it."""
        executor, engine = self.model.trainer.executor, unfused(self.model.engine)
        run = Pass(engine, kept.steps, True, kept.key, True, self.window)

        def value(params: Any, buffers: Any, x: Any, y: Any) -> Any:
            network = self.model.network
            loss, (out, _) = objective(network, self.loss, run, params, buffers, x, y, None, kept.lengths)
            return loss, out

        operands = executor.buffers, kept.x, kept.targets
        loss, out, grads = engine.value_and_grad(value, executor.params, *operands)
        return (float(engine.to_numpy(loss)), out), flatten(grads)

    def _watched(self) -> List[Tuple[str, Layer]]:
        """The layers that should spike. One that a loss reads as a membrane may be silent by intention."""
        last = readout(self.model.network)
        spikes = all(isinstance(term, LossBase) and term.reads == "spikes" for _, term in terms(self.loss))
        layers = [(name, layer) for name, layer in walk(self.model.network) if isinstance(layer, Stepper)]
        return [(name, layer) for name, layer in layers if layer.spiking and (spikes or name != last)]

    def of_gradients(self, epoch: int, batch: int, loss: Optional[float]) -> None:
        """Say once that the gradients of an update are very large, and which one is the largest.

        They are measured by what the weights, all changed in proportion, would make of the loss. A norm that is not
        large, which the update knows, is all that is looked at; gradients that are clipped do no such harm.
        """
        executor, optimizer = self.model.trainer.executor, self.model.trainer.optimizer
        given = loss is not None and executor.gradients is not None and executor.divided is None
        if not given or optimizer.clip_norm is not None or "exploded" in self.said:
            return
        squares, most = executor.gradients.squares, max(1.0, abs(loss))  # type: ignore[arg-type]
        norm = norm_of(squares)
        if norm <= LOUD * most or norm * _norm(executor.weights()) <= EXPLODED * most:
            return
        self.said.add("exploded")
        warn(
            f"fit, epoch {epoch}, batch {batch}: gradients explode: their norm is {norm:.0e} at a loss of {loss:.2g}, "
            f"the largest is that of {place_of(self.model.network, largest(squares))}. Give the optimiser "
            "clip_norm=1.0 or a smaller lr, take a narrower surrogate, e.g. surrogate.fast_sigmoid(slope=25), or a "
            "lower beta"
        )

    def _gradients(self, grads: Dict[str, Any], silent: bool) -> Iterator[Tuple[str, str]]:
        """Warning of gradients; ``silent``: whether a layer never fires, which explains small ones."""
        xp, host = self.model.engine.xp, self.model.engine.to_numpy
        top = {name: float(host(xp.max(abs(g)))) for name, g in grads.items() if math.prod(g.shape)}
        if not top or not all(map(math.isfinite, top.values())):
            return
        if not any(top.values()):
            why = "" if silent else ": does the loss depend on the network's output?"
            yield "zero", f"every gradient is zero, so no weight changes{why}"
            return
        weights = {name: size for name, size in top.items() if grads[name].ndim > 1}
        largest = max(weights.values(), default=0.0)
        small = [name for name, size in weights.items() if size < VANISHED * largest]
        if small and not silent:
            yield (
                "vanished",
                f"gradients vanish: those of {small[0]} are at most {top[small[0]]:.0e}, of all weights {largest:.0e}. "
                "Take a wider surrogate, e.g. surrogate.fast_sigmoid(slope=10), more input, or a higher beta",
            )


def _norm(arrays: Dict[str, Any]) -> float:
    return norm_of({name: float((x * x).sum()) for name, x in arrays.items()})


def _firing(layers: List[Tuple[str, Layer]], engine: Any, out: Any) -> Iterator[Tuple[str, str]]:
    """Warning of layers that never fire, or always."""
    for name, layer in layers:
        if name not in out.states or "spikes" not in out.states[name]:
            continue
        spikes = out.states[name].spikes
        fired = engine.to_numpy(engine.xp.sum(engine.xp.astype(spikes != 0.0, engine.dtype)))
        rate, where = float(fired) / math.prod(spikes.shape), f"layer {name} ({layer_name(layer)})"
        if not rate:
            yield (
                f"never {name}",
                f"{where} never fires, so it passes nothing on: scale its input up, lower its threshold, or raise beta",
            )
        elif rate >= ALWAYS and spikes.shape[0] > FEW_STEPS:
            yield (
                f"always {name}",
                f"{where} fires at {'every' if rate == 1.0 else 'nearly every'} step, so its spikes say nothing: scale "
                "its input down, or raise its threshold",
            )


def broken(arrays: Dict[str, Any]) -> List[str]:
    """The names of arrays that hold NaN or infinity."""
    ends = {name: (float(x.min()), float(x.max())) for name, x in arrays.items() if x.size}  # NaN if one entry is NaN
    return [name for name, pair in ends.items() if not all(map(math.isfinite, pair))]


def say_of_samples(inputs: Any, targets: Any, task: TargetKind, loss: Any) -> None:
    """Give a ``TrainingWarning`` if training samples are very few, have one target, or a column that never changes.

    Args:
        inputs: all training inputs, a NumPy array (samples, columns); other shapes are not looked at.
        targets: all training targets, a NumPy array (samples, ...); anything else says nothing: archives have a name.
        task: what they are.
        loss: what compares them with readings.
    """
    count = len(targets) if hasattr(targets, "dtype") else 0
    if 0 < count < FEW:
        warn(
            f"fit: {count} training sample{'s are' if count > 1 else ' is'} too few to learn more from than these; "
            "give some dozens of each class, or of values"
        )
    known = count > 1 and getattr(targets.dtype, "kind", "O") in "iubf" and task != VALUE_BY_STEP
    first: Any = (targets.reshape(-1)[0] if task.by_step else targets[0]) if known else None
    if known and bool((targets == first).all()):  # steps of one class each
        many = f"{targets.size} training steps" if task.by_step else f"{count} training samples"
        said = "are of class" if task.kind == "class" else "have the target"
        warn(
            f"fit: all {many} {said} {shown(first.tolist())}, so there is nothing to learn: a network that always "
            "answers it is right. Give samples of each class, or values that differ"
        )
    if count and task.kind == "value" and getattr(targets.dtype, "kind", "O") in "iuf":
        own = hasattr(loss, "unit")
        middle, unit = (own and loss.unit) or (0.0, 1.0)
        standard = (targets.reshape(count, -1) - middle) / unit
        if abs(float(standard.mean())) + float(standard.std()) > FAR:
            mean, deviation = float(targets.mean()), float(targets.std())
            told = "train on (y - mean) / deviation, and compute mean + deviation * predict(...)"
            if own:
                told = f"{loss.__name__}(mean=y.mean(axis=0), deviation=y.std(axis=0)) takes and predicts any unit"
            warn(
                f"fit: the targets have mean {mean:.4g} and deviation {deviation:.4g}, far from membranes, which are "
                f"about 1: {told}"
            )
    if getattr(inputs, "ndim", 0) != 2 or inputs.shape[1] > MOST_COLUMNS or len(inputs) < 2:
        return
    same = (inputs == inputs[:1]).all(0)
    columns = (same & (inputs[0] != 0)).nonzero()[0].tolist()  # a pixel of the border is 0, and does no harm
    if columns and not same.all():
        few = ", ".join(map(str, columns[:8])) + ", ..." * (len(columns) > 8)
        warn(
            f"fit: columns of the inputs that are the same in all {len(inputs)} training samples tell nothing: column "
            f"{few}, of {inputs[0, columns[0]]:.4g}. Leave them out: np.delete(x, {columns[:8]}, axis=1)"
        )
