"""Parameters and options of a spiking module, and the neuron of ``spikecore.api`` they describe."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api.core.parameters import check_range, learn, normalise
from spikecore.api.neurons.base import DECAY, UNBOUNDED
from spikecore.api.neurons.membrane import Membrane
from spikecore.arguments import is_array, shown
from spikecore.engines.torch.nn.engine import quantiser_of, surrogate_of
from spikecore.engines.torch.nn.hidden import Hidden

OWN_TENSORS = ("threshold", "graded_spikes_factor")


def register(module: nn.Module, name: str, value: Any, learned: bool, bounds: Tuple[float, float] = UNBOUNDED) -> None:
    """Give a module a copy of the value, as Parameter or buffer. A decay that is learned is clamped at every step.

    Raises:
        ValueError: a constant out of bounds; a value that is not finite.
    """
    if isinstance(value, bool) or not is_array(value):
        raise TypeError(f"{type(module).__name__}: {name}={shown(value)} must be a number or an array of numbers")
    tensor = value.detach().clone() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.device.type != "meta":
        given = value if isinstance(value, (int, float)) else tensor.tolist()
        check_range(module, name, normalise(given), *(UNBOUNDED if learned and bounds == DECAY else bounds))
    if learned:
        setattr(module, name, nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor)


class Described(Hidden):
    """A module that one neuron of ``spikecore.api`` computes: ``kind``, with this module's options.

    The description is made once and anew when an option changes, so a setter or ``load_state_dict`` changes the
    dynamics with the next step. It holds no values: the tensors are handed to it at every call.
    """

    kind: ClassVar[Any] = None  # the neuron of spikecore.api
    tensors: ClassVar[Tuple[str, ...]] = OWN_TENSORS  # parameters that ``kind`` takes, all of them read at every call
    reset_dict: ClassVar[Dict[str, int]] = {"subtract": 0, "zero": 1, "none": 2, "subtract_decayed": 3}
    reset_delay: bool = True

    threshold: Any
    graded_spikes_factor: Any
    reset_mechanism_val: Any
    spike_grad: Any
    surrogate_disable: Any
    state_quant: Any
    _neuron: Any
    _options: Dict[str, Any]

    def _known_reset(self, name: Any) -> Any:
        allowed = [n for n in self.reset_dict if n in getattr(self.kind, "resets", self.reset_dict)]
        if name not in allowed:
            raise ValueError(
                f"{type(self).__name__}: reset_mechanism={name!r} must be set to one of {', '.join(map(repr, allowed))}"
            )
        return name

    def _register(self, name: str, value: Any, learned: bool) -> None:
        register(self, name, value, learned, getattr(self.kind, "bounds", {}).get(name, UNBOUNDED))

    # What a constructor calls by snnTorch's names, so that it can be overridden.

    def _threshold_buffer(self, threshold: Any, learn_threshold: bool) -> None:
        self._register("threshold", threshold, learn_threshold)

    def _graded_spikes_buffer(self, graded_spikes_factor: Any, learn_graded_spikes_factor: bool) -> None:
        self._register("graded_spikes_factor", graded_spikes_factor, learn_graded_spikes_factor)

    def _init_mem(self) -> None:
        for name in self.states:
            setattr(self, name, torch.zeros(0))

    def _describe(self) -> Any:
        """The neuron of ``spikecore.api`` that this module is; its numbers are placeholders, the tensors count."""
        fields = {name: learn(default) for name, default in self._defaults().items()}
        return self.kind(**fields, **self._described_options())

    def _defaults(self) -> Dict[str, float]:
        names = self.kind.parameter_names() or OWN_TENSORS
        return {name: getattr(self.kind, name) for name in names if name in self.tensors}

    def _described_options(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {"surrogate": self._surrogate}
        if issubclass(self.kind, Membrane):
            for name in ("reset_mechanism", "inhibition"):
                found[name] = self._options[name]
            found["state_quant"] = self._quantiser
            if not self.reset_delay:
                found["reset_delay"] = False
        return found

    def _rebuild(self) -> None:
        """Make the description anew; called at the end of a constructor and when an option changes."""
        self._surrogate = surrogate_of(type(self).__name__, self._options["spike_grad"], self.surrogate_disable)
        self._quantiser = quantiser_of(type(self).__name__, self.state_quant)
        if self.kind is not None:
            self._neuron = self._describe()

    def _hold(self, name: str, value: Any) -> None:
        """A function that is a module belongs to this one, parameters and all."""
        self._modules.pop(name, None)
        if isinstance(value, nn.Module):
            self._modules[name] = value

    def _firing(self) -> Any:
        given = self._options["spike_grad"]
        return self._surrogate if given is None or self.surrogate_disable else given

    def _take_reset(self) -> None:
        """Follow the buffer ``reset_mechanism_val``."""
        if self.reset_mechanism_val.device.type != "meta":
            value = int(self.reset_mechanism_val)
            names = {number: name for name, number in self.reset_dict.items()}
            self._options["reset_mechanism"] = self._known_reset(names.get(value, value))
        self._rebuild()

    @property
    def neuron(self) -> Any:
        """The neuron of ``spikecore.api`` that computes."""
        return self._neuron

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._take_reset()

    def extra_repr(self) -> str:
        """Reset and modes."""
        shown = {name: self._options[name] for name in ("reset_mechanism", "inhibition") if self._options[name]}
        shown.update({name: True for name in ("init_hidden", "output") if getattr(self, name)})
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


def _option(name: str, doc: str) -> Any:
    """A property over an option; setting it takes effect with the next step."""

    def get(self: Any) -> Any:
        return self._firing() if name == "spike_grad" else self._options[name]

    def put(self: Any, value: Any) -> None:
        if name == "reset_mechanism":
            number = self.reset_dict[self._known_reset(value)]
            self._buffers["reset_mechanism_val"] = torch.full_like(self.reset_mechanism_val, number)
        self._options[name] = value
        self._hold(name, value)
        self._rebuild()

    return property(get, put, doc=doc)


for _name, _doc in {
    "spike_grad": "The function from potentials above threshold to spikes that is used.",
    "surrogate_disable": "Whether spikes pass no gradient.",
    "inhibition": "Whether only the highest membrane fires.",
    "state_quant": "The quantiser as it was given.",
    "reset_mechanism": "What a spike does to the membrane; kept in step with the buffer ``reset_mechanism_val``.",
    "_reset_mechanism": "The same, for what was written for snnTorch.",
}.items():
    setattr(Described, _name, _option(_name.lstrip("_"), _doc))
