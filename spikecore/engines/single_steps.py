"""What the torch and NumPy engines have for learning rules, which run step by step: the derivatives of a step.

The step of a neuron is traced once per run, and its derivatives are then a few operations on arrays at each step, in
place of a tape and a run backwards for the output and for every state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.tree import Params, State, Tree, flatten
from spikecore.kernels.sizes import has_numba

if TYPE_CHECKING:
    from spikecore.kernels.jacobian import Jacobian

PASSED_BY = ("spike", "stop_gradient", "value_and_grad", "products")  # what derivatives as a program do not call
MOST = 256  # programs that are kept: a filter of spikes is a new neuron after each update of weights


class SingleSteps:
    """An engine that has these derivatives where kernels are not switched off: a class to inherit before ``Engine``.

    A subclass of such an engine with derivatives of its own, see ``PASSED_BY``, or from a class beside the engine,
    takes them from there.
    """

    #: Of an engine for learning rules: what ``fused`` says of the one that it was made from. Of others: False.
    compiles_steps: Any = False
    _programs: Dict[Any, Tuple[Any, Optional[Jacobian]]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        engine = next(base for base in cls.__mro__ if SingleSteps in base.__bases__)
        own = any(getattr(cls, name, None) is not getattr(engine, name, None) for name in PASSED_BY)
        if own and cls.jacobian is SingleSteps.jacobian:
            cls.jacobian = Engine.jacobian  # type: ignore[method-assign,assignment]

    def stepwise(self) -> Any:
        """See ``Engine.stepwise``."""
        engine: Any = self.unfused()  # type: ignore[attr-defined]  # the engine's
        for one in (engine, getattr(engine, "full", engine)):  # in half precision, the engine of steps is another one
            one.compiles_steps, one._programs = self.fused, {}  # type: ignore[attr-defined]
        return engine

    def jacobian(self, stepper: Any, params: Params, state: State, x: Any) -> Optional[Mapping[str, Tree]]:
        """See ``Engine.jacobian``."""
        if self.compiles_steps is False:
            return None
        engine: Any = self
        shape, program = tuple(x.shape), self._program(stepper, params)
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

    def carry(
        self, traces: State, shared: State, pre: Any, rows: Mapping[str, Tree], signals: Tree
    ) -> Optional[Tuple[State, Any]]:
        """See ``Engine.carry``."""
        from spikecore.kernels import eligibility

        engine: Any = self
        size = math.prod(next(iter(traces.values())).shape)
        if self.compiles_steps is False or not self._on_host() or not has_numba():
            return None
        if self.compiles_steps == "auto" and size < eligibility.LEAST:
            return None
        names = (*traces, *shared)
        moves = [[*(self._host(rows[n].state[m]) for m in names), self._host(rows[n].x)] for n in traces]
        each, same = ([self._host(e) for e in states.values()] for states in (traces, shared))
        cotangents = [self._host(signals.state[n]) for n in traces]
        after, g = eligibility.step(each, same, self._host(pre), moves, cotangents)
        return State(zip(traces, map(engine.asarray, after))), engine.asarray(g)

    def _host(self, a: Any) -> Any:
        """An array of the engine as one of NumPy in the same memory; a number as it is."""
        return a if type(a) is float else self.to_numpy(a)  # type: ignore[attr-defined]

    def _on_host(self) -> bool:
        """Whether arrays are in the memory that kernels for the CPU read."""
        return bool(self.device == "cpu")  # type: ignore[attr-defined]

    def _program(self, stepper: Any, params: Params) -> Optional[Jacobian]:
        """The derivatives of a step, made once in a run: in the next run, and for an equal neuron, a step of a user's
        own may be another one, if it reads what is no field.
        """
        constants = tuple((n, value if type(value) is float else None) for n, value in flatten(params).items())
        known = self._programs.get((id(stepper), constants))
        if known is None:
            if len(self._programs) == MOST:
                self._programs.clear()
            from spikecore.kernels.jacobian import jacobian

            found = jacobian(stepper, constants, self.sparse_backward)  # type: ignore[attr-defined]
            known = self._programs[id(stepper), constants] = stepper, found  # kept, so that no other one has its id
        return known[1]
