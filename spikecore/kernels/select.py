"""Which kernels run a neuron over time, if any, and why: what engines ask."""

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
from spikecore.kernels.form import Constants, fixed, refresh
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import build, store
from spikecore.kernels.sequence import SequenceNumba
from spikecore.kernels.sizes import LARGE, LONGEST, REPEATED

KINDS = {"cpu": "sequence.SequenceNumba", "cuda": "triton.SequenceTriton", "cupy": "cuda.SequenceCuda"}
PAUSE = 0.1  # seconds until somebody looks again for what is not compiled


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
    weight: Tuple[int, ...] = (),
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
        weight: shape of a weight behind the neuron that is to be multiplied with its spikes; (), there is none.
        wanted: the gradients that will be asked for; None if there will be no run backwards.
        constant: whether several steps have one input.

    Raises:
        RuntimeError: the mode is True and there can be no kernel; says why.
    """
    small = terms.mode == "auto" and math.prod(shape) < terms.least
    if terms.mode is False or (small and not terms.any_size):
        return None
    if weight and (terms.target != "cpu" or not (readout.fits(shape, weight) or _as_bits(shape, weight))):
        return None
    kernels = kernels_or_reason(terms, stepper, params, state, shape, tuple(record), weight)
    if not isinstance(kernels, str):
        apart = kernels.by_step or not (readout.fits(shape, weight) or _gives_spikes(kernels))
        absent = (weight and apart) or (small and not _at_hand(kernels, wanted, constant))
        if (
            not absent and terms.target == "cpu" and isinstance(constant, bool)
        ):  # to a compiler of graphs it is a symbol
            _expect(kernels, wanted, constant)
        return None if absent else kernels
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
    weight: Tuple[int, ...] = (),
) -> Union[Kernels, str]:
    """The kernels, or why there are none; arguments as for ``choose``."""
    neurons, owner = tuple(shape[1:]), step_name(stepper)
    try:
        hash(stepper)
    except TypeError as reason:
        return f"a field of {owner} cannot be hashed ({reason}): kernels are found by the fields' values"
    if any(tuple(s.shape) != neurons for s in state.values()):
        return f"the states of {owner} are not shaped like its input"
    part, around = _recurrent(terms, stepper) if terms.target == "cpu" else (None, None)
    if weight and not part:
        narrow = readout.fits(shape, weight) or not _as_bits(shape, weight)
        around = (SequenceNumba, readout.Multiply(weight[0])) if narrow else _bits_behind(terms, weight)
    how = _constants(params), record, terms.sparse_backward
    request = part or stepper, terms.target, terms.dtype, *how
    kernels, is_fixed = remembered(*request)
    if not is_fixed and refresh(request[0], *how):
        remembered.cache_clear()
        kernels, _ = remembered(*request)
    if isinstance(kernels, str):
        return kernels
    count = len(kernels.step.trace.graph.ops)
    if terms.mode == "auto" and terms.target == "cpu" and count > LONGEST:
        return (
            f"{owner}.step and its derivative are {count} operations, and more than {LONGEST} take long to compile "
            "(fused=True compiles them)"
        )
    rows = []
    for name in kernels.params:
        wide = tuple(np.shape(params[name]))
        if len(wide) > len(neurons) or any(n not in (1, m) for n, m in zip(wide[::-1], neurons[::-1])):
            return f"parameter {name} of shape {wide} does not broadcast to {neurons}"
        if math.prod(wide) != 1:
            rows.append(name)
    if rows or around is not None:
        kernels, _ = remembered(*request, tuple(rows), around)
    return kernels  # type: ignore[no-any-return]


def recipes_of(
    stepper: Any,
    params: Dict[str, Any],
    record: Tuple[str, ...],
    wanted: Optional[Wanted],
    constant: bool,
    weight: Tuple[int, ...] = (),
    dtype: str = "float32",
) -> List[build.KernelRecipe]:
    """Recipes of the runs of a neuron on the CPU; arguments as for ``choose``.

    Raises:
        ValueError: there can be no kernels that are known before they run; says why.
    """
    widest = np.broadcast_shapes((1,), *(np.shape(params[name]) for name in params if np.ndim(params[name]) < 2))
    kernels = kernels_or_reason(Terms("auto", dtype), stepper, params, {}, (1, 1, *widest), record, weight)
    recipes = None if isinstance(kernels, str) else kernels.recipes(wanted, constant)
    if recipes is None:
        raise ValueError(f"{type(stepper).__name__}: {kernels}")
    return recipes


def _expect(kernels: Kernels, wanted: Optional[Wanted], constant: bool) -> None:
    """Let whoever watches be told how many kernels a run has to compile."""
    kind = "expected", None if wanted is None else wanted[:2], constant
    if kind not in kernels.looked:
        kernels.looked[kind] = math.inf
        build.expect(kernels.recipes(wanted, constant) or ())


def _at_hand(kernels: Kernels, wanted: Optional[Wanted], constant: bool) -> bool:
    """Whether all that a run needs is compiled; what is not will be, in the background."""
    kind = None if wanted is None else wanted[:2], constant
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
    constants: Constants,
    record: Tuple[str, ...],
    sparse_backward: float,
    rows: Tuple[str, ...] = (),
    around: Any = None,
) -> Tuple[Any, bool]:
    """Kernels, or why there are none; and whether the neuron can never change. No sizes: a compiler's have no hash.

    ``around`` says what stands around the neuron's step, on the CPU: a class of kernels, and what else it is made with.
    """
    module, name = KINDS[target].split(".")
    kind = getattr(importlib.import_module(f"spikecore.kernels.{module}"), name)
    kernels = kind.of(stepper, constants, record, rows, dtype, sparse_backward)
    if around is not None and not isinstance(kernels, str):
        kernels = around[0](kernels.step, *around[1:])
    return kernels, fixed(stepper)


def _constants(params: Dict[str, Any]) -> Constants:
    """The parameters for a trace: floats are constants, arrays become inputs."""
    return tuple((name, value if type(value) is float else None) for name, value in params.items())


def explain(mode: Any, stepper: Any, target: str = "cpu", sparse_backward: float = 0.0) -> str:
    """Which path a run over time takes, and why."""
    aside = not_by_steps(stepper)
    if aside:
        return aside
    name = type(stepper).__name__
    if mode is False:
        return f"loop: one {name}.step per time step; kernels are switched off (fused=False)"
    spelled = getattr(stepper, "recurrent", stepper)
    host = get_engine("numpy", fused=False)
    try:
        init = spelled.init(Key((0,)), _neurons(spelled))
    except ValueError as refusal:  # it wants samples of another shape, such as maps of whatever size
        return f"loop: one {name}.step per time step, because {name}.step is not elementwise. {refusal}"
    params = flatten(spelled.prepare(host, map_leaves(host.asarray, init.params)))
    terms = Terms(mode, "float32", target=target, sparse_backward=sparse_backward)
    kernels = kernels_or_reason(terms, spelled, params, {}, (1, *init.shape), ())
    if isinstance(kernels, str):
        return f"loop: one {name}.step per time step, because {kernels}"
    limit = "" if mode is True else _limit(kernels)
    if kernels.by_step:
        return f"fused: per time step one matrix product and a Numba kernel of {name}.step{limit}"
    return f"fused: {kernels.language} kernels of {name}.step with the loop over time inside{limit}"


# ---- kernels that few networks need: imported where one of these does ------------------------------------------------


def _recurrent(terms: Terms, stepper: Any) -> Tuple[Any, Any]:
    """A neuron with dense recurrence without its product, and what runs both; (None, None) for other neurons."""
    if not (isinstance(stepper, Stepper) and stepper.recurs):
        return None, None
    from spikecore.kernels.recurrence import Recurrence, elementwise_part

    part = elementwise_part(stepper)
    return part, (Recurrence, terms.product) if part else None


def _as_bits(shape: Tuple[int, ...], weight: Tuple[int, ...]) -> bool:
    """Whether spikes pass as bits to the product with a weight of this shape."""
    from spikecore.kernels.sparse import behind

    return behind.fits(shape, weight)


def _gives_spikes(kernels: Kernels) -> bool:
    from spikecore.kernels.sparse import behind

    return behind.gives_spikes(kernels.step)


def _bits_behind(terms: Terms, weight: Tuple[int, ...]) -> Tuple[Any, ...]:
    from spikecore.kernels.sparse import behind

    return behind.ProductBehind, terms.product, weight[0]


def _limit(kernels: Kernels) -> str:
    """From which size on kernels run, and what happens below it."""
    text = f" for runs of {LARGE:,} neuron-steps (steps x batch x neurons) and more, {REPEATED:,} in training"
    recipes = kernels.recipes(None, constant=False)
    if recipes is None:
        return f"{text}; smaller runs go step by step"
    if all(build.at_hand(recipe) for recipe in recipes):
        return f"{text}, and, as they are compiled, of any size outside of Model.fit"
    from spikecore.kernels.runtime import background

    how = "while they are compiled in the background" if background.possible() else "until they are compiled"
    return f"{text}; smaller runs go step by step {how}"


def _neurons(stepper: Any) -> Tuple[int, ...]:
    """A shape that a stepper's parameters fit."""
    for layer in (stepper, getattr(stepper, "connection", None)):
        given = getattr(layer, "input_shape", None)
        if given is not None:
            return tuple(given)
    if not isinstance(stepper, Stepper):
        return (1,)
    neuron = stepper.core[0]
    shapes = (np.shape(values_of(getattr(neuron, name))) for name in neuron.parameter_names())
    return np.broadcast_shapes((1,), *shapes)
