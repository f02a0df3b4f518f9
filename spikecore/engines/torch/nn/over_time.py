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
        seq: the values: (time, *step), or a time axis of 1 for what is the same at all steps.
        later: what makes the values when somebody asks for them, until then; it gets the stand-in.
        owner: whose memory the values lie in, if ``forward`` may not edit it in place; else "".
        neuron: the neuron whose spikes these are, until they are made.
        links, source, probe: functions to be called on the values of another stand-in, until they are; what they make
            of one step, and the bytes of one step between them, at most.
        extended: whether a function was put behind the links.
        number: how many stand-ins the run had made before.
    """

    over: Any
    later: Optional[Callable[[OverTime], Any]]
    owner: str = ""
    neuron: Any = None
    links: Any = ()
    source: Any = None
    probe: Any = None
    extended: bool = False
    number: int
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # ``Over`` gets all calls

    @staticmethod
    def __new__(cls, over: Any, shape: Any, like: Any, later: Optional[Callable[[OverTime], Any]] = None) -> OverTime:
        graph = like.is_floating_point() and (like.requires_grad if later is None else torch.is_grad_enabled())
        made: OverTime = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=like.dtype, device=like.device, requires_grad=graph
        )
        made.over, made.later, made._seq = over, later, None
        over.note(made)
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:  # type: ignore[override]  # torch's own is no method
        raise StepByStep(
            f"{func} got a stand-in for the tensors of all steps, which snn.run passes through forward: something "
            "keeps it beyond the run, or is not redirected by torch; use the loop over time"
        )

    @property
    def seq(self) -> Any:
        """The values over time."""
        if self.later is not None:
            with torch._C.DisableTorchFunction():
                self._seq = self.later(self)
            self.later, self.neuron, self.links, self.source, self.probe = None, None, (), None, None
        return self._seq

    @seq.setter
    def seq(self, values: Any) -> None:
        self._seq = values

    @property
    def constant(self) -> bool:
        """Whether there is one value for all steps."""
        return self.later is None and bool(self._seq.shape[0] == 1)


def holding(over: Any, seq: Any, owner: str = "") -> OverTime:
    """A stand-in for values over time."""
    made = OverTime(over, seq.shape[1:], seq)
    made.seq, made.owner = seq, owner
    return made


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
