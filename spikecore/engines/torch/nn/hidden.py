"""The state of a spiking module: plain attributes that belong to it alone."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Tuple

import torch
from torch import nn

from spikecore.api.core.layer import ShapeError, State
from spikecore.arguments import shown


class Hidden(nn.Module):
    """A module with a state: one attribute per name in ``states``, an empty tensor while at rest.

    The attributes are no buffers: ``state_dict`` leaves them out, and what synchronises buffers between processes
    leaves each process its own.
    """

    states: ClassVar[Tuple[str, ...]] = ()
    scans: ClassVar[bool] = True  # whether a whole sequence may go through ``engine.scan``

    def reset_mem(self) -> Any:
        """Put the state to rest and return it: one tensor, or one per state in the order of the call's arguments."""
        place = self._place()
        for name in self.states:
            setattr(self, name, place.new_zeros(0))
        resting = tuple(getattr(self, name) for name in self.states)
        return resting[0] if len(resting) == 1 else resting

    def _owner(self) -> str:
        """The neuron's name in messages."""
        return type(self).__name__

    def _place(self) -> Any:
        """A tensor that lies where the module lies."""
        tensors = (t for t in (*self.parameters(), *self.buffers()) if t.is_floating_point())
        return next(tensors, torch.zeros(0)).detach()

    def reset_hidden(self: Any = None) -> None:  # type: ignore[misc]
        """Put this module's state to rest."""
        _needs_instance(self, "reset")
        self.reset_mem()

    def detach_hidden(self: Any = None) -> None:  # type: ignore[misc]
        """Cut this module's state from the graph that made it: no gradient crosses this point in time."""
        _needs_instance(self, "detach")
        for name, value in self.hidden().items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.detach())

    def at_rest(self) -> Dict[str, Any]:
        """The state at rest, as ``hidden`` would return it; the module keeps its own."""
        return {name: torch.zeros(0) for name in self.states}

    def hidden(self) -> Dict[str, Any]:
        """The state as a dict of tensors; empty tensors mean at rest."""
        return {name: getattr(self, name) for name in self.states}

    def set_hidden(self, values: Any) -> None:
        """Set the state from a dict as ``hidden`` returns it.

        Raises:
            KeyError: names other than this module's states.
        """
        if set(values) != set(self.states):
            raise KeyError(f"{self._owner()}: state {sorted(values)}, expected {sorted(self.states)}")
        for name in self.states:
            setattr(self, name, values[name])

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        super()._apply(fn, *args, **kwargs)
        for name, value in self.hidden().items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, fn(value))
        return self

    def __getstate__(self) -> Dict[str, Any]:
        attributes = dict(self.__dict__)
        for name in self.states:
            if isinstance(attributes.get(name), torch.Tensor):
                attributes[name] = attributes[name].detach()
        return attributes

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        if name in self.states:  # a subclass may keep a state as a buffer, as snnTorch does
            self.__dict__.pop(name, None)
        super().register_buffer(name, tensor, persistent)

    def __prepare_scriptable__(self) -> Any:
        """Called by ``torch.jit.script``, which reads source code and knows only part of Python."""
        raise RuntimeError(
            f"{self._owner()}: torch.jit.script cannot read a spiking module. Use torch.export.export or "
            "torch.jit.trace on a forward(x, mem) that returns spk, mem, with modules of init_hidden=False; or "
            "sc.export(snn.from_torch(net, input_shape), path, to='torch')"
        )

    # ---- what a step starts from ----

    def _shape(self, current: Any) -> Tuple[int, ...]:
        """Shape of the state for one step's projected input."""
        return tuple(current.shape)

    def _start(self, current: Any, given: Dict[str, Any], rest: Any = None) -> State:
        """The state a step starts from; empty tensors are at rest, which is zero unless ``rest`` says it."""
        shape, start = tuple(current.shape) if rest else self._shape(current), {}
        for name, value in given.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(
                    f"{self._owner()}: state {name!r} is {shown(value)}, expected a tensor; None starts at rest"
                )
            if rest:
                shape = tuple(rest[name].shape)
            if value.shape != shape and not value.numel():
                start[name] = rest[name] if rest else current.new_zeros(shape)
                continue
            if value.dtype != current.dtype or value.device != current.device:
                value = value.to(device=current.device, dtype=current.dtype)
            start[name] = value if value.shape == shape else self._fitted(name, value, shape)
        return State(start)

    def _fitted(self, name: str, value: Any, shape: Tuple[int, ...]) -> Any:
        if value.numel() == 1:
            return value.reshape(()).expand(shape)
        try:
            return value.expand(shape)
        except RuntimeError:
            raise ShapeError(
                f"{self._owner()}: state {name!r} has shape {tuple(value.shape)}, the input asks for {shape}: "
                "a new sequence, or a batch of another size such as an epoch's last, starts with utils.reset(net)"
            ) from None


def _needs_instance(module: Any, verb: str) -> None:
    if module is None:
        raise TypeError(
            f"{verb}_hidden() of a class would touch networks that have nothing to do with yours: call "
            f"utils.{verb}(net) of spikecore.utils for a whole network, or {verb}_hidden() of a module"
        )
