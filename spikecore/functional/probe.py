"""Monitors: what the layers of a torch network take in, give out, hold and pass back, call by call.

    with probe.OutputMonitor(net, snn.Leaky) as monitor:
        for x in steps:
            net(x)
    monitor["lif1"]        # a list, one record per call

Records are detached: a monitor keeps values alive, never the graphs that made them. ``snn.run`` sends a layer that is
monitored through its steps one by one, so a monitor sees every step there, too. Needs the extra ``torch``.
"""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, Iterator, List, Tuple

from spikecore.arguments import checked
from spikecore.engines.torch import torch  # says how to get it where it is missing

nn = torch.nn
Function = Callable[..., Any]


def unpack_len1_tuple(x: Any) -> Any:
    """The only member of a tuple of length 1; anything else as it is."""
    return x[0] if isinstance(x, tuple) and len(x) == 1 else x


def unchanged(x: Any) -> Any:
    """The value itself."""
    return x


class BaseMonitor:
    """What all monitors share: records, switches and hooks.

    Attributes:
        records: all records in the order of the calls; ``monitor[i]`` is the i-th, ``monitor[name]`` the list of a
            layer's.
        monitored_layers: dotted names of the layers.
        name_records_index: for each of them, the positions of its records.

    As a context manager it removes its hooks on the way out and keeps its records.
    """

    def __init__(self) -> None:
        self.hooks: List[Any] = []
        self.monitored_layers: List[str] = []
        self.records: List[Any] = []
        self.name_records_index: Dict[str, List[int]] = {}
        self._enable = True

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, int):
            return self.records[i]
        if i not in self.name_records_index:
            known = ", ".join(map(repr, self.monitored_layers))
            raise KeyError(f"{type(self).__name__}: {i!r} is no number and none of the monitored layers {known}")
        return [self.records[k] for k in self.name_records_index[i]]

    def __len__(self) -> int:
        return len(self.records)

    def clear_recorded_data(self) -> None:
        """Forget all records."""
        self.records.clear()
        for positions in self.name_records_index.values():
            positions.clear()

    def enable(self) -> None:
        """Record from now on."""
        self._enable = True

    def disable(self) -> None:
        """Record nothing until ``enable``."""
        self._enable = False

    def is_enable(self) -> bool:
        """Whether calls are recorded."""
        return self._enable

    def remove_hooks(self) -> None:
        """Let go of the network; the records stay."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove_hooks()

    def __del__(self) -> None:
        for hook in getattr(self, "hooks", ()):
            hook.remove()

    def _watch(self, net: Any, instance: Any, register: str, look: Function, function: str) -> None:
        """Hook every layer that ``instance`` picks.

        Args:
            register: the layer's method that installs the hook.
            look: what to record, from the hook's arguments.
            function: the attribute with the user's function.
        """
        for name, layer in picked(type(self).__name__, net, instance):
            self.monitored_layers.append(name)
            self.name_records_index[name] = []
            self.hooks.append(getattr(layer, register)(_hook(weakref.ref(self), name, look, function)))

    def _keep(self, name: str, value: Any) -> None:
        self.name_records_index[name].append(len(self.records))
        self.records.append(value)


def _hook(here: Any, name: str, look: Function, function: str) -> Callable[..., None]:
    """A hook that knows its monitor weakly, so that the network does not keep a forgotten monitor alive."""

    def hook(*call: Any) -> None:
        monitor = here()
        if monitor is not None and monitor.is_enable():
            monitor._keep(name, detached(getattr(monitor, function)(detached(unpack_len1_tuple(look(*call))))))

    return hook


def picked(owner: str, net: Any, instance: Any) -> Iterator[Tuple[str, Any]]:
    """The layers of a network to be monitored, with their dotted names.

    Args:
        owner: who asks, for messages.
        net: an ``nn.Module``.
        instance: a class or dotted name, or a tuple or list of them; None is the class of ``net``.

    Raises:
        TypeError: ``instance`` is something else, e.g. a module. ValueError: no layer is picked.
    """
    asked = instance if isinstance(instance, (tuple, list)) else (type(net) if instance is None else instance,)
    classes = tuple(one for one in asked if isinstance(one, type))
    names = {one for one in asked if isinstance(one, str)}
    if not all(isinstance(one, (type, str)) for one in asked):
        raise TypeError(f"{owner}: instance={instance!r} must be a class, e.g. snn.Leaky, a layer's name, or several")
    found = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, classes) or name in names]
    known = [name for name, _ in net.named_modules() if name]
    missing = sorted(names - {name for name, _ in found})
    if missing or not found:
        raise ValueError(f"{owner}: instance={instance!r} picks no layer of the network; its layers are {known}")
    yield from found


def detached(value: Any) -> Any:
    """The same values without their graphs, in tuples, lists and dicts as well."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, (tuple, list)):
        return type(value)(detached(one) for one in value)
    if isinstance(value, dict):
        return {key: detached(one) for key, one in value.items()}
    return value


class OutputMonitor(BaseMonitor):
    """Records what layers return: of a neuron its spikes, or spikes and states as a tuple.

    Args:
        net: the network, an ``nn.Module``.
        instance: which layers: a class, a dotted name, or a tuple or list of them; None, those of the class of ``net``.
        function_on_output: applied to each output before it is kept.

    Raises:
        TypeError: ``instance`` is neither class nor name. ValueError: it picks no layer.
    """

    @checked
    def __init__(self, net: nn.Module, instance: Any = None, function_on_output: Function = unchanged) -> None:
        super().__init__()
        self.function_on_output = function_on_output
        self._watch(net, instance, "register_forward_hook", lambda module, inputs, output: output, "function_on_output")


class InputMonitor(BaseMonitor):
    """Records what layers are called with: the input, or a tuple if there are several positional arguments.

    Args:
        net, instance: see ``OutputMonitor``.
        function_on_input: applied to each input before it is kept.
    """

    @checked
    def __init__(self, net: nn.Module, instance: Any = None, function_on_input: Function = unchanged) -> None:
        super().__init__()
        self.function_on_input = function_on_input
        self._watch(net, instance, "register_forward_hook", lambda module, inputs, output: inputs, "function_on_input")


class AttributeMonitor(BaseMonitor):
    """Records an attribute of layers at each call, e.g. the membrane ``"mem"``.

    Args:
        attribute_name: any attribute, a state, parameter or option.
        pre_forward: read it before the call; else after it.
        net, instance: see ``OutputMonitor``.
        function_on_attribute: applied to each value before it is kept.

    Raises:
        AttributeError: at the call, if the layer has no such attribute.
    """

    @checked
    def __init__(
        self,
        attribute_name: str,
        pre_forward: bool,
        net: nn.Module,
        instance: Any = None,
        function_on_attribute: Function = unchanged,
    ) -> None:
        super().__init__()
        self.attribute_name, self.function_on_attribute = attribute_name, function_on_attribute
        register = "register_forward_pre_hook" if pre_forward else "register_forward_hook"
        self._watch(
            net, instance, register, lambda module, *_: getattr(module, attribute_name), "function_on_attribute"
        )


class GradInputMonitor(BaseMonitor):
    """Records the gradient by the input of layers, in the order of the backward pass: the last call first.

    Args:
        net, instance: see ``OutputMonitor``.
        function_on_grad_input: applied to each gradient before it is kept; None stands where there is none.
    """

    @checked
    def __init__(self, net: nn.Module, instance: Any = None, function_on_grad_input: Function = unchanged) -> None:
        super().__init__()
        self.function_on_grad_input = function_on_grad_input
        self._watch(
            net,
            instance,
            "register_full_backward_hook",
            lambda module, by_input, by_output: by_input,
            "function_on_grad_input",
        )


class GradOutputMonitor(BaseMonitor):
    """Records the gradient by the output of layers, in the order of the backward pass: the last call first.

    Args:
        net, instance: see ``OutputMonitor``.
        function_on_grad_output: applied to each gradient before it is kept; None stands where there is none.
    """

    @checked
    def __init__(self, net: nn.Module, instance: Any = None, function_on_grad_output: Function = unchanged) -> None:
        super().__init__()
        self.function_on_grad_output = function_on_grad_output
        self._watch(
            net,
            instance,
            "register_full_backward_hook",
            lambda module, by_input, by_output: by_output,
            "function_on_grad_output",
        )
