"""``TorchRanks``: the processes of torch.distributed; and sums of gradients over them."""

from __future__ import annotations

import functools
import re
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
import torch.distributed as dist

from spikecore.api.core.ranks import RankLost, Ranks, Value

BUCKET = 25 << 20  # bytes of gradients that are summed at once: few calls, and the first ones start early


def ranks_of() -> Ranks:
    """The processes of the process group of this process; this process alone if there is no group."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return TorchRanks()
    return Ranks()


def can_divide() -> bool:
    """Whether the installed torch can divide weights among ranks as ``gathering.py`` needs it."""
    return tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 6)


def collective(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of functions that wait for other ranks: says that one has ended instead of what torch says."""

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except (RankLost, torch.cuda.OutOfMemoryError):
            raise
        except RuntimeError as error:
            raise RankLost(f"{_other(error)} has ended, or does not answer ({_short(error)})") from error

    return call


def _other(error: Exception) -> str:
    """The rank whose connection is lost, and its host."""
    from spikecore.engines.torch.connections import named

    return named(str(error)) or "another rank"


def _short(error: Exception) -> str:
    """A library's message of a lost connection, without the place in its source and its advice."""
    return re.sub(r"^\[[^\]]*\] *", "", str(error).strip().splitlines()[-1]).split(". ")[0]


class TorchRanks(Ranks):
    """The processes of the default process group of torch.distributed, made by the library or by the user."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        backends = getattr(dist, "get_backend_config", dist.get_backend)()  # e.g. "cpu:gloo,cuda:nccl"
        self.nccl = "nccl" in backends
        on_cuda = self.nccl and "gloo" not in backends  # numbers then go by the GPU, too
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_cuda else torch.device("cpu")

    @collective
    def sums(self, values: Sequence[float]) -> List[float]:
        both = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(both)
        return [float(x) for x in both.tolist()]

    @collective
    def table(self, values: Sequence[float]) -> List[List[float]]:
        rows = self.rows(torch.tensor(list(values), dtype=torch.float64, device=self.device))
        return [row.tolist() for row in rows]

    @collective
    def gathered(self, value: Value) -> List[Value]:
        values: List[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @collective
    def shared(self, value: Value) -> Value:
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    @collective
    def rows(self, x: Any) -> List[Any]:
        """The tensors of all ranks, by rank; they have the same shape."""
        here = x.contiguous() if self.nccl or not x.is_cuda else x.cpu()  # gloo gathers on the CPU
        found = [torch.empty_like(here) for _ in range(self.size)]
        dist.all_gather(found, here)
        return [row.to(x.device) for row in found]

    @collective
    def sum(self, x: Any) -> Any:
        """The sum of the tensors of all ranks."""
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @collective
    def watch(self) -> None:
        from spikecore.engines.torch.connections import watch  # one process does without

        watch()

    def versions(self) -> Dict[str, str]:
        return {"torch": torch.__version__}


class Reduction:
    """Sums the gradients of weights over all ranks, a bucket at a time, the last weights first.

    Backwards, the gradients of the last layers are there first. A bucket of them is on its way to the other ranks while
    those of the layers before are computed. All ranks sum buckets in the same order, whichever is complete first.

    Args:
        weights: leaves of autograd.
        narrow: whether a bucket is sent, and summed, in bfloat16, as torch's ``bf16_compress_hook`` does for DDP.
    """

    def __init__(self, weights: Sequence[Any], narrow: bool = False) -> None:
        self.narrow = narrow
        self.buckets = _buckets([x for x in reversed(list(weights)) if x.requires_grad])
        self.place = {id(x): i for i, bucket in enumerate(self.buckets) for x in bucket}
        self.expecting = False
        self.hooks = [
            x.register_post_accumulate_grad_hook(self._arrived)
            for bucket in self.buckets
            for x in bucket
            if hasattr(x, "register_post_accumulate_grad_hook")  # torch 2.1; before, all sums start after the backward
        ]
        self._reset()

    def _reset(self) -> None:
        self.missing = [len(bucket) for bucket in self.buckets]
        self.under_way: List[Tuple[Any, Any]] = []  # sums that have begun: tensor and handle, by bucket

    def expect(self) -> None:
        """The next backward pass is the last one before ``finish``: begin sums as soon as their gradients are there."""
        self._reset()
        self.expecting = True

    def forget(self) -> None:
        """Expect nothing more, after an error."""
        self._reset()
        self.expecting = False

    def _arrived(self, weight: Any) -> None:
        if self.expecting:
            self.missing[self.place[id(weight)]] -= 1
            while len(self.under_way) < len(self.buckets) and not self.missing[len(self.under_way)]:
                self._begin()

    @collective
    def _begin(self) -> None:
        """Begin the sum of the next bucket; where this rank's loss does not depend on a weight, it adds zero."""
        weights = self.buckets[len(self.under_way)]
        grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in weights]
        both = torch.cat([g.reshape(-1) for g in grads])
        both = both.to(torch.bfloat16) if self.narrow else both
        self.under_way.append((both, dist.all_reduce(both, async_op=True)))

    @collective
    def finish(self) -> None:
        """Put the sums over all ranks instead of gradients."""
        while len(self.under_way) < len(self.buckets):
            self._begin()
        for weights, (both, work) in zip(self.buckets, self.under_way):
            work.wait()
            for x, g in zip(weights, both.to(weights[0].dtype).split([x.numel() for x in weights])):
                x.grad = g.view_as(x)
        self.forget()

    def close(self) -> None:
        """Let go of the weights."""
        for hook in self.hooks:
            hook.remove()


def _buckets(weights: Sequence[Any]) -> List[List[Any]]:
    """Weights in their order, in buckets of one type and at most ``BUCKET`` bytes, or of one weight."""
    buckets: List[List[Any]] = []
    size = 0
    kind: Any = None
    for x in weights:
        own = x.numel() * x.element_size()
        if not buckets or size + own > BUCKET or x.dtype != kind:
            buckets.append([])
            size, kind = 0, x.dtype
        buckets[-1].append(x)
        size += own
    return buckets
