"""Networks on ordinary processors: flash for weights, RAM for states and buffers."""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

from spikecore.hardware.chip import Chip
from spikecore.hardware.needs import Need
from spikecore.hardware.report import Memory, Objection
from spikecore.printing import in_bytes

FLOAT, BYTE = 4, 1  # bytes of a number of float32, and of a weight of int8


def memories(chip: Chip, needs: Sequence[Need]) -> Tuple[Tuple[Memory, ...], List[Objection]]:
    """The memory that a network takes with weights of float32 and of int8, and what does not fit.

    States, and the input and output of the layer where they are largest, take four bytes for each number either way.
    """
    flash, ram = chip.limit("flash"), chip.limit("ram")
    numbers = sum(need.stored for need in needs)
    states = sum(need.neurons * need.states for need in needs)
    buffers = max((math.prod(need.shape) + math.prod(need.out) for need in needs), default=0)
    used = FLOAT * (states + buffers)
    rows, found = [], []
    for kind, each in (("float32", FLOAT), ("int8", BYTE)):
        fits = each * numbers <= (flash or math.inf) and used <= (ram or math.inf)
        rows.append(Memory(kind, each * numbers, used, fits))
    if flash is not None and rows[0].flash > flash:
        reason = f"weights of float32 take {in_bytes(rows[0].flash)}, there are {in_bytes(flash)}"
        narrow = "Prune or narrow the network; int8 does not fit, either"
        remedy = "Quantise them to int8, which fits" if rows[1].flash <= flash else narrow
        found.append(Objection("", "flash", reason, remedy))
    if ram is not None and used > ram:
        reason = f"states and buffers take {in_bytes(used)}, there are {in_bytes(ram)}"
        found.append(Objection("", "ram", reason, "Narrow the layers, or pool earlier"))
    return tuple(rows), found
