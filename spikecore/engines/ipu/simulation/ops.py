"""PopTorch's operators in the simulation."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import torch
from torch.fx.experimental.proxy_tensor import make_fx


class Error(RuntimeError):
    """The exception that PopTorch raises."""


class Tracing:
    """The record of one trace of a model: its losses, and the blocks of its pipeline."""

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

    The body is recorded once, on copies of the inputs. Whatever it does differently from one iteration to the next is
    lost.

    Raises:
        ValueError: the inputs are not a list of tensors.
        Error: in training; or if number, shapes or dtypes of the outputs differ from those of the inputs.
    """
    if Tracing.current is not None and Tracing.current.training:
        raise Error("poptorch.for_loop() is only supported in inference.")
    if not isinstance(inputs, list):
        raise ValueError("poptorch.for_loop expects inputs to be a list of tensors. (Object is not list)")
    for i, x in enumerate(inputs):
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"poptorch.for_loop expects a list of tensors. (Object at index {i} is not torch.tensor)")
    values = [x.detach().clone() for x in inputs]
    recorded = make_fx(lambda *tensors: _listed(body(*tensors)))(*(x.clone() for x in values))
    for node in recorded.graph.nodes:  # torch 2.0 names the CPU, which stands for the IPU here
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "device"}
    recorded.recompile()
    for _ in range(count):
        results = recorded(*values)
        if [(x.shape, x.dtype) for x in results] != [(x.shape, x.dtype) for x in values]:
            raise Error("the body of poptorch.for_loop must return as many tensors as it takes, of the same shapes")
        values = [x.detach() for x in results]
    return values


def _listed(found: Any) -> List[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]


def recomputationCheckpoint(*tensors: Any) -> Any:
    """Mark values to keep when recomputation is on; without effect here."""
    return tensors[0] if len(tensors) == 1 else tensors


class Block(torch.nn.Module):
    """A part of the model that runs on one IPU."""

    @staticmethod
    def useAutoId() -> None:
        """Number blocks by the order of their appearance."""

    @staticmethod
    def start(user_id: Any = None, ipu_id: Any = None) -> None:
        """Begin a block; it lasts until the next one."""
        if Tracing.current is None:
            raise Error("poptorch.Block has no effect outside of a model")
        Tracing.current.blocks.append((user_id, ipu_id))
