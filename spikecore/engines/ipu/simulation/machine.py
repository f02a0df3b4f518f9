"""The IPUs of the simulated machine, and the programs that hold them."""

from __future__ import annotations

import weakref
from typing import Any, Optional

from spikecore.engines.ipu.simulation.ops import Error


class Machine:
    """A machine with a number of IPUs.

    A program holds its IPUs from its compilation until it is detached or destroyed, or until its executor no longer
    exists. PopTorch's executors and optimisers refer to each other, so that takes until a garbage collection.

    Attributes:
        ipus: how many there are. None, the default: as many as the program needs that asks for them, so that one
            program at a time can have all it needs, and a second one gets none.
    """

    def __init__(self, ipus: Optional[int] = None) -> None:
        self.ipus = ipus
        self._held: Any = weakref.WeakKeyDictionary()  # numbers of IPUs by executor

    @property
    def held(self) -> int:
        """Number of IPUs that programs hold."""
        return sum(self._held.values())

    def acquire(self, executor: Any, count: int) -> None:
        """Give the program of an executor so many IPUs in all.

        Raises:
            Error: too few are free.
        """
        others = self.held - self._held.get(executor, 0)
        if others + count > (count if self.ipus is None else self.ipus):
            raise Error(f"Failed to acquire {count} IPU(s): other programs hold {others}")
        self._held[executor] = count

    def release(self, executor: Any) -> None:
        """Take back what the program of an executor holds."""
        self._held.pop(executor, None)


MACHINE = Machine()


def needed(options: Any, ipus: int) -> int:
    """Number of IPUs that a program of ``ipus`` stages holds with these options.

    Raises:
        Error: it would not be a power of two, and the options do not allow to reserve more.
    """
    used = ipus * options.replication_factor
    reserved: int = 1 << (used - 1).bit_length()
    if reserved != used and not options.auto_round:
        raise Error(
            f"The model specifies the use of {used} IPUs, however PopTorch must reserve a minimum of {reserved}: use "
            "Options.autoRoundNumIPUs(True)"
        )
    return 0 if options.use_model else reserved
