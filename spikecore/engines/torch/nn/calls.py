"""One call of a torch function in ``forward``: what it is, and what it gets of stand-ins."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import torch
from torch.utils._pytree import tree_flatten, tree_map

from spikecore.engines.torch.nn.over_time import SequenceTensor

#: Functions of (batch, ...) with this many axes, at most: time and batch are merged for them. All others go to vmap.
BATCHED = {"conv1d": 3, "conv2d": 4, "conv3d": 5, "conv_transpose1d": 3, "conv_transpose2d": 4, "conv_transpose3d": 5,
           "max_pool1d": 3, "max_pool2d": 4, "avg_pool1d": 3, "avg_pool2d": 4, "adaptive_avg_pool2d": 4}  # fmt: skip
QUESTIONS = set("shape dtype device ndim requires_grad layout is_cuda is_cpu is_sparse is_nested is_quantized is_meta "
                "size dim numel is_floating_point is_complex element_size get_device len".split())  # fmt: skip
SIZES = {"shape", "size", "numel", "len"}  # those that tell the size of a batch
#: Reductions of all values to one: at a tie torch shares their gradient, and vmap, which reduces along axes, does not.
_SHARED = {"max", "min", "median", "nanmedian"}
REFUSED = {"set", "backward", "grad", "grad_fn", "retain_grad", "register_hook", "as_strided"}
_IN_PLACE = {f"__i{name}__" for name in "add sub mul div truediv floordiv mod pow and or xor".split()} | {"__setitem__"}


class FunctionCall:
    """A call of a function.

    Args:
        func: the function, or the getter of an attribute.
        args, kwargs: its arguments; torch's own functions hand over by name what does not lead (``training``).
    """

    def __init__(self, func: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        name: str = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__  # type: ignore[attr-defined]
        in_place = name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        self.name, self.training = name.strip("_"), kwargs.get("training")
        self.in_place = in_place or kwargs.get("out") is not None or kwargs.get("inplace") is True
        leaves = [*args, *kwargs.values()]
        if any(isinstance(x, (list, tuple, dict)) for x in leaves):
            leaves = tree_flatten(leaves)[0]
        self.tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
        self.stand_ins: List[SequenceTensor] = [x for x in self.tensors if isinstance(x, SequenceTensor)]

    @property
    def shares_ties(self) -> bool:
        """Whether it is a reduction whose gradient is shared among equal values."""
        return self.name in _SHARED and len(self.args) + len(self.kwargs) == 1

    def on(self, rows: Dict[int, Any]) -> Any:
        """The function's result for other tensors instead of the stand-ins, by their ``id``."""
        args, kwargs = tree_map(lambda x: rows.get(id(x), x), (self.args, self.kwargs))
        return self.func(*args, **kwargs)
