"""Any neuron of ``spikecore`` as a module: those that snnTorch does not have, and the user's own."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar, Dict, FrozenSet, List, Tuple, Union

import numpy as np
import torch
from torch import nn

from spikecore.api.core.layer import Params, Shape
from spikecore.api.core.parameters import FixedArray, Learn, values_of
from spikecore.api.core.random import Key
from spikecore.api.core.sizes import sample_shape
from spikecore.api.core.tree import Tree
from spikecore.api.neurons.base import Neuron
from spikecore.api.neurons.recurrent import Recurrent
from spikecore.api.neurons.stepper import Stepper, with_draws
from spikecore.arguments import checked, shown
from spikecore.engines.torch.nn.engine import working
from spikecore.engines.torch.nn.neuron import SpikingNeuron


class ParameterTree(nn.Module):
    """Parameters as a tree: ``weights.neuron.beta`` is "neuron.beta"."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        for name, value in params.items():
            if isinstance(value, Tree):
                self.add_module(name, ParameterTree(value))  # type: ignore[arg-type]
            else:
                self.register_parameter(
                    name, nn.Parameter(torch.as_tensor(np.array(value)).to(torch.get_default_dtype()))
                )

    def tree(self, dtype: Any) -> Params:
        """The parameters in this dtype, as a neuron takes them."""
        inner = {name: part.tree(dtype) for name, part in self._modules.items() if isinstance(part, ParameterTree)}
        own = {name: value.to(dtype) for name, value in self._parameters.items() if value is not None}
        return Params({**own, **inner})


class NeuronModule(SpikingNeuron):
    """A neuron of ``spikecore`` as an ``nn.Module``; ``module`` makes it.

        spk, *states = lif(x, *states)

    It is called, keeps its state and is run by ``snn.run`` as all spiking modules are. The states are those of the
    neuron (``lif.states``). Its parameters are under ``params``, by the names that ``sc.Model.params`` has for them.

    Args:
        neuron: a neuron, or another layer with a step.
        params: its first parameters, a tree of arrays.
        init_hidden, output: as in ``SpikingNeuron``.
    """

    states: ClassVar[Tuple[str, ...]] = ()  # an instance's own
    honours: ClassVar[FrozenSet[str]] = frozenset()
    _at_zero: ClassVar[bool] = False

    def __init__(self, neuron: Any, params: Params, init_hidden: bool = False, output: bool = False) -> None:
        nn.Module.__init__(self)
        self._find_own()
        SpikingNeuron.instances.append(self)
        self.states = tuple(neuron.state)  # type: ignore[misc]
        self.init_hidden, self.output = init_hidden, output
        self._layer, self._neuron = neuron, getattr(neuron, "recurrent", neuron)
        # ``snn.run`` takes the states' shape from the input's; where that may not hold, the neuron runs step by step
        core, ours = _core_of(self._neuron), type(neuron).__module__.startswith("spikecore.")
        one_shape = core is not None and (_rests_as_usual(self._neuron) or (ours and core is self._neuron))
        self.scans = one_shape and ("spk" not in self.states or isinstance(self._neuron, Recurrent))  # type: ignore[misc]
        self.params = ParameterTree(params)
        self._init_mem()

    def forward(self, input_: Any, *states: Any) -> Any:
        if len(states) > len(self.states):
            raise TypeError(f"{self._owner()}: called with {len(states)} states, its states are {self.states}")
        return self._advance(input_, *states)

    def _owner(self) -> str:
        return type(self._layer).__name__

    def returned_states(self) -> Tuple[str, ...]:
        hidden = self.init_hidden and not self.output
        return () if hidden else self.states[1:] if isinstance(self._neuron, Recurrent) else self.states

    def described(self) -> Any:
        return self._layer

    def learned(self) -> Dict[str, torch.Tensor]:
        return dict(self.params.named_parameters())

    def extra_repr(self) -> str:
        """The text inside the parentheses of ``repr``: the neuron."""
        return repr(self._layer)

    # ---- the step ----

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        return self.params.tree(getattr(torch, engine.dtype))

    def _projected(self, engine: Any, params: Params, x: Any) -> Any:
        return self._neuron.entering(engine, params, x)

    def _resting(self, engine: Any, params: Params, current: Any, before: Dict[str, Any]) -> Any:
        same = all(value.shape == current.shape for value in before.values())
        return before if same else self._at_rest(engine, params, current)

    def _at_rest(self, engine: Any, params: Params, current: Any) -> Any:
        """The state at rest; noise begins anew with each sequence, and follows ``torch.manual_seed``."""
        rest = self._neuron.rest(engine, params, current)
        if "draw_1" not in self.states:
            return rest
        return with_draws(engine, self._neuron, rest, key=Key((int(torch.randint(1 << 31, ())),)))

    def _noted(self, start: Any) -> Tuple[Tuple[str, Any], ...]:
        return ()  # this module has no property ``reset``

    def _rebuild(self) -> None:
        """Do nothing: the options belong to the neuron, and none is an attribute of this module."""

    def _take_reset(self) -> None:
        """Do nothing: the reset is an option of the neuron."""


class ProjectingModule(NeuronModule):
    """A neuron whose states are shaped unlike its input."""

    def _shape(self, current: Any) -> Tuple[int, ...]:
        x = working(torch.zeros(current.shape, device=current.device, dtype=current.dtype))
        engine, params = self._ready(x)
        rest = self._neuron.rest(engine, params, self._projected(engine, params, x))
        return tuple(rest[self.states[0]].shape)


def wrapped(neuron: Any, params: Any, init_hidden: bool = False, output: bool = False) -> NeuronModule:
    """The module of a neuron with these parameters; where its states are like its input, ``snn.run`` can do more."""
    core = _core_of(neuron)
    usual = core is None or (type(core).project is Stepper.project and type(core).init is Neuron.init)
    alike = usual and (core is None or _rests_as_usual(neuron))
    return (NeuronModule if alike else ProjectingModule)(neuron, params, init_hidden, output)


def _core_of(neuron: Any) -> Any:
    """The neuron within wrappers; None where there is none, or a wrapper of the user's own does not say which."""
    return neuron.core[0] if isinstance(neuron, Stepper) and type(neuron).core is not Stepper.core else None


def _rests_as_usual(neuron: Any) -> bool:
    """Whether all states rest at zero, shaped like the neuron's input; wrappers of the user's own may add others."""
    core, ours = _core_of(neuron), type(neuron).__module__.startswith("spikecore.")
    return type(core).rest is Neuron.rest and (ours or core is neuron)


@checked
def module(
    neuron: Stepper,
    init_hidden: bool = False,
    output: bool = False,
    input_shape: Union[None, int, Shape] = None,
) -> NeuronModule:
    """Any neuron of ``spikecore`` as an ``nn.Module``: ALIF, Izhikevich, wrappers, learned time constants, your own.

        lif = snn.module(sc.ALIF(beta=sc.learn(0.9)), init_hidden=True)

    It is a spiking module like those of snnTorch's names: called step by step or by ``snn.run``, with its state passed
    or hidden, in ``state_dict``, under ``torch.compile``, autocast and DistributedDataParallel.

    Args:
        neuron: a neuron, or a wrapper around one, e.g. ``sc.Recurrent(sc.ALIF(), sc.Linear(10, 10))``.
        init_hidden: keep the state in the module; else ``spk, *states = lif(x, *states)``.
        output: with ``init_hidden``, return the states too.
        input_shape: shape of one sample; only needed where first values depend on it (``per="neuron"``, convolutions).

    Returns:
        The module. Its parameters are under ``params``, by the names that ``sc.Model.params`` has for them. First
        weights follow ``torch.manual_seed``.

    Raises:
        TypeError: ``neuron`` is something else. ValueError: ``input_shape`` is needed, or does not fit.
    """
    if not isinstance(neuron, Stepper):
        raise TypeError(f"module: neuron={shown(neuron)} must be a neuron of spikecore, e.g. sc.ALIF(beta=0.9)")
    shape = np.broadcast_shapes(*_shapes(neuron)) if input_shape is None else sample_shape("input_shape", input_shape)
    try:
        init = neuron.init(Key((int(torch.randint(1 << 31, ())),)), shape)
    except ValueError as error:
        hint = "; pass input_shape=(...), the shape of one sample" if input_shape is None else ""
        raise ValueError(f"module: input_shape={input_shape}: {error}{hint}") from None
    return wrapped(neuron, init.params, init_hidden, output)


def _shapes(layer: Any) -> List[Shape]:
    """Shapes with which that of a sample broadcasts, as far as the layer and what it wraps say them."""
    if layer.input_shape is not None:
        return [layer.input_shape]
    values = [getattr(layer, f.name) for f in fields(layer)]
    arrays = [np.shape(values_of(value)) for value in values if isinstance(value, (FixedArray, Learn))]
    inner = (_shapes(value) for value in values if hasattr(value, "input_shape"))
    return [*arrays, *(shape for shapes in inner for shape in shapes)]
