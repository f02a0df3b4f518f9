"""The reference engine: arrays of any array-API namespace, with gradients by hand.

``get_engine("numpy")`` computes on NumPy and ``get_engine("cupy")`` on a GPU. Tests also run it on the namespace
"array_api_strict", which implements the standard and nothing more, so nothing here needs more than the standard.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Callable, Optional, Tuple

import numpy as np

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.extras import Extra, UserProgram, Variants
from spikecore.api.core.layer import not_by_steps
from spikecore.api.core.sizes import check_steps, is_whole
from spikecore.api.core.tree import Params, State, flatten, map_leaves
from spikecore.api.layers.containers import Container, stages_of
from spikecore.api.neurons.stepper import one_step
from spikecore.api.surrogate.truncated import checked_least, truncating
from spikecore.engines.numpy.arrays import ArrayEngine
from spikecore.engines.numpy.bptt import scan
from spikecore.engines.numpy.fusing import fused_scan, wanted_of
from spikecore.engines.numpy.smooth import Smooth
from spikecore.engines.numpy.tape import Tape, Var, without_tape
from spikecore.engines.stages import Neighbours, Scans
from spikecore.engines.stepwise import Stepwise
from spikecore.kernels.readout import BIAS, WEIGHT, bias_fits
from spikecore.kernels.select import Terms, choose, explain
from spikecore.kernels.sizes import least_neuron_steps

TARGETS = {"numpy": "cpu", "cupy": "cupy"}  # the namespaces that have kernels


class NumpyProgram(UserProgram):
    """For programs that seed ``np.random``: unseeded draws of the library follow that seed."""

    def fresh_seed(self) -> int:
        return int(np.random.randint(2**63 - 1, dtype=np.int64))  # noqa: NPY002  (np.random.seed governs this generator)


class NumpyVariants(Variants):
    """Variants of the NumPy engine for ``verify``: the reference loop, exact gradients, and smooth spikes."""

    unfused = MappingProxyType({"fused": False})
    exact = MappingProxyType({"sparse_backward": 0.0})

    def smooth(self, engine: Any) -> Engine:
        return SmoothEngine(engine.dtype, engine.namespace, fused=False)


class NumpyEngine(Scans, ArrayEngine):
    """Arrays of an array-API namespace, differentiated by hand-written rules.

    Args:
        dtype: "float32" or "float64".
        namespace: "numpy", "cupy", or an importable array-API namespace such as "array_api_strict".
        fused: whether compiled kernels run the time steps, on NumPy and CuPy. "auto": for long runs. True: always, and
            a run that has no kernel raises. False: never; this is the reference, with the BPTT loop of ``bptt.py``.
        checkpoint_every: number of steps, >= 1. Where the loop runs, it stores the states of every so many steps only
            and computes those between again; None stores all. Kernels compute states again in any case.
        sparse_backward: a surrogate's derivative of at most this magnitude counts as zero, finite and >= 0; default
            0.0: gradients are exact. See docs/sparse.md.

    Raises:
        ValueError: a dtype, ``fused``, ``checkpoint_every`` or ``sparse_backward`` other than these; ``fused=True``
            without kernels.
    """

    name = "numpy"
    extras: Tuple[Extra, ...] = (Neighbours(), Stepwise(), NumpyVariants(), NumpyProgram())

    def __init__(
        self,
        dtype: str = "float32",
        namespace: str = "numpy",
        fused: Any = "auto",
        checkpoint_every: Optional[int] = None,
        sparse_backward: float = 0.0,
    ) -> None:
        if fused not in ("auto", True, False):
            raise ValueError(f"fused={fused!r} must be 'auto', True or False")
        if namespace not in TARGETS and fused is True:
            raise ValueError(f"fused=True: there are no kernels for namespace={namespace!r}")
        if checkpoint_every is not None and not is_whole(checkpoint_every, 1):
            raise ValueError(f"checkpoint_every={checkpoint_every!r} must be a number of steps, at least 1, or None")
        super().__init__(dtype, namespace, fused if namespace in TARGETS else False)
        self.target = TARGETS.get(namespace, "")
        self.checkpoint_every = checkpoint_every
        self.sparse_backward = checked_least(sparse_backward)
        self.xp.spike = truncating(self.xp.spike, self.sparse_backward)

    def __repr__(self) -> str:
        truncation = f", sparse_backward={self.sparse_backward!r}" if self.sparse_backward else ""
        return f"{super().__repr__()[:-1]}{truncation})"

    def scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Tuple[Any, State, State]:
        check_steps(inputs.shape[0] if steps is None else steps, inputs.shape[0])
        kernels = self._kernels(stepper, params, state, inputs, steps, repeating, record)
        if kernels is not None:
            return fused_scan(kernels, params, state, inputs, steps, window)
        return scan(self, stepper, params, state, inputs, steps, record, window)

    # the products of a neuron's spikes with the weight of the Linear behind it; no spikes are stored: see ``Scans``
    def readout_scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        weight: Any,
        bias: Optional[Any] = None,
        *,
        steps: Optional[int] = None,
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Optional[Tuple[Any, State]]:
        check_steps(inputs.shape[0] if steps is None else steps, inputs.shape[0])
        if not bias_fits(weight, bias):
            return None
        kernels = self._kernels(stepper, params, state, inputs, steps, repeating, (), tuple(weight.shape))
        if kernels is None:
            return None
        bias = self.xp.zeros((weight.shape[0],)) if bias is None else bias
        readout_params = Params({**params, WEIGHT: weight, BIAS: bias})
        out, _, final = fused_scan(kernels, readout_params, state, inputs, steps, window)
        return out, final

    def _kernels(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        steps: Any,
        repeating: bool,
        record: Any,
        weight_shape: Any = (),
    ) -> Any:
        """The kernels for a run, or None where the loop is to run it; ``weight_shape`` is that of a readout, or ()."""
        overridden = type(self).step is not NumpyEngine.step  # a kernel would bypass the subclass's step
        if self.fused is False or (overridden and self.fused == "auto"):
            return None
        shape = (inputs.shape[0] if steps is None else steps, *inputs.shape[1:])
        # Outside of training, small runs take kernels that happen to be compiled. In training the size alone decides
        # between kernel and loop, so that a repeated training has the same bits.
        any_size = self.target == "cpu" and not repeating
        options: Any = {"any_size": any_size, "sparse_backward": self.sparse_backward}
        terms = Terms(self.fused, self.dtype, least_neuron_steps(repeating, self.target), self.target, **options)
        wanted, constant = wanted_of(inputs, params, state), inputs.shape[0] == 1 and shape[0] > 1
        return choose(terms, stepper, flatten(params), flatten(state), shape, record, weight_shape, wanted, constant)

    def step(self, stepper: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        """One forward step of a neuron on plain arrays."""
        return one_step(self, stepper, params, state, x)

    def explain(self, stepper: Any) -> str:
        if isinstance(stepper, Container):
            return stages_of(self, stepper)
        if self.target:
            return explain(self.fused, stepper, self.target, self.sparse_backward)
        return not_by_steps(stepper) or f"loop: one {type(stepper).__name__}.step per time step on {self.namespace}"

    def value_and_grad(
        self, function: Callable[..., Tuple[Any, Any]], argument: Any, *constants: Any
    ) -> Tuple[Any, Any, Any]:
        tape = Tape(self)
        lifted = map_leaves(tape.variable, argument)
        value, extra = function(lifted, *(map_leaves(tape.constant, tree) for tree in constants))
        slot = value.slot if type(value) is Var else None
        seeds = {} if slot is None else {slot: self.xp.ones_like(value.value)}
        grads = tape.backward(seeds)
        gradient = map_leaves(lambda v: grads[v.slot] if v.slot in grads else self.xp.zeros_like(v.value), lifted)
        return without_tape(value), without_tape(extra), gradient

    def compile(
        self, network: Any, params: Params, buffers: Any, loss: Any, optimizer: Any, **options: Any
    ) -> Executor:
        from spikecore.engines.numpy.executor import NumpyExecutor

        return NumpyExecutor(self, network, params, buffers, loss, optimizer, **options)


class SmoothEngine(Smooth, NumpyEngine):
    """The NumPy engine with smooth spikes; for these the surrogate gradient is the true gradient (``smooth.py``)."""

    name = "numpy-smooth"
