"""``choose``: the kernels that run a neuron over time, or None where an engine's loop shall; ``explain`` says why."""

from __future__ import annotations

import importlib
import math
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from spikecore.api.core.engines import get_engine
from spikecore.api.core.layer import Key, not_by_steps
from spikecore.api.core.parameters import values_of
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.api.neurons.stepper import Stepper, step_name
from spikecore.kernels import readout
from spikecore.kernels.base import NUMPY, Kernels, Product, Wanted
from spikecore.kernels.form import ParamValues, never_changes, refresh
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import build, store
from spikecore.kernels.sequence import SequenceNumba
from spikecore.kernels.sizes import LARGE, LONGEST, REPEATED

KINDS = {"cpu": "sequence.SequenceNumba", "cuda": "triton.SequenceTriton", "cupy": "cuda.SequenceCuda"}
IN_KERNEL, AS_BITS = "in the kernel", "as bits"  # see ``_way_of_weight``
PAUSE = 0.1  # seconds between two looks for kernels that are being compiled in the background


class Terms(NamedTuple):
    """An engine's policy for kernels.

    Args:
        mode: "auto" takes kernels for runs of at least ``least`` neuron-steps, and for smaller ones see ``any_size``;
            True takes them always, False never.
        dtype: "float32" or "float64".
        least: see ``mode``.
        target: what the arrays are: "cpu", "cuda" (torch tensors) or "cupy".
        product: the engine's matrix product, for neurons with a dense recurrence.
        any_size: whether smaller runs take kernels that are at hand, and have others compiled in the background.
        sparse_backward: derivatives of spikes up to this magnitude count as zero.
    """

    mode: Any
    dtype: str
    least: int = LARGE
    target: str = "cpu"
    product: Product = NUMPY
    any_size: bool = False
    sparse_backward: float = 0.0


def choose(
    terms: Terms,
    stepper: Any,
    params: Dict[str, Any],
    state: Dict[str, Any],
    shape: Tuple[int, ...],
    record: Any,
    weight_shape: Tuple[int, ...] = (),
    wanted: Optional[Wanted] = None,
    constant: bool = False,
) -> Optional[Kernels]:
    """The kernels for a run over time, or None where the loop is to run.

    Args:
        terms: the engine's.
        stepper: the neuron.
        params: prepared parameters by dotted name; floats are constants, arrays are not.
        state: first states by dotted name.
        shape: (steps, batch, *neurons).
        record: names of states to return for every step.
        weight_shape: of a weight behind the neuron that is to be multiplied with its spikes; (), there is none.
        wanted: the gradients that will be asked for; None if there will be no run backwards.
        constant: whether several steps have one input.

    Raises:
        RuntimeError: the mode is True and there can be no kernel; says why.
    """
    small = terms.mode == "auto" and math.prod(shape) < terms.least
    if terms.mode is False or (small and not terms.any_size):
        return None
    way = _way_of_weight(shape, weight_shape) if weight_shape and terms.target == "cpu" else ""
    if weight_shape and not way:
        return None
    kernels = kernels_or_reason(terms, stepper, params, state, shape, tuple(record), weight_shape)
    if not isinstance(kernels, str):
        # kernels that cannot multiply by the weight leave that to the engine, which then calls ``scan`` instead
        if weight_shape and (kernels.by_step or (way == AS_BITS and not _gives_spikes(kernels))):
            return None
        if small and not _at_hand(kernels, wanted, constant):
            return None
        if terms.target == "cpu" and isinstance(constant, bool):  # while torch.compile traces, ``constant`` is a symbol
            _expect(kernels, wanted, constant)
        return kernels
    if terms.mode is True:
        raise RuntimeError(f"fused=True, but {kernels}")
    if not small and ("not installed" in kernels or "take long" in kernels):
        store.say(f"neurons run step by step: {kernels}")
    return None


def kernels_or_reason(
    terms: Terms,
    stepper: Any,
    params: Dict[str, Any],
    state: Dict[str, Any],
    shape: Tuple[int, ...],
    record: Tuple[str, ...] = (),
    weight_shape: Tuple[int, ...] = (),
) -> Union[Kernels, str]:
    """The kernels, or why there are none; arguments as for ``choose``."""
    neurons, name = tuple(shape[1:]), step_name(stepper)
    try:
        hash(stepper)
    except TypeError as reason:
        return f"a field of {name} cannot be hashed ({reason}): kernels are found by the fields' values"
    # of a dense recurrence, kernels run the elementwise part
    elementwise, class_and_arguments = _recurrent(terms, stepper)
    # of an LSTM, several inputs are a neuron's
    neurons = tuple(next(iter(state.values())).shape) if state and hasattr(elementwise, "gates") else neurons
    if any(tuple(s.shape) != neurons for s in state.values()):
        return f"the states of {name} are not shaped like its input"
    if weight_shape and not elementwise:
        as_bits = _way_of_weight(shape, weight_shape) == AS_BITS
        in_kernel = SequenceNumba, readout.Multiply(weight_shape[0])
        class_and_arguments = _bits_behind(terms, weight_shape) if as_bits else in_kernel
    neuron, how = elementwise or stepper, (_param_values(params), record, terms.sparse_backward)
    kernels, unchanging = remembered(neuron, terms.target, terms.dtype, *how)
    if not unchanging and refresh(neuron, *how):
        remembered.cache_clear()
        kernels, _ = remembered(neuron, terms.target, terms.dtype, *how)
    if isinstance(kernels, str):
        return kernels
    count = len(kernels.step.trace.graph.ops)
    if terms.mode == "auto" and terms.target == "cpu" and count > LONGEST:
        return (
            f"{name}.step and its derivative are {count} operations, and more than {LONGEST} take long to compile "
            "(fused=True compiles them)"
        )
    rows = []
    for param in kernels.params:
        extents = tuple(np.shape(params[param]))
        if len(extents) > len(neurons) or any(n not in (1, m) for n, m in zip(extents[::-1], neurons[::-1])):
            return f"parameter {param} of shape {extents} does not broadcast to {neurons}"
        if math.prod(extents) != 1:
            rows.append(param)
    if rows or class_and_arguments is not None:
        kernels, _ = remembered(neuron, terms.target, terms.dtype, *how, tuple(rows), class_and_arguments)
    return kernels  # type: ignore[no-any-return]


def recipes_of(
    stepper: Any,
    params: Dict[str, Any],
    record: Tuple[str, ...],
    wanted: Optional[Wanted],
    constant: bool,
    weight_shape: Tuple[int, ...] = (),
    dtype: str = "float32",
) -> List[build.KernelRecipe]:
    """Recipes of the runs of a neuron on the CPU; arguments as for ``choose``.

    Raises:
        ValueError: there can be no kernels that are known before they run; says why.
    """
    # any shape of neurons that fits the parameters; matrices are those of connections
    neurons = np.broadcast_shapes((1,), *(np.shape(params[name]) for name in params if np.ndim(params[name]) < 2))
    kernels = kernels_or_reason(Terms("auto", dtype), stepper, params, {}, (1, 1, *neurons), record, weight_shape)
    recipes = None if isinstance(kernels, str) else kernels.recipes(wanted, constant)
    if recipes is None:
        raise ValueError(f"{type(stepper).__name__}: {kernels}")
    return recipes


def _expect(kernels: Kernels, wanted: Optional[Wanted], constant: bool) -> None:
    """Announce the kernels that a run has to compile, so that a user at a terminal sees "kernel 1 of 3"."""
    kind = None if wanted is None else wanted[:2], constant  # a kind of run; each is announced once
    if kind not in kernels.announced:
        kernels.announced.append(kind)
        build.expect(kernels.recipes(wanted, constant) or ())


def _at_hand(kernels: Kernels, wanted: Optional[Wanted], constant: bool) -> bool:
    """Whether all that a run needs is compiled; what is not will be, in the background."""
    kind = None if wanted is None else wanted[:2], constant  # a kind of run: which gradients, and of what input
    looked = kernels.looked.get(kind, -math.inf)
    if looked == math.inf:
        return True
    now = time.monotonic()
    if now < looked + PAUSE:
        return False
    recipes = kernels.recipes(wanted, constant)
    missing = None if recipes is None else [recipe for recipe in recipes if build.at_hand(recipe) is None]
    kernels.looked[kind] = now if missing is None or missing else math.inf
    if missing:
        from spikecore.kernels.runtime import background

        background.ask(missing)
    return missing == []


@Remembered
def remembered(
    stepper: Any,
    target: str,
    dtype: str,
    param_values: ParamValues,
    record: Tuple[str, ...],
    sparse_backward: float,
    rows: Tuple[str, ...] = (),
    class_and_arguments: Any = None,
) -> Tuple[Any, bool]:
    """Kernels, or why there are none; and whether the neuron's code can never change. Kept while the neuron lives.

    Sizes are no arguments: kernels work for all, and those that torch.compile traces with are symbols without a hash.

    Args:
        stepper: the neuron.
        target, dtype, sparse_backward: see ``Terms``.
        param_values, record, rows: see ``step_of``.
        class_and_arguments: the class of kernels that takes the neuron's step, and the other arguments of this class;
            None: that of ``KINDS``.
    """
    kernels = _kind(target).of(stepper, param_values, record, rows, dtype, sparse_backward)
    if class_and_arguments is not None and not isinstance(kernels, str):
        kernels = class_and_arguments[0](kernels.step, *class_and_arguments[1:])
    return kernels, never_changes(stepper)


def _kind(target: str) -> Any:
    """The class of kernels for a target."""
    module, name = KINDS[target].split(".")
    return getattr(importlib.import_module(f"spikecore.kernels.{module}"), name)


def _param_values(params: Dict[str, Any]) -> ParamValues:
    """The parameters for a trace: floats are constants, arrays become inputs."""
    return tuple((name, value if type(value) is float else None) for name, value in params.items())


def explain(mode: Any, stepper: Any, target: str = "cpu", sparse_backward: float = 0.0) -> str:
    """Which path a run over time takes, and why."""
    at_once = not_by_steps(stepper)
    if at_once:
        return at_once
    name = type(stepper).__name__
    if mode is False:
        return f"loop: one {name}.step per time step; kernels are switched off (fused=False)"
    stepper = getattr(stepper, "recurrent", stepper)  # RLeaky and others run as a ``Recurrent``
    host = get_engine("numpy", fused=False)
    try:
        init = stepper.init(Key((0,)), _neurons(stepper))
    except ValueError as refusal:  # it wants samples of another shape, such as maps of whatever size
        return f"loop: one {name}.step per time step, because {name}.step is not elementwise. {refusal}"
    params = flatten(stepper.prepare(host, map_leaves(host.asarray, init.params)))
    terms = Terms(mode, "float32", target=target, sparse_backward=sparse_backward)
    kernels = kernels_or_reason(terms, stepper, params, {}, (1, *init.shape), ())
    if isinstance(kernels, str):
        return f"loop: one {name}.step per time step, because {kernels}"
    limit = "" if mode is True or target != "cpu" else _limit(kernels)
    if kernels.by_step:
        return f"fused: per time step one matrix product and a {kernels.language} kernel of {name}.step{limit}"
    return f"fused: {kernels.language} kernels of {name}.step with the loop over time inside{limit}"


# ---- kernels that few networks need: imported where one of these does ------------------------------------------------


def _recurrent(terms: Terms, stepper: Any) -> Tuple[Any, Any]:
    """Of a neuron with a dense recurrence, the part without the product, and the kernels that run both (a class and its
    arguments); (None, None) for other neurons.
    """
    if isinstance(stepper, Stepper) and stepper.recurs:
        from spikecore.kernels.recurrence import parts_of

        return parts_of(stepper, _kind(terms.target), terms.product)
    if "Numba" not in KINDS[terms.target]:
        from spikecore.kernels.gated import gated_parts

        return gated_parts(stepper, _kind(terms.target))
    return None, None


def _way_of_weight(shape: Tuple[int, ...], weight_shape: Tuple[int, ...]) -> str:
    """How spikes are multiplied with a weight of this shape; "": not by kernels.

    A small weight is multiplied inside the neuron's kernel. For a large one this kernel gives spikes as bits, and a
    sparse product follows.
    """
    if readout.fits(shape, weight_shape):
        return IN_KERNEL
    from spikecore.kernels.sparse import behind

    return AS_BITS if behind.fits(shape, weight_shape) else ""


def _gives_spikes(kernels: Kernels) -> bool:
    from spikecore.kernels.sparse import behind

    return behind.gives_spikes(kernels.step)


def _bits_behind(terms: Terms, weight_shape: Tuple[int, ...]) -> Tuple[Any, ...]:
    from spikecore.kernels.sparse import behind

    return behind.ProductBehind, terms.product, weight_shape[0]


def _limit(kernels: Kernels) -> str:
    """From which size on kernels run, and what happens below it."""
    text = f" for runs of {LARGE:,} neuron-steps (steps x batch x neurons) and more, {REPEATED:,} in training"
    recipes = kernels.recipes(None, constant=False)
    if recipes is None:
        return f"{text}; smaller runs go step by step"
    if all(build.at_hand(recipe) for recipe in recipes):
        return f"{text}, and, as they are compiled, of any size outside of Model.fit"
    from spikecore.kernels.runtime import background

    while_it_lasts = "while they are compiled in the background" if background.possible() else "until they are compiled"
    return f"{text}; smaller runs go step by step {while_it_lasts}"


def _neurons(stepper: Any) -> Tuple[int, ...]:
    """A shape that a stepper's parameters fit."""
    for layer in (stepper, getattr(stepper, "connection", None)):
        its_shape = getattr(layer, "input_shape", None)
        if its_shape is not None:
            return tuple(its_shape)
    if not isinstance(stepper, Stepper):
        return (1,)
    neuron = stepper.core[0]
    shapes = (np.shape(values_of(getattr(neuron, name))) for name in neuron.parameter_names())
    return np.broadcast_shapes((1,), *shapes)
