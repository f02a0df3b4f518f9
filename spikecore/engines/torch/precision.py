"""Products and convolutions in bfloat16 or float16; states, neurons, losses, weights and optimisers stay in float32.

A product rounds its operands to half precision, adds up in float32 and rounds its result, as ``torch.autocast`` has it;
what it returns is float32 again. So neurons, batch statistics and losses never see half precision. Whatever runs step
by step, such as the recurrent weights of ``RLeaky``, belongs to a neuron and stays in float32.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import wraps
from typing import Any, Callable, ContextManager, Dict, List, Mapping

import torch

from spikecore.api.core.sizes import is_finite, is_whole
from spikecore.api.core.words import Vocabulary
from spikecore.engines.torch.layout import channels_last

HALF: Dict[str, Any] = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("float32", *HALF)
FULL = PRECISIONS[0]  # everything in the engine's dtype


def check_precision(precision: Any, dtype: str, device: Any) -> None:
    """Refuse a precision that does not exist, or that does not go with dtype and device.

    Raises:
        ValueError: says what does.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} must be one of {', '.join(map(repr, PRECISIONS))}")
    if precision == FULL:
        return
    if dtype != "float32":
        raise ValueError(
            f"precision={precision!r} rounds products to half precision, but dtype={dtype!r}: leave one of them out"
        )
    if precision == "fp16" and torch.device(device).type == "cpu":
        raise ValueError(
            "precision='fp16' is for accelerators, device='cuda' for instance; on the CPU use precision='bf16', whose "
            "range is that of float32"
        )


def narrow(xp: Vocabulary, precision: str, back: bool = True) -> Vocabulary:
    """The words of a float32 engine with products and convolutions in half precision; ``back``: they return float32."""
    half = HALF[precision]
    result = torch.float32 if back else half

    def rounded(word: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(word)
        def call(*operands: Any, **options: Any) -> Any:
            return word(*(_to(half, x) for x in operands), **options).to(result)

        return call

    conv = rounded(xp.conv)
    changed = {
        "matmul": rounded(xp.matmul),
        "linear": rounded(xp.linear),
        "conv_transpose": rounded(xp.conv_transpose),
        "conv": lambda x, *rest, **options: conv(channels_last(x), *rest, **options),
    }
    return Vocabulary(**{**vars(xp), **changed})


def _to(half: Any, x: Any) -> Any:
    return x.to(half) if isinstance(x, torch.Tensor) and x.is_floating_point() else x


def autocast(device: str, precision: str) -> ContextManager[Any]:
    """A context in which torch's own modules multiply in this precision."""
    if precision == FULL:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=HALF[precision], cache_enabled=False)


class Scaler:
    """Keeps small gradients in float16 from becoming zero: the loss is multiplied by a scale, gradients divided by it.

    The scale is halved after a step whose gradient overflows, and doubled after 2000 steps without one
    (``torch.amp.GradScaler``).

    Args:
        device: the device of the gradients.

    Attributes:
        skipped: how many updates were left out, since their gradient was not finite.
    """

    def __init__(self, device: str) -> None:
        kind = torch.device(device).type
        recent = getattr(torch.amp, "GradScaler", None)  # torch 2.3
        self.scaler: Any = recent(kind) if recent else torch.cuda.amp.GradScaler()
        self.skipped = 0

    def scaled(self, value: Any) -> Any:
        """The loss times the scale."""
        return self.scaler.scale(value)

    def finite(self, optimizer: Any) -> bool:
        """Divide the optimiser's gradients by the scale; returns whether they are finite, so that the step can be made.

        The optimiser holds weights with gradients of losses that ``scaled`` gave.
        """
        before = self.scaler.get_scale()
        self.scaler.unscale_(optimizer)
        self.scaler.update()  # a smaller scale is how it says that a gradient overflowed
        overflowed = self.scaler.get_scale() < before
        self.skipped += overflowed
        return not overflowed

    def state(self) -> Dict[str, Any]:
        """The state for a checkpoint."""
        own = self.scaler.state_dict()
        return {"scale": own["scale"], "steps": own["_growth_tracker"], "skipped": self.skipped}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned.

        Raises:
            ValueError: it is something else.
        """
        scale, counts = state.get("scale"), [state.get("steps"), state.get("skipped")]
        if not (is_finite(scale) and scale > 0 and all(is_whole(n, 0) for n in counts)):  # type: ignore[operator]
            raise ValueError(f"scaler={dict(state)!r} must be a scale > 0, steps >= 0 and skipped >= 0")
        own = {**self.scaler.state_dict(), "scale": float(scale), "_growth_tracker": counts[0]}  # type: ignore[arg-type]
        self.scaler.load_state_dict(own)
        self.skipped = int(counts[1])  # type: ignore[arg-type]


__all__: List[str] = ["FULL", "PRECISIONS", "Scaler", "autocast", "check_precision", "narrow"]
