"""Shared parts of all stepwise spiking modules: the making of a module, and the call that passes a step to ``api/``.

A subclass says in a row which neuron of ``spikecore.api`` it is and how it is called (``face``). The arithmetic is the
neuron's ``step`` on the torch engine; nothing is computed here.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Dict, Optional, Tuple

import torch
from torch import nn

from spikecore.api.core.layer import Params
from spikecore.api.core.variants import unfused
from spikecore.engines.torch.memory import at_rest
from spikecore.engines.torch.modes import compiling, written_down
from spikecore.engines.torch.nn.engine import engine_for, in_dtype_of, working
from spikecore.engines.torch.nn.face import FIRING, GRADED, LEAKING, RESETTING, Face
from spikecore.engines.torch.nn.over_time import SequenceTensor
from spikecore.engines.torch.nn.parts import StepMethods
from spikecore.engines.torch.nn.protocol import SnnTorchStep
from spikecore.engines.torch.nn.second_backward import GraphSteps, followed
from spikecore.engines.torch.nn.snntorch_names import HOOKS, Instances
from spikecore.engines.torch.nn.stepping import prepared_step

LOST = (
    "{}: torch.export, torch.jit.trace or torch.onnx.export writes this call down, and the state that the module keeps "
    "between calls would be lost. Write down a step that is given its states: make modules with init_hidden=False, and "
    "return spk, mem from forward(x, mem); or sc.export(snn.from_torch(net, input_shape), path, to='torch'). Or write "
    "down a whole sequence: a forward that returns snn.run(net, x), or a loop that begins with utils.reset(net)"
)


class SpikingNeuron(SnnTorchStep):
    """Base of the spiking modules (snnTorch ``SpikingNeuron``).

    A module holds parameters, options and its state. The state is a set of plain attributes (``mem``, ``syn``, ...):
    they are not in ``state_dict``, ``.to()`` moves them, and ``deepcopy`` and ``pickle`` detach them. Before the first
    call and after ``reset_mem()`` they are empty, which means at rest: zeros, for an input of any shape.

    Called as ``spk, mem = lif(x, mem)``, the module starts from the states it is given; states left out continue from
    the stored ones. With ``init_hidden=True`` it always continues from its own and returns ``spk`` alone, or with
    ``output=True`` the states as well.

    The dtype follows the input; half precision is computed in float32, with spikes in the input's dtype.

    ``fused`` is True: on the CPU, a call with 2^14 values or more is one kernel. Set it to False to look at gradients
    by states (``mem.retain_grad()``, a hook, ``autograd.grad`` by ``mem``): a kernel makes spikes and states at once,
    so the gradient by a state would lack the part through the spikes of its step.

    Args:
        threshold: membrane potential above which (strictly) the neuron fires; a number or a tensor that broadcasts.
        spike_grad: a ``spikecore.surrogate``, or a function from potentials to spikes; None is ``atan(2.0)``.
        surrogate_disable: no gradient through spikes, whatever ``spike_grad`` says.
        init_hidden: keep the state in the module.
        inhibition: only the feature with the highest membrane may fire.
        learn_threshold: threshold as a Parameter, else a buffer.
        reset_mechanism: "subtract", "subtract_decayed" (beta * threshold), "zero" or "none"; can be set at any time.
        state_quant: a ``functional.quant.state_quant`` or a function, applied to every state; False for none.
        output: with ``init_hidden``, return the states too.
        graded_spikes_factor, learn_graded_spikes_factor: value of a spike.

    Raises:
        ValueError: an unknown reset mechanism, a parameter out of its range.
        TypeError: ``spike_grad`` or ``state_quant`` is no function; states passed to a module with ``init_hidden``.
        ShapeError: a state that fits the input's shape neither as it is nor broadcast.
    """

    face = Face(None, f"{FIRING} init_hidden inhibition learn_threshold {RESETTING} {GRADED}")
    instances: ClassVar[Any] = Instances()
    fused: bool = True
    sample_axes: Optional[int] = None  # axes of one sample, where an input without batch axis needs a batch of one
    _at_zero: ClassVar[bool] = True  # whether all states at rest are zero, shaped as ``_shape`` says
    _next: Any = None  # the prepared step of the last call, for those like it
    _run: Optional[GraphSteps] = None  # the steps since the last start of a graph

    def _construct(self, given: Dict[str, Any]) -> None:
        nn.Module.__init__(self)
        self._find_own()
        SpikingNeuron.instances.append(self)  # a plain list that was put there holds on to it
        given = {**_DEFAULTS, **given}
        self._describe(given)
        self._threshold_buffer(given["threshold"], given["learn_threshold"])
        self._graded_spikes_buffer(given["graded_spikes_factor"], given["learn_graded_spikes_factor"])
        self.register_buffer("reset_mechanism_val", torch.as_tensor(self.reset_dict[given["reset_mechanism"]]))
        self._init_mem()
        self._register_values(given)
        if self.kind is not None:
            self._valued()

    def _register_values(self, given: Dict[str, Any]) -> None:
        """The values that this module has besides those of all neurons."""
        for name in reversed([name for name in self.face.values if name not in (*_DEFAULTS, "V")]):
            hook = getattr(self, HOOKS[name]) if name in HOOKS else partial(self._register, name)
            hook(given[name], given.get(f"learn_{name}", False))

    def _beta_buffer(self, beta: Any, learn_beta: bool) -> None:
        self._register("beta", beta, learn_beta)

    def _alpha_register_buffer(self, alpha: Any, learn_alpha: bool) -> None:
        self._register("alpha", alpha, learn_alpha)

    @classmethod
    def init(cls) -> None:
        """Empty the list ``instances``; nothing else depends on it."""
        SpikingNeuron.instances = Instances()

    def __getstate__(self) -> Dict[str, Any]:
        passing = ("_next", "_reset", "_mem_before", "_begun", "_run")
        return {name: value for name, value in super().__getstate__().items() if name not in passing}

    # ---- the step ----

    def _advance(self, input_: Any, *given: Any) -> Any:
        """One step; ``given`` are the states in the order of ``states``, None where the caller gave none.

        It goes one of two ways, through the neuron's ``step`` or, for code of the user's own, by snnTorch's protocol.
        """
        if type(input_) is SequenceTensor:
            return input_.over.neuron(self, input_, given)
        before, alone = self._before(given), self._is_alone(given)
        if self.sample_axes is not None and input_.dim() == self.sample_axes:
            return self._of_one_sample(input_, *given)
        step = self._by_parts if self.by_protocol() else self._by_neuron
        spk, after = step(input_, before, alone)
        return self._returned(in_dtype_of(input_, spk), after, before if alone else None)

    def _before(self, given: Tuple[Any, ...]) -> Dict[str, Any]:
        """The states that a call begins with: those it is given, else those that are stored."""
        if self.init_hidden and any(value is not None for value in given):
            raise TypeError(
                f"{self._owner()}: states ({', '.join(self.states)}) were passed to a module with "
                "init_hidden=True, which keeps its own; leave them out, or build it with init_hidden=False"
            )
        before = {name: getattr(self, name) for name in self.states}
        for name, value in zip(self.states, given):
            if value is not None:
                before[name] = value
        return before

    def _is_alone(self, given: Tuple[Any, ...]) -> bool:
        """Whether nothing compiles this call or writes it down: what a graph holds must not depend on earlier calls.

        Raises:
            RuntimeError: the graph would hold a state from before it as a constant.
        """
        written = written_down()
        if written is None:
            return not compiling()
        if self._goes_on(written) and (len(given) < len(self.states) or any(value is None for value in given)):
            raise RuntimeError(LOST.format(self._owner()))
        return False

    def _by_neuron(self, input_: Any, before: Dict[str, Any], alone: bool = True) -> Tuple[Any, Any]:
        """Spikes and states of a step by the neuron of ``spikecore.api``; the states are stored."""
        step, current = self._next, input_
        if not (alone and step is not None and step.fits(self, input_)):
            x = working(input_)
            engine, params = self._ready(x, host=True)
            current = self._projected(engine, params, x)
            same = alone and current is input_ and type(self)._tensors is StepMethods._tensors
            step = prepared_step(self, engine, params, current, same)
            if step.numbers is not None:
                self.__dict__["_next"] = step
        rest = None if self._at_zero else self._resting(step.engine, step.params, current, before)
        start = self._start(current, before, rest)
        spk, after = step.run(start, current)
        own = self.__dict__ if alone and not self._begun else ()
        for name, value in (*self._noted(start), *after.items()):
            if name in own:
                self.__dict__[name] = value  # torch's way of setting an attribute takes long
            else:
                setattr(self, name, value)
        return spk, after

    def _follow(self, spk: Any, states: Any, before: Dict[str, Any]) -> None:
        """Note a step that is differentiated: a second backward pass through the states before it is refused."""
        run = self._run
        if run is None or run.ended or not any(value.requires_grad for value in before.values()):
            self.__dict__["_run"] = followed(run, self._owner(), before, spk, states)

    def _of_one_sample(self, input_: Any, *given: Any) -> Any:
        """A step of an input without batch axis, as a batch of one."""
        alone = (s if s is None or s.dim() != self.sample_axes else s.unsqueeze(0) for s in given)
        returned = self._advance(input_.unsqueeze(0), *alone)
        for name in self.states:
            setattr(self, name, getattr(self, name).squeeze(0))
        return tuple(r.squeeze(0) for r in returned) if isinstance(returned, tuple) else returned.squeeze(0)

    def _projected(self, engine: Any, params: Params, x: Any) -> Any:
        """The input's share of the update; modules with input weights override it."""
        return x

    def _resting(self, engine: Any, params: Params, current: Any, before: Dict[str, Any]) -> Any:
        """The state at rest, where ``_at_zero`` is false."""
        return None

    def returned_states(self) -> Tuple[str, ...]:
        """Names of the states a call returns after the spikes; none if the spikes come alone."""
        hidden = self.init_hidden and not self.output
        return () if hidden else tuple(name for name in self.states if name != "spk")

    def _returned(self, spk: Any, states: Any, before: Optional[Dict[str, Any]] = None) -> Any:
        """The results of a call; a second backward pass through the states ``before`` the step is refused."""
        if before is not None and (spk.requires_grad or states[self.states[-1]].requires_grad):
            self._follow(spk, states, before)
        names = self.returned_states()
        return (spk, *(states[name] for name in names)) if names else spk

    # ---- a whole sequence ----

    def explained(self, fused: bool = True) -> str:
        """Description of how the engine runs a whole sequence."""
        engine = engine_for(self._place().device, torch.float32)
        return (engine if fused else unfused(engine)).explain(self._neuron)

    def over_time(
        self,
        x: Any,
        steps: Optional[int],
        start: Dict[str, Any],
        record: Tuple[str, ...],
        fused: bool = True,
        behind: Any = None,
    ) -> Any:
        """All steps of a sequence through ``engine.scan``; changes nothing on the module.

        Args:
            x: (time, *one step's input), or a time axis of 1 with ``steps``.
            steps: number of steps of a constant input.
            start: states before the first step.
            record: names of states to return over time.
            fused: whether a kernel may do it.
            behind: weight and bias of a Linear that alone gets the spikes; None, there is none.

        Returns:
            spikes (time, ...), recorded states, states after the last step, and False; or, where that is faster, what
            the Linear makes of the spikes in their place, and True.
        """
        if x.dim() - 1 == self.sample_axes:
            start = {n: s.unsqueeze(0) if s.dim() == self.sample_axes else s for n, s in start.items()}
            spk, recorded, final, weighed = self.over_time(x.unsqueeze(1), steps, start, record, fused, behind)
            recorded = {name: value.squeeze(1) for name, value in recorded.items()}
            return spk.squeeze(1), recorded, {n: value.squeeze(0) for n, value in final.items()}, weighed
        sequence = working(x)
        engine, params = self._ready(sequence)
        engine = engine if fused else unfused(engine)
        current = self._neuron.project(engine, params, sequence)
        row = current.detach()[0]
        zeros = partial(at_rest, row, self._shape(row))
        rest = self._resting(engine, params, row, start) or {name: zeros() for name in self.states}
        run = params, self._start(row, start, rest), current
        if behind is not None and x.dtype == behind[0].dtype and not record and not self._neuron.parallel:
            product = engine.readout_scan(self._neuron, *run, *behind, steps=steps)
            if product is not None:
                return product[0], {}, product[1], True
        scan = partial(self._neuron.at_once, engine) if self._neuron.parallel else partial(engine.scan, self._neuron)
        spk, recorded, final = scan(*run, steps=steps, record=record)
        return in_dtype_of(x, spk), recorded, final, False


_DEFAULTS = {**{p.name: p.default for p in SpikingNeuron.face.signature.parameters.values()}, "reset_delay": True}


class LIF(SpikingNeuron):
    """Base of the leaky neurons: ``SpikingNeuron`` with a membrane decay ``beta`` (snnTorch ``LIF``).

    Args:
        beta: membrane decay per step; a number or a tensor that broadcasts to the neurons.
        learn_beta: beta as a Parameter, else a buffer.
        threshold, spike_grad, surrogate_disable, init_hidden, inhibition, learn_threshold, reset_mechanism,
            state_quant, output, graded_spikes_factor, learn_graded_spikes_factor: see ``SpikingNeuron``.
    """

    face = Face(None, f"beta {LEAKING} {GRADED}")
    beta: Any

    def _V_register_buffer(self, V: Any, learn_V: bool) -> None:
        self._register("V", V, learn_V)
