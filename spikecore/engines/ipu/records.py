"""What PopTorch would know tensors by while it traces: each Python tensor by a value of its own.

In torch, tensors over one storage see what is written to any of them. PopTorch replaces in-place operators by others
that return new values, so a write reaches the tensor it is called on and, if it copies into a chain of slices, what
those were cut from. All other tensors over the storage keep their old values, silently. A ``Record`` notes for one
tensor which elements would be out of date; reading those is the error.
"""

from __future__ import annotations

import weakref
from typing import Any, List, NamedTuple, Optional

import torch

COPIES = frozenset("copy_ normal_ uniform_ random_ exponential_".split())  # the only writes that reach through slices
CUTS = frozenset("select slice narrow".split())
SHAPES = frozenset("view _unsafe_view _reshape_alias reshape unsqueeze squeeze".split())


class Write(NamedTuple):
    """A change in place."""

    operator: str
    layer: str
    constant: bool  # whether it goes into a part of what PopTorch computes at compile time


class Record:
    """What is known of one tensor on the device.

    Args:
        x: the tensor.
        constant: whether PopTorch computes it at compile time; then writes into parts of it are lost.
        base: the record of the tensor that this one is a view of.
        by: the operator that made it.
        step: of a slice.
    """

    def __init__(self, x: Any, constant: bool, base: Optional[Record] = None, by: str = "", step: int = 1) -> None:
        self.constant, self.base, self.by, self.step = constant, base, by, step
        self.place = (tuple(x.shape), x.stride(), x.storage_offset()) if x.layout == torch.strided else ((), (), 0)
        self.stale: Any = None if base is None else base.stale  # which elements of the storage are out of date
        self.lost: Optional[Write] = None if base is None else base.lost
        self.family: List[Any] = [] if base is None else base.family  # weak references to all over one storage
        self.family.append(weakref.ref(self))

    def elements(self, mask: Any) -> Any:
        """Its elements in a mask over the storage, as a view of the mask."""
        shape, stride, offset = self.place
        return torch.as_strided(mask, shape, stride, offset)

    def outdated(self) -> Optional[Write]:
        """The write whose result a reader of this tensor would miss."""
        return self.lost if self.stale is not None and bool(self.elements(self.stale).any()) else None

    def sources(self) -> List[Record]:
        """The records that a copy into this one also reaches: what its chain of slices was cut from."""
        found, record = [], self
        while record.base is not None and record.by in CUTS | SHAPES and not record.base.constant:
            if record.by in CUTS:
                found.append(record.base)
            record = record.base
        return found

    def strided(self) -> bool:
        """Whether its chain of slices has one with a step."""
        record: Optional[Record] = self
        while record is not None and record.by in CUTS | SHAPES:
            if record.step != 1:
                return True
            record = record.base
        return False

    def written(self, x: Any, write: Write, constant: bool, source: Optional[Record] = None) -> None:
        """All elements of ``x``, this record's tensor, get new values, those of ``source`` if they are copied."""
        others: List[Record] = [other for other in (ref() for ref in self.family) if other not in (None, self)]
        self.family[:] = [weakref.ref(other) for other in (self, *others)]
        reached = self.sources() if write.operator in COPIES else []
        for other in others:
            if other in reached:
                other._mark(x, self, False)
            elif other is not source or self.place != other.place:  # k[0] += 1 copies a view into itself
                other._mark(x, self, True)
                other.lost = write
        self.stale, self.constant = None, constant

    def _mark(self, x: Any, part: Record, stale: bool) -> None:
        """Note the elements of ``part`` as out of date here, or as up to date."""
        if self.stale is None and not stale:
            return
        size = x.untyped_storage().nbytes() // x.element_size()
        self.stale = torch.zeros(size, dtype=torch.bool) if self.stale is None else self.stale.clone()
        part.elements(self.stale).fill_(stale)


def record_of(x: Any) -> Optional[Record]:
    """The record of a tensor; None where it lies on the host, so that PopTorch refuses to mix it with others."""
    return getattr(x, "_ipu_record", None)


def note_record(x: Any, record: Record) -> None:
    """Attach a record to its tensor, with which it lives."""
    x._ipu_record = record


def forget_record(x: Any) -> None:
    """Detach it again from a tensor that outlives the pass."""
    if "_ipu_record" in x.__dict__:
        del x.__dict__["_ipu_record"]
