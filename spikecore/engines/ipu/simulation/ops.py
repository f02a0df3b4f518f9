"""PopTorch's operators in the simulation."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import torch
from torch.fx.experimental.proxy_tensor import make_fx


class Error(RuntimeError):
    """What PopTorch raises."""


class Tracing:
    """What happens while a model is traced: which losses it makes, on what it runs."""

    current: Optional[Tracing] = None

    def __init__(self, training: bool) -> None:
        self.training, self.losses, self.wrapped = training, [], []  # type: ignore[var-annotated]
        self.blocks: List[Any] = []

    def __enter__(self) -> Tracing:
        self.before, Tracing.current = Tracing.current, self
        return self

    def __exit__(self, *error: Any) -> None:
        Tracing.current = self.before


def identity_loss(x: Any, reduction: Any) -> Any:
    """Mark a value as the loss."""
    reduce: Dict[str, Callable[..., Any]] = {"mean": torch.mean, "sum": torch.sum, "none": torch.clone}
    if reduction not in reduce:
        raise ValueError(f"Unsupported reduction type {reduction!r}")
    loss = reduce[reduction](x)
    if Tracing.current is not None:
        Tracing.current.losses.append(loss)
        Tracing.current.wrapped.append(loss)
    return loss


def isRunningOnIpu() -> bool:
    """Whether a model is being traced."""
    return Tracing.current is not None


def for_loop(count: int, body: Callable[..., Any], inputs: Any) -> Any:
    """Repeat ``body`` on its own outputs; for inference only.

    It is recorded once and sees copies of the inputs; what it does otherwise from one iteration to the next is lost.

    Raises:
        ValueError: inputs that are no list of tensors.
        Error: in training, or outputs that are not of the same number, shapes and dtypes as the inputs.
    """
    if Tracing.current is not None and Tracing.current.training:
        raise Error("poptorch.for_loop() is only supported in inference.")
    if not isinstance(inputs, list):
        raise ValueError("poptorch.for_loop expects inputs to be a list of tensors. (Object is not list)")
    for i, x in enumerate(inputs):
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"poptorch.for_loop expects a list of tensors. (Object at index {i} is not torch.tensor)")
    values = [x.detach().clone() for x in inputs]
    recorded = make_fx(lambda *held: _listed(body(*held)))(*(x.clone() for x in values))
    for _ in range(count):
        found = recorded(*values)
        if [(x.shape, x.dtype) for x in found] != [(x.shape, x.dtype) for x in values]:
            raise Error("the body of poptorch.for_loop must return as many tensors as it takes, of the same shapes")
        values = [x.detach() for x in found]
    return values


def _listed(found: Any) -> List[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]


def recomputationCheckpoint(*tensors: Any) -> Any:
    """Keep values when recomputation is on."""
    return tensors[0] if len(tensors) == 1 else tensors


class Block(torch.nn.Module):
    """A part of the model on an IPU of its own."""

    @staticmethod
    def useAutoId() -> None:
        """Number blocks by the order of their appearance."""

    @staticmethod
    def start(user_id: Any = None, ipu_id: Any = None) -> None:
        """Begin a block; it lasts until the next one."""
        if Tracing.current is None:
            raise Error("poptorch.Block has no effect outside of a model")
        Tracing.current.blocks.append((user_id, ipu_id))
