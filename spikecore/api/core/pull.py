"""The way back through words that were applied: from dL/d(result) to dL/d(argument), for every call.

``pull`` reads the calls from the last to the first, applies the rules of ``rules.py``, and adds up the shares:

    for call in reversed(calls):  dL/d(argument) += rule(dL/d(result))     for each argument of the call

"The gradient by x" is short for the gradient of the loss L with respect to x, here and in all code.

On arrays it computes gradients: the NumPy engine's tape. On symbols it writes a graph's derivative into the graph.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Hashable, Iterable, NamedTuple, Optional, Sequence, Tuple

from spikecore.api.core.words import VARIADIC

Grads = Dict[Any, Any]  # gradients of the loss, each under the slot of the value that it belongs to


def unbroadcast(xp: Any, g: Any, shape: Tuple[int, ...]) -> Any:
    """Sum ``g`` over the axes along which an operand of ``shape`` was broadcast."""
    if g is None or tuple(g.shape) == tuple(shape):
        return g
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1))
    return xp.reshape(xp.sum(g, axis=axes), tuple(shape)) if axes else g


class AppliedWord(NamedTuple):
    """A word that was applied, and what its derivative reads.

    A *slot* is the key of a value in a dict of gradients, e.g. the value's number on a tape.

    Args:
        word: the word.
        args: what it was applied to, in order: arrays or symbols, numbers and options.
        slots: of each argument; None where no gradient by it is wanted.
        options: its keyword options.
        out, slot: the result and its slot.
        products: the word's vector-Jacobian products, see ``rule_of``.
        shapes: whether its arguments have shapes and may have been broadcast; symbols of single elements have none.
    """

    word: str
    args: Sequence[Any]
    slots: Sequence[Optional[Hashable]]
    options: Any
    out: Any
    slot: Hashable
    products: Tuple[Callable[..., Any], ...]
    shapes: bool = True

    def pull(self, xp: Any, grads: Grads) -> None:
        """Take dL/d(result) out of ``grads``, and add to it dL/d(argument) for each argument with a slot."""
        g = grads.pop(self.slot, None)
        if g is None:
            return
        if self.word in VARIADIC:  # one product for all arguments
            for slot, share in zip(self.slots, self.products[0](xp, g, self.out, *self.args, **self.options)):
                accumulate(grads, slot, share)
            return
        for product, slot, argument in zip(self.products, self.slots, self.args):
            if slot is not None:
                share = product(xp, g, self.out, *self.args, **self.options)
                accumulate(grads, slot, unbroadcast(xp, share, argument.shape) if self.shapes else share)


def pull(xp: Any, calls: Iterable[Any], grads: Grads) -> Grads:
    """The way back through calls.

    Args:
        xp: the words for what the calls were made on, arrays or symbols.
        calls: from the last to the first: ``AppliedWord``s, and others that have a ``pull`` of their own.
        grads: dL/d(result) for the results where the way back begins, by slot. It is changed in place and returned;
            in the end it has the gradients by what no call has computed, such as parameters.
    """
    for call in calls:
        call.pull(xp, grads)
    return grads


def accumulate(grads: Grads, slot: Optional[Hashable], share: Any) -> None:
    """Add ``share`` to the gradient in a slot. Not in place, because ``share`` may be in use elsewhere."""
    if slot is not None and share is not None:
        grads[slot] = grads[slot] + share if slot in grads else share
