"""A tensor that stands for a whole sequence: one step to whoever asks for its shape, all steps inside."""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch


class StepByStep(RuntimeError):
    """The reason why a network has to run step by step."""


class OverTime(torch.Tensor):
    """A stand-in for the tensor that ``forward`` sees at one step.

    Attributes:
        over: the run it belongs to (``dispatch.Over``).
        number: how many stand-ins the run had made before.
        seq: the values: (time, *step), or a time axis of 1 for what is the same at all steps.
        promise: what makes the values when somebody asks for them, until then; it gets the stand-in.
        source: what the promised values are made of, until they are.
        refused: why ``forward`` must not look at the values; "" where it may.
    """

    over: Any
    number: int
    promise: Optional[Callable[[OverTime], Any]]
    source: Optional[OverTime]
    refused: str = ""
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # ``Over`` gets all calls

    @staticmethod
    def __new__(
        cls,
        over: Any,
        shape: Any,
        like: Any,
        promise: Optional[Callable[[OverTime], Any]] = None,
        source: Optional[OverTime] = None,
    ) -> OverTime:
        graph = like.is_floating_point() and (like.requires_grad if promise is None else torch.is_grad_enabled())
        stand_in: OverTime = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=like.dtype, device=like.device, requires_grad=graph
        )
        stand_in.over, stand_in.promise, stand_in.source, stand_in._seq = over, promise, source, None
        over.note(stand_in)
        return stand_in

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:  # type: ignore[override]  # torch's own is no method
        raise StepByStep(
            f"{func} got a stand-in for the tensors of all steps, which snn.run passes through forward: something "
            "keeps it beyond the run, or is not redirected by torch; use the loop over time"
        )

    @property
    def seq(self) -> Any:
        """The values over time."""
        if self.promise is not None:
            with torch._C.DisableTorchFunction():
                self._seq = self.promise(self)
            self.promise = self.source = None
        return self._seq

    @seq.setter
    def seq(self, values: Any) -> None:
        self._seq = values

    def awaits(self, memory: int) -> bool:
        """Whether the values are still to be made of what lies in this memory."""
        return self.source is not None and (self.source.promise is not None or memory_of(self.source.seq) == memory)

    @property
    def constant(self) -> bool:
        """Whether there is one value for all steps."""
        return self.promise is None and bool(self._seq.shape[0] == 1)


def holding(over: Any, seq: Any) -> OverTime:
    """A stand-in for values over time."""
    stand_in = OverTime(over, seq.shape[1:], seq)
    stand_in.seq = seq
    return stand_in


def memory_of(x: Any) -> int:
    """A number that tensors with the same memory share."""
    return int(x.untyped_storage().data_ptr() if x.layout is torch.strided else 0) or id(x)
