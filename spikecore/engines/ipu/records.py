"""Find reads of values that PopTorch would not have updated, because it gives every Python tensor its own value.

In torch, tensors that share a storage see every write to any of them. PopTorch replaces in-place operators by others
that return new values. So a write reaches the tensor on which it is called and, if it copies into a chain of slices,
the tensors that were sliced. All other tensors that share the storage silently keep their old values. A ``Record``
notes which elements of its tensor would be out of date; reading one of them is an error.
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
    constant: bool  # whether it writes into a part of a tensor that PopTorch computes at compile time


class Record:
    """The properties of one tensor on the device.

    Args:
        x: the tensor.
        constant: whether PopTorch computes it at compile time; then writes into parts of it are lost.
        base: the record of the tensor that this one is a view of.
        by: the operator that made the tensor.
        step: the step of that operator if it is a slice; otherwise 1.
    """

    def __init__(self, x: Any, constant: bool, base: Optional[Record] = None, by: str = "", step: int = 1) -> None:
        self.constant, self.base, self.by, self.step = constant, base, by, step
        self.place = (tuple(x.shape), x.stride(), x.storage_offset()) if x.layout == torch.strided else ((), (), 0)
        self.stale: Any = None if base is None else base.stale  # which elements of the storage are out of date
        self.lost: Optional[Write] = None if base is None else base.lost
        self.family: List[Any] = [] if base is None else base.family  # weak references to all records of one storage
        self.family.append(weakref.ref(self))

    def elements(self, mask: Any) -> Any:
        """The tensor's elements in a mask over the storage, as a view of the mask."""
        shape, stride, offset = self.place
        return torch.as_strided(mask, shape, stride, offset)

    def outdated(self) -> Optional[Write]:
        """The write that a read of this tensor would miss, or None."""
        return self.lost if self.stale is not None and bool(self.elements(self.stale).any()) else None

    def sources(self) -> List[Record]:
        """The records that a copy into this one reaches, too: those that its chain of slices was cut from."""
        records, record = [], self
        while record.base is not None and record.by in CUTS | SHAPES and not record.base.constant:
            if record.by in CUTS:
                records.append(record.base)
            record = record.base
        return records

    def strided(self) -> bool:
        """Whether a slice in its chain of slices has a step."""
        record: Optional[Record] = self
        while record is not None and record.by in CUTS | SHAPES:
            if record.step != 1:
                return True
            record = record.base
        return False

    def written(self, x: Any, write: Write, constant: bool, source: Optional[Record] = None) -> None:
        """Note that all elements of ``x``, this record's tensor, get new values, copies of ``source`` if given."""
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
        """Mark the elements of ``part`` in this record as out of date (``stale``) or as up to date."""
        if self.stale is None and not stale:
            return
        size = x.untyped_storage().nbytes() // x.element_size()
        self.stale = torch.zeros(size, dtype=torch.bool) if self.stale is None else self.stale.clone()
        part.elements(self.stale).fill_(stale)


def record_of(x: Any) -> Optional[Record]:
    """The record of a tensor; None if it is on the host, so that PopTorch refuses to mix it with others."""
    return getattr(x, "_ipu_record", None)


def note_record(x: Any, record: Record) -> None:
    """Attach a record to its tensor, for as long as the tensor exists."""
    x._ipu_record = record


def forget_record(x: Any) -> None:
    """Remove the record from a tensor that exists longer than the pass."""
    if "_ipu_record" in x.__dict__:
        del x.__dict__["_ipu_record"]
