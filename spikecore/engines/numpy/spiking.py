"""The word ``conv`` of the NumPy engine, which takes spikes and pruned weights as lists where that is faster."""

from __future__ import annotations

from typing import Any, Callable


def spiking(conv: Callable[..., Any]) -> Callable[..., Any]:
    """The word ``conv`` with lists, of spikes or of a pruned weight, instead of a dense convolution, if faster."""

    def word(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
        from spikecore.engines.numpy.listed import convolved  # networks without convolutions do not need it

        arguments = (x, weight, bias, stride, padding, dilation, groups)
        made = convolved(*arguments)
        return conv(*arguments) if made is None else made

    word.__name__ = "conv"
    return word
