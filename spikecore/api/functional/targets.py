"""Class labels: checks, one-hot codes, and populations of neurons that represent a class."""

from __future__ import annotations

from typing import Any, Optional, Set, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.host import not_finite, to_numpy
from spikecore.api.core.layer import Shape, ShapeError


def target_dtype(targets: Any) -> Optional[str]:
    """The dtype name for targets on an engine: "int64" for whole numbers; None, the engine's own dtype, for floats."""
    return None if _is_float(targets.dtype if hasattr(targets, "dtype") else to_numpy(targets).dtype) else "int64"


def _is_float(dtype: Any) -> bool:
    told = getattr(dtype, "is_floating_point", None)  # torch's
    if told is not None:
        return bool(told)
    kind = getattr(dtype, "kind", "V")  # str() of NumPy's dtypes is slow; dtypes of other libraries have no kind
    return kind == "f" if kind in "biuf" else "float" in str(dtype)


def targets_on(engine: Engine, targets: Any) -> Any:
    """Targets as an array of an engine, see ``target_dtype``; None if there are none."""
    return None if targets is None else engine.asarray(targets, dtype=target_dtype(targets))


def one_hot(engine: Engine, targets: Any, classes: int) -> Any:
    """Labels (...) as one-hot codes (..., classes) in the engine's dtype; a label that is no class has a code of 0."""
    xp = engine.xp
    labels = xp.expand_dims(targets, axis=-1)
    return xp.astype(labels == xp.arange(classes), engine.dtype)


VALUES = (
    "for values take mse_value_loss(), at every step mse_membrane_loss(time_var_targets=True), or a function (out, "
    "targets) of your own"
)


def check_labels(
    engine: Engine,
    targets: Any,
    shape: Shape,
    classes: Optional[int],
    time: Optional[int] = None,
    ignore_index: Optional[int] = None,
) -> None:
    """Refuse labels of the wrong shape, kind or range. This copies them to the host.

    Args:
        engine: the engine of the targets.
        targets: the labels.
        shape: their expected shape, (batch,), or (time, batch) for a label at each step.
        classes: number of classes; None: any.
        time: number of steps; if given, the message says whether time and batch look exchanged.
        ignore_index: label of steps that do not count; None: there is none.

    Raises:
        ShapeError: there is not one label per sample, or per step.
        ValueError: a label is not an integer, or outside [0, classes); the message names its position.
    """
    labels = engine.to_numpy(targets)
    if labels.shape != shape:
        by_step = len(shape) == 2
        hint = _step_hint(labels.shape, shape) if by_step else _shape_hint(labels, shape[0], classes, time)
        raise ShapeError(
            f"targets have shape {tuple(labels.shape)}, expected {shape}: one class index per "
            f"{'step and sample, (time, batch)' if by_step else 'sample'}{hint}"
        )
    if labels.dtype.kind not in "iu":
        whole = labels.dtype.kind == "f" and bool((labels == labels.round()).all())
        raise ValueError(
            f"targets have dtype {labels.dtype}, expected integer class indices: these are compared with classes; "
            f"{'for classes give targets.astype(int), ' * whole}{VALUES}"
        )
    wrong = (labels < 0) if classes is None else labels.astype("uint64") >= classes  # where those below 0 are largest
    if ignore_index is not None:
        wrong = wrong & (labels != ignore_index)
    places = wrong.nonzero()
    if not len(places[0]):
        return
    index = tuple(int(where[0]) for where in places)
    told = f"targets[{', '.join(map(str, index))}] = {labels[index]}"
    if classes is None:
        raise ValueError(f"{told} must be >= 0: a class index")
    hint = f"; the label of steps that do not count is ignore_index={ignore_index}"
    hint = _range_hint(set(labels.ravel().tolist()), classes) if ignore_index is None else hint
    raise ValueError(f"{told} is out of range: the last layer has {classes} classes (0..{classes - 1}){hint}")


def _step_hint(found: Shape, wanted: Shape) -> str:
    time, batch = wanted
    if found == (batch, time):
        return "; time and batch axes of the input or of the targets look exchanged: pass time_axis=1 for both"
    if found == (batch,):
        return "; for one label per sample take ce_rate_loss() or ce_membrane_loss()"
    if found[:2] == (time, batch):
        return "; take targets[..., 0]" if found[2:] == (1,) else "; for a one-hot code take targets.argmax(-1)"
    return ""


def check_values(engine: Engine, targets: Any, batch: int, outputs: int, per_value: int = 1) -> None:
    """Refuse values, one or several for each sample, of the wrong shape or kind. This copies them to the host.

    Args:
        engine: the engine of the targets.
        targets: the values, expected as (batch, values); a single one also as (batch,).
        batch: number of samples.
        outputs: number of neurons of the last layer.
        per_value: how many of them stand for one value.

    Raises:
        ShapeError: there is not a value for each output.
        ValueError: a value is NaN or infinite; the message names its position.
    """
    values, count = engine.to_numpy(targets), outputs / per_value
    single = count == 1 and values.shape == (batch,)
    if not single and values.shape != (batch, count):
        given = 1 if values.ndim == 1 else values.shape[-1]
        need = f"; for {given} value{'s' * (given != 1)} per sample it needs {given * per_value}"
        raise ShapeError(
            f"targets have shape {tuple(values.shape)}, but the last layer has {outputs} outputs for {batch} samples"
            f"{need if values.shape[:1] == (batch,) else ''}"
        )
    check_finite_targets(values)


def check_several(engine: Engine, targets: Any, batch: int, classes: Optional[int]) -> None:
    """Refuse what is not a 0 or 1 for each sample and class. This copies the targets to the host.

    Raises:
        ShapeError: targets are not (batch, classes).
        ValueError: one is neither 0 nor 1; the message names its position.
    """
    labels = engine.to_numpy(targets)
    if labels.ndim != 2 or labels.shape != (batch, classes or labels.shape[1]):
        hint = "; of class indices make spikegen.to_one_hot(targets, classes)" if labels.shape == (batch,) else ""
        raise ShapeError(
            f"targets have shape {tuple(labels.shape)}, expected ({batch}, {classes or 'classes'}): 0 or 1 for each "
            f"class{hint}"
        )
    wrong = ~((labels == 0) | (labels == 1))
    if wrong.any():
        row, column = (int(where[0]) for where in wrong.nonzero())
        raise ValueError(f"targets[{row}, {column}] = {labels[row, column]}, expected 0 or 1 for each class")


def check_finite_targets(values: Any) -> None:
    """Refuse NaN and infinity in targets, a NumPy array; the message names the index of the first."""
    found = not_finite(values)
    if found:
        raise ValueError(
            f"targets[{', '.join(map(str, found[0]))}] is {values[found[0]]}: targets must be finite; leave these "
            "samples out, keep = np.isfinite(y)"
        )


def _range_hint(labels: Set[int], classes: int) -> str:
    """The advice for labels that are not classes of the last layer."""
    if min(labels) == 1 and max(labels) == classes:
        return "; classes are counted from 0: take targets - 1"
    if len(labels) <= classes:
        return "; number them from 0: np.unique(targets, return_inverse=True)[1]"
    return f"; for {max(len(labels), max(labels) + 1)} classes the last layer has as many outputs"


def _shape_hint(labels: Any, batch: int, classes: Optional[int], time: Optional[int]) -> str:
    if labels.shape == (time,):
        return "; time and batch axes look exchanged: spikes are (time, batch, classes)"
    if labels.shape == (batch, classes) and labels.shape[1] > 1:
        return "; for a one-hot code take targets.argmax(-1)"
    if labels.ndim == 2 and labels.shape[0] == batch and labels.shape[1] > 1 and bool((labels.sum(1) == 1).all()):
        return f"; for a one-hot code take targets.argmax(-1), and {labels.shape[1]} outputs: there are {classes}"
    if labels.dtype.kind == "f":
        return f"; {VALUES}"
    if labels.shape == (batch, 1):
        return "; take targets[:, 0]"
    return "; for a label at every step take ce_step_loss()" if labels.ndim == 2 and batch in labels.shape else ""


def value_hint(found: Shape, wanted: Shape) -> str:
    """The end of an error message about values over time (time, batch, outputs) of another shape than ``wanted``."""
    time, batch, *outputs = wanted
    if found == (batch, time, *outputs):
        return "; time and batch axes of the input or of the targets look exchanged: pass time_axis=1 for both"
    if found == (batch, *outputs):
        return f"; for the same values at every step give np.repeat(targets[None], {time}, axis=0)"
    if found == (time, batch):
        return "; give targets[..., None]" + f", and the last layer 1 output: it has {outputs[-1]}" * (outputs != [1])
    if found[:2] == (time, batch) and outputs:
        return f"; the last layer has {outputs[-1]} outputs, and the targets {found[-1]}"
    return ""


def as_numbers(engine: Engine, values: Any) -> Any:
    """Spikes in the engine's floating-point type; sums of bools or small integers could overflow."""
    return values if _is_float(getattr(values, "dtype", "float")) else engine.asarray(values)


def check_sequence(name: str, values: Any) -> None:
    """Refuse values that are not an array (time, batch, classes), or are empty."""
    if not hasattr(values, "ndim"):
        raise TypeError(
            f"{name} is a {type(values).__name__}, expected an array (time, batch, classes); a network with "
            "output=True returns (spikes, membrane): pass one of them"
        )
    if values.ndim != 3:
        raise ShapeError(f"{name} has shape {tuple(values.shape)}, expected (time, batch, classes)")
    if 0 in values.shape:
        raise ShapeError(f"{name} is empty: shape {tuple(values.shape)} as (time, batch, classes)")


def read_sequence(name: str, out: Any) -> Tuple[Engine, Any]:
    """The spikes or membranes (time, batch, classes) of an ``Output``, or an array of them, and their engine."""
    values = getattr(out, name, out)
    check_sequence(name, values)
    return engine_of(values), values


def pool_population(engine: Engine, values: Any, num_classes: int) -> Any:
    """Sum the neurons of each class: (time, batch, neurons) -> (time, batch, classes).

    Class i has the i-th contiguous block of neurons.

    Raises:
        ValueError: ``num_classes`` does not divide the number of neurons.
    """
    time, batch, neurons = values.shape
    if not num_classes or neurons % num_classes:
        raise ValueError(f"population_code: num_classes={num_classes!r} must divide the {neurons} output neurons")
    return engine.xp.sum(engine.xp.reshape(values, (time, batch, num_classes, neurons // num_classes)), axis=3)
