"""Derivatives of a step on the torch and NumPy engines, for learning rules, which run step by step.

The step of a neuron is traced once per run, and its derivatives are then a few operations on arrays at each step, in
place of a tape and a run backwards for the output and for every state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from spikecore.api.core.extras import StepwiseLearning
from spikecore.api.core.tree import Params, State, Tree, flatten
from spikecore.kernels.sizes import has_numba

if TYPE_CHECKING:
    from spikecore.kernels.jacobian import Jacobian

MOST = 256  # programs that are kept: a filter of spikes is a new neuron after each update of weights


class StepDerivatives(StepwiseLearning):
    """Derivatives of single steps, for engines whose kernels are not switched off. A subclass that overrides how such
    an engine differentiates does not get them (``instead_of``): its own derivatives are used.

    Args:
        compiles: of the engine that runs a rule, what ``fused`` is in the one that it was made from; of others False.
    """

    instead_of = ("__init__", "value_and_grad", "products")  # a constructor may change words, e.g. that of spikes

    def __init__(self, compiles: Any = False) -> None:
        self.compiles = compiles
        self._programs: Dict[Any, Tuple[Any, Optional[Jacobian]]] = {}

    def stepwise(self, engine: Any, plain: Any) -> Any:
        help_for_steps = type(self)(engine.fused)
        for one in (plain, getattr(plain, "full", plain)):  # in half precision, the engine of steps is another one
            one.extras = (help_for_steps, *one.extras)
        return plain

    def jacobian(self, engine: Any, stepper: Any, params: Params, state: State, x: Any) -> Optional[Mapping[str, Tree]]:
        if self.compiles is False:
            return None
        shape, program = tuple(x.shape), self._program(engine, stepper, params)
        if program is None or any(tuple(s.shape) != shape for s in state.values()):
            return None
        xp, values = engine.xp, flatten(params)

        def result(derivative: Any) -> Any:
            if type(derivative) is float or not derivative.ndim or tuple(derivative.shape) == shape:
                return derivative
            return xp.broadcast_to(derivative, shape)

        given = {"x": x, **{f"s_{name}": value for name, value in state.items()}}
        for name in program.inputs:
            if name not in given:
                value = engine.asarray(values[name[2:]])
                given[name] = xp.reshape(value, ()) if value.ndim and max(value.shape) == 1 else value
        arrays = [name for name, value in values.items() if hasattr(value, "dtype")]
        rows = {}
        for of, row in program.at(engine, given).items():
            by_state = State({name: result(row[f"s_{name}"]) for name in stepper.state})
            by_params = Tree({name: result(row.get(f"p_{name}", 0.0)) for name in arrays})
            rows[of] = Tree(state=by_state, x=result(row["x"]), params=by_params)
        return rows

    def advance_traces(
        self, engine: Any, traces: State, shared: State, pre: Any, rows: Mapping[str, Tree], signals: Tree
    ) -> Optional[Tuple[State, Any]]:
        from spikecore.kernels import eligibility

        size = math.prod(next(iter(traces.values())).shape)
        if self.compiles is False or engine.device != "cpu" or not has_numba():
            return None
        if self.compiles == "auto" and size < eligibility.LEAST:
            return None
        names = (*traces, *shared)

        def host(a: Any) -> Any:  # an array of NumPy in the same memory; a number as it is
            return a if type(a) is float else engine.to_numpy(a)

        moves = [[*(host(rows[n].state[m]) for m in names), host(rows[n].x)] for n in traces]
        each, same = ([host(e) for e in states.values()] for states in (traces, shared))
        cotangents = [host(signals.state[n]) for n in traces]
        after, g = eligibility.step(each, same, host(pre), moves, cotangents)
        return State(zip(traces, map(engine.asarray, after))), engine.asarray(g)

    def _program(self, engine: Any, stepper: Any, params: Params) -> Optional[Jacobian]:
        """The program for the derivatives of a step, traced once per run; None if the step cannot be traced.

        It is found by the neuron object, not by equality, and made again in the next run: the ``step`` of a user's own
        neuron may read values that are no fields.
        """
        constants = tuple((n, value if type(value) is float else None) for n, value in flatten(params).items())
        known = self._programs.get((id(stepper), constants))
        if known is None:
            if len(self._programs) == MOST:
                self._programs.clear()
            from spikecore.kernels.jacobian import jacobian

            found = jacobian(stepper, constants, engine.sparse_backward)
            known = self._programs[id(stepper), constants] = stepper, found  # kept, so that no other one has its id
        return known[1]
