"""Parameters and options of a spiking module, and the neuron of ``spikecore.api`` they describe."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Dict, List, Tuple

import torch
from torch import nn

from spikecore.api.core.parameters import check_range, learn, normalise, values_of
from spikecore.api.neurons.base import DECAY, UNBOUNDED
from spikecore.arguments import is_array, shown
from spikecore.engines.torch.nn.engine import FunctionQuantiser, FunctionSurrogate, quantiser_of, surrogate_of
from spikecore.engines.torch.nn.face import Faced
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.printing import MOST_VALUES, array, table, text_of

OWN_TENSORS = ("threshold", "graded_spikes_factor")
OPTIONS = ("spike_grad", "surrogate_disable", "inhibition", "state_quant", "reset_mechanism", "reset_delay")


def register(module: nn.Module, name: str, value: Any, learned: bool, bounds: Any = UNBOUNDED) -> None:
    """Give a module a copy of the value, as Parameter or buffer. A decay that is learned is clamped at every step.

    Raises:
        TypeError: the value is no number and no array of numbers.
        ValueError: it is not finite, or a constant out of bounds.
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


def field_of(tensor: torch.Tensor, bounds: Any = None) -> Any:
    """A tensor as the field of a neuron: a number or an array, learned if it is a Parameter.

    A learned decay is what the neuron makes of it: kept in [0, 1].
    """
    plain = tensor.detach().to("cpu", torch.float64)
    if not isinstance(tensor, nn.Parameter):
        return plain.item() if plain.numel() == 1 else plain.numpy()
    plain = plain.clamp(0.0, 1.0) if bounds == DECAY else plain
    return learn(plain.item() if plain.ndim == 0 else plain.numpy())


class ModuleOptions(Faced, Hidden):
    """A module that one neuron of ``spikecore.api`` computes: ``kind``, with this module's options.

    The neuron is made from the options, and anew when one changes, so a setter or ``load_state_dict`` changes the
    dynamics with the next step. It holds no values: the tensors are handed to it at every call.
    """

    reset_dict: ClassVar[Dict[str, int]] = {"subtract": 0, "zero": 1, "none": 2, "subtract_decayed": 3}

    threshold: Any
    graded_spikes_factor: Any
    reset_mechanism_val: Any
    reset_delay: Any
    spike_grad: Any
    surrogate_disable: Any
    state_quant: Any
    _layer: Any = None  # the neuron as ``spikecore`` names it
    _neuron: Any = None  # what runs over time: the same, or the Recurrent that it is short for
    _options: Dict[str, Any]

    # ---- making ----

    def _describe(self, given: Dict[str, Any]) -> None:
        """Take over the options, and make the neuron, which refuses what does not go together."""
        self._options = {name: given[name] for name in OPTIONS}
        self._known_reset(given["reset_mechanism"])
        known = {f.name for f in fields(self.kind)} if self.kind is not None else set()
        for name in (known | {"init_hidden", "output"}) & set(given):
            if name not in (*OPTIONS, *OWN_TENSORS, *self.face.values):
                setattr(self, name, given[name])
        self._hold("spike_grad", given["spike_grad"])
        self._hold("state_quant", given["state_quant"])
        self._rebuild()

    def _fields(self) -> Dict[str, Any]:
        """The neuron's fields: options as they are set, and placeholders for what the tensors say."""
        own = {**self.__dict__, **self._options, "surrogate": self._surrogate, "state_quant": self._quantiser}
        options = {f.name: own[f.name] for f in fields(self.kind) if f.name in own}
        return {**options, **{name: learn(_default(self.kind, name)) for name in self.tensors}}

    def _rebuild(self) -> None:
        """Make the neuron anew, from options that have changed."""
        self._surrogate = surrogate_of(type(self).__name__, self._options["spike_grad"], self.surrogate_disable)
        self._quantiser = quantiser_of(type(self).__name__, self.state_quant)
        if self.kind is not None:
            self._layer = self.kind(**self._fields())
            self._neuron = getattr(self._layer, "recurrent", self._layer)

    def _values(self) -> Dict[str, Any]:
        """The neuron's parameters as they are on this module."""
        return {name: getattr(self, name) for name in self.tensors}

    def _valued(self) -> Any:
        """The neuron with this module's values; its class checks them."""
        values = {name: value for name, value in self._values().items() if isinstance(value, torch.Tensor)}
        if any(value.device.type == "meta" for value in values.values()):
            return self._layer
        bounds = self.kind.bounds
        return replace(self._layer, **{name: field_of(value, bounds.get(name)) for name, value in values.items()})

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

    # ---- conversion ----

    def described(self) -> Any:
        """The neuron of ``spikecore`` with this module's options and values.

        Raises:
            ValueError: something of the module is a function of torch or the user's own code, which no neuron can be.
        """
        if isinstance(self._surrogate, FunctionSurrogate):
            raise ValueError(f"spike_grad={self.spike_grad!r} is a function of torch; use a spikecore.surrogate")
        if isinstance(self._quantiser, FunctionQuantiser):
            raise ValueError(f"state_quant={self.state_quant!r} is a function of torch; use functional.quant")
        return self._valued()

    def learned(self) -> Dict[str, torch.Tensor]:
        """The weights and what is learned, by the neuron's names (``sc.Model.params``)."""
        own = self.named_parameters(recurse=False)
        return {**{name: p for name, p in own if name in self.kind.parameter_names()}, **self._weights()}

    def _weights(self) -> Dict[str, torch.Tensor]:
        """The neuron's arguments besides its fields, by its names."""
        return {}

    # ---- options ----

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
        """The options as the user wrote them: values, the reset, and what differs from the defaults."""
        return ", ".join(f"{name}={text}" for name, text in self._told())

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self._told())

    def _told(self) -> List[Tuple[str, str]]:
        """Names and texts of the options that are printed."""
        told = [(name, _written(getattr(self, name))) for name in self.face.values if _given(self, name)]
        parameters = self.face.signature.parameters
        learned = [f"learn_{name}" for name in self.face.values if isinstance(getattr(self, name, 0), nn.Parameter)]
        held = {**self._options, "init_hidden": self.init_hidden, "output": self.output}
        for name in (name for name in held if name in parameters):
            if name == "reset_mechanism" or held[name] != parameters[name].default:
                told.append((name, text_of(held[name])))
        return [*told, *((name, "True") for name in learned if name in parameters)]


def _given(module: Any, name: str) -> bool:
    value, default = getattr(module, name, None), module.face.signature.parameters[name].default
    if not isinstance(value, torch.Tensor):
        return False
    return name in ("alpha", "beta", "threshold") or value.numel() != 1 or value.item() != default


def _written(tensor: torch.Tensor) -> str:
    """A tensor's values as a user writes them: up to seven digits, since float32 has no more; a large one's shape."""
    if tensor.device.type == "meta" or tensor.numel() > MOST_VALUES:
        return array(tensor)
    if tensor.numel() == 1:
        return repr(float(f"{tensor.item():.7g}"))
    return repr([float(f"{value:.7g}") for value in tensor.flatten().tolist()])


def _default(kind: Any, name: str) -> float:
    """A number to stand for a parameter that a tensor holds."""
    value = getattr(kind, name)
    return 1.0 if value is None else float(values_of(value))


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
    "reset_delay": "Whether a spike resets the membrane one step later.",
    "reset_mechanism": "What a spike does to the membrane; kept in step with the buffer ``reset_mechanism_val``.",
    "_reset_mechanism": "The same, for what was written for snnTorch.",
}.items():
    setattr(ModuleOptions, _name, _option(_name.lstrip("_"), _doc))
