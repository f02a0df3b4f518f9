"""Stand-ins: tensors that have the shape of one time step and hold the values of all steps."""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import Any

import torch

from spikecore.api.surrogate.special import custom_surrogate
from spikecore.engines.torch.engine import TorchEngine
from spikecore.engines.torch.nn.engine import WORKING


class StepByStep(RuntimeError):
    """The reason why a network has to run step by step.

    Attributes:
        restarted: the name of a neuron that forward calls with a state which is the same at every step; "" for none.
    """

    restarted: str = ""


class SequenceTensor(torch.Tensor):
    """A stand-in for the tensor that ``forward`` sees at one step.

    Attributes:
        over: the run it belongs to (``dispatch.SequenceMode``).
        values: the values at all steps, (time, *step), or with a time axis of 1 if they are the same at all steps; None
            until they are used.
        run, what: the run of the neuron that computes them when they are used (``neuron_run.NeuronRun``), and which of
            its outputs they are.
        refused: why ``forward`` must not look at them; "" where it may.
    """

    over: Any
    values: Any = None
    run: Any
    what: str
    refused: str = ""
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # ``SequenceMode`` gets all calls

    @staticmethod
    def __new__(cls, over: Any, shape: Any, like: Any, run: Any = None, what: str = "") -> SequenceTensor:
        graph = like.is_floating_point() and (like.requires_grad if run is None else torch.is_grad_enabled())
        stand_in: SequenceTensor = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=like.dtype, device=like.device, requires_grad=graph
        )
        stand_in.over, stand_in.run, stand_in.what = over, run, what
        over.made.append(weakref.ref(stand_in))
        return stand_in

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:  # type: ignore[override]  # torch's own is no method
        raise StepByStep(
            f"{func} got a stand-in for the tensors of all steps, which snn.run passes through forward: something "
            "keeps it beyond the run, or is not redirected by torch; use the loop over time"
        )

    @property
    def seq(self) -> Any:
        """The values; they are made now if they have not been."""
        if self.values is None:
            with torch._C.DisableTorchFunction():
                self.values = self.run.made(self.what)
        return self.values

    @property
    def engine(self) -> ForwardEngine:
        """The engine for functions of this library that ``forward`` calls, such as a surrogate.

        Raises:
            StepByStep: no engine computes in this dtype.
        """
        if self.dtype not in WORKING:
            raise StepByStep(f"forward calls a function of spikecore on values of {self.dtype}")
        return _engine(str(self.device), WORKING[self.dtype])

    @property
    def constant(self) -> bool:
        """Whether there is one value for all steps."""
        return len(self.seq) == 1


def holding(over: Any, seq: Any) -> SequenceTensor:
    """A stand-in for values over time."""
    stand_in = SequenceTensor(over, seq.shape[1:], seq)
    stand_in.values = seq
    return stand_in


def memory_of(x: Any) -> int:
    """A number that tensors with the same memory share."""
    return int(x.untyped_storage().data_ptr() if x.layout is torch.strided else 0) or id(x)


class ForwardEngine(TorchEngine):
    """The torch engine, whose words torch redirects; its spikes are an ``autograd.Function``, which is not."""

    def __init__(self, device: str, dtype: str) -> None:
        super().__init__(device, dtype)
        plain = self.xp.spike

        def spike(u: Any, surrogate: Any) -> Any:
            if type(u) is not SequenceTensor:
                return plain(u, surrogate)
            if isinstance(surrogate, custom_surrogate):
                raise StepByStep("forward calls a surrogate whose derivative is a function of its own")
            with torch._C.DisableTorchFunction():
                u.over.check([u])
                spikes = plain(u.seq, surrogate)
            return holding(u.over, spikes)

        self.xp.spike = spike


@lru_cache(maxsize=None)
def _engine(device: str, dtype: str) -> ForwardEngine:
    return ForwardEngine(device, dtype)
