"""The executor that owns the IPUs of this process: at most one has a program on them.

PopTorch's programs hold their IPUs from compilation until they are detached or destroyed, and a program that finds too
few free ones is refused. So at most one executor has a program on the IPUs. It stays there until another executor needs
them; then it fetches what is newer there and leaves. No program waits to be refused before another leaves: PopTorch
tells a lack of IPUs from other errors by its message alone, and with ``POPTORCH_WAIT_FOR_IPU`` it waits for ever.
"""

from __future__ import annotations

import weakref
from typing import Any, Optional


class Pool:
    """The IPUs of this process. It does not keep an executor alive: one that is dropped destroys its programs."""

    def __init__(self) -> None:
        self._last: Optional[weakref.ReferenceType[Any]] = None

    def give_to(self, executor: Any) -> None:
        """Take the IPUs from the ``ProgramExecutor`` that used them last, if it is another one."""
        last = None if self._last is None else self._last()
        if last is not None and last is not executor:
            last.release()
        self._last = weakref.ref(executor)


POOL = Pool()
