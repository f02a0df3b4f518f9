"""Monitors: they record inputs, outputs, attributes and gradients of the layers of a torch network at each call.

    with probe.OutputMonitor(net, snn.Leaky) as monitor:
        for x in steps:
            net(x)
    monitor["lif1"]        # a list, one record per call

Records are detached from autograd's graph. ``snn.run`` runs a monitored layer step by step, so a monitor records every
step there, too. Needs the extra ``torch``.
"""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, Iterator, List, Tuple

from spikecore.arguments import checked
from spikecore.engines.torch import torch  # the error about a missing torch says how to install it

nn = torch.nn
Function = Callable[..., Any]


def unpack_len1_tuple(x: Any) -> Any:
    """The entry of a tuple of length 1; any other value is returned unchanged."""
    return x[0] if isinstance(x, tuple) and len(x) == 1 else x


def unchanged(x: Any) -> Any:
    """Return ``x``: the default function of the monitors."""
    return x


class BaseMonitor:
    """Base class of monitors: it has the records, the hooks, and the methods that start and stop recording.

    Attributes:
        records: all records in the order of the calls; ``monitor[i]`` is record i, and ``monitor[name]`` is the list of
            a layer's records.
        monitored_layers: dotted names of the layers.
        name_records_index: for each layer, the positions of its records in ``records``.

    At the end of a ``with`` block the hooks are removed, and the records are kept.
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
        """Delete all records."""
        self.records.clear()
        for positions in self.name_records_index.values():
            positions.clear()

    def enable(self) -> None:
        """Record from now on."""
        self._enable = True

    def disable(self) -> None:
        """Stop recording until ``enable`` is called."""
        self._enable = False

    def is_enable(self) -> bool:
        """Whether calls are recorded."""
        return self._enable

    def remove_hooks(self) -> None:
        """Remove all hooks from the network. The records are kept."""
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
        """Install a hook on every layer that ``instance`` selects.

        Args:
            register: name of the layer's method that installs the hook.
            look: returns the value to record, from the hook's arguments.
            function: name of this monitor's attribute with the user's function.
        """
        for name, layer in picked(type(self).__name__, net, instance):
            self.monitored_layers.append(name)
            self.name_records_index[name] = []
            self.hooks.append(getattr(layer, register)(_hook(weakref.ref(self), name, look, function)))

    def _record(self, name: str, value: Any) -> None:
        self.name_records_index[name].append(len(self.records))
        self.records.append(value)


def _hook(reference: Any, name: str, look: Function, function: str) -> Callable[..., None]:
    """A hook with a weak reference to its monitor, so that the network does not keep an unused monitor alive."""

    def hook(*call: Any) -> None:
        monitor = reference()
        if monitor is not None and monitor.is_enable():
            monitor._record(name, detached(getattr(monitor, function)(detached(unpack_len1_tuple(look(*call))))))

    return hook


def picked(owner: str, net: Any, instance: Any) -> Iterator[Tuple[str, Any]]:
    """The layers of a network to be monitored, with their dotted names.

    Args:
        owner: name of the monitor, for messages.
        net: an ``nn.Module``.
        instance: a class or dotted name, or a tuple or list of them; None is the class of ``net``.

    Raises:
        TypeError: ``instance`` is something else, e.g. a module.
        ValueError: ``instance`` selects no layer.
    """
    wanted = instance if isinstance(instance, (tuple, list)) else (type(net) if instance is None else instance,)
    classes = tuple(entry for entry in wanted if isinstance(entry, type))
    names = {entry for entry in wanted if isinstance(entry, str)}
    if not all(isinstance(entry, (type, str)) for entry in wanted):
        raise TypeError(f"{owner}: instance={instance!r} must be a class, e.g. snn.Leaky, a layer's name, or several")
    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, classes) or name in names]
    known = [name for name, _ in net.named_modules() if name]
    missing = sorted(names - {name for name, _ in layers})
    if missing or not layers:
        raise ValueError(f"{owner}: instance={instance!r} picks no layer of the network; its layers are {known}")
    yield from layers


def detached(value: Any) -> Any:
    """The same values, with tensors detached from autograd's graph, also in tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, (tuple, list)):
        return type(value)(detached(entry) for entry in value)
    if isinstance(value, dict):
        return {key: detached(entry) for key, entry in value.items()}
    return value


class OutputMonitor(BaseMonitor):
    """Records the outputs of layers. A neuron's output is its spikes, or a tuple of spikes and states.

    Args:
        net: the network, an ``nn.Module``.
        instance: the layers: a class, a dotted name, or a tuple or list of them; None for the class of ``net``.
        function_on_output: function that is applied to each output before it is recorded. Default: none.

    Raises:
        TypeError: ``instance`` is neither a class nor a name.
        ValueError: ``instance`` selects no layer.
    """

    @checked
    def __init__(self, net: nn.Module, instance: Any = None, function_on_output: Function = unchanged) -> None:
        super().__init__()
        self.function_on_output = function_on_output
        self._watch(net, instance, "register_forward_hook", lambda module, inputs, output: output, "function_on_output")


class InputMonitor(BaseMonitor):
    """Records the inputs of layers: one value, or a tuple if a layer has several positional arguments.

    Args:
        net, instance: see ``OutputMonitor``.
        function_on_input: function that is applied to each input before it is recorded. Default: none.
    """

    @checked
    def __init__(self, net: nn.Module, instance: Any = None, function_on_input: Function = unchanged) -> None:
        super().__init__()
        self.function_on_input = function_on_input
        self._watch(net, instance, "register_forward_hook", lambda module, inputs, output: inputs, "function_on_input")


class AttributeMonitor(BaseMonitor):
    """Records an attribute of layers at each call, e.g. the membrane ``"mem"``.

    Args:
        attribute_name: name of any attribute: a state, parameter or option.
        pre_forward: True reads it before the call, False after it.
        net, instance: see ``OutputMonitor``.
        function_on_attribute: function that is applied to each value before it is recorded. Default: none.

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
    """Records the gradient with respect to the input of layers, in the order of the backward pass: last call first.

    Args:
        net, instance: see ``OutputMonitor``.
        function_on_grad_input: function that is applied to each gradient before it is recorded. A missing gradient is
            None. Default: none.
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
    """Records the gradient with respect to the output of layers, in the order of the backward pass: last call first.

    Args:
        net, instance: see ``OutputMonitor``.
        function_on_grad_output: function that is applied to each gradient before it is recorded. A missing gradient is
            None. Default: none.
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
