"""Networks on ordinary processors: flash for weights, RAM for states and buffers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, List, Sequence, Tuple

from spikecore import Model, Quantized
from spikecore.api.layers.containers import walk
from spikecore.export.errors import ExportError
from spikecore.hardware.chip import Chip
from spikecore.hardware.needs import LayerDemand
from spikecore.hardware.report import Memory, Objection
from spikecore.printing import in_bytes

if TYPE_CHECKING:
    from spikecore.export.c.files import Pieces

FLOAT, BYTE = 4, 1  # bytes of a number of float32, and of a weight of int8


def memories(chip: Chip, model: Model, needs: Sequence[LayerDemand]) -> Tuple[Tuple[Memory, ...], List[Objection]]:
    """The memory that a network takes in floating point and in integers, and what does not fit.

    It is that of the C which ``sc.export`` writes; where that refuses the network, an estimate, and a note says why. A
    quantised network is judged in integers if it can be written in them, every other one in float32.
    """
    flash, ram = chip.limit("flash"), chip.limit("ram")
    numbers = sum(need.stored for need in needs)
    states = sum(need.neurons * need.states for need in needs)
    buffers = max((math.prod(need.shape) + math.prod(need.out) for need in needs), default=0)
    found: List[Objection] = []

    def row(kind: str, flash_used: int, ram_used: int, exact: bool) -> Memory:
        fits = flash_used <= (flash or math.inf) and ram_used <= (ram or math.inf)
        return Memory(kind, flash_used, ram_used, fits, exact)

    def written(kind: str, each: int) -> Memory:
        try:
            net = _in_c(model, kind)
        except ExportError as error:
            found.append(Objection("", f"C, {kind}", str(error), "Flash and RAM are estimates", False))
            return row("int8" if each == BYTE else kind, each * numbers, FLOAT * (states + buffers), False)
        return row(kind, net.constant_bytes, net.state_bytes + net.scratch_bytes + net.caller_bytes, True)

    rows = [written("float32", FLOAT)]
    if any(isinstance(layer, Quantized) for _, layer in walk(model.network)):
        rows.append(written("fixed", BYTE))
    else:
        rows.append(row("int8", BYTE * numbers, FLOAT * (states + buffers), False))
    judged = rows[1] if rows[1].exact else rows[0]
    if flash is not None and judged.flash > flash:
        reason = f"weights of {judged.type} take {in_bytes(judged.flash)}, there are {in_bytes(flash)}"
        remedy = "Prune or narrow the network"
        if judged is rows[0]:
            fits = rows[1].flash <= flash
            remedy = "Quantise them to int8, which fits" if fits else f"{remedy}; int8 does not fit, either"
        found.append(Objection("", "flash", reason, remedy))
    if ram is not None and judged.ram > ram:
        reason = f"states and buffers take {in_bytes(judged.ram)}, there are {in_bytes(ram)}"
        found.append(Objection("", "ram", reason, "Narrow the layers, or pool earlier"))
    return tuple(rows), found


def _in_c(model: Model, dtype: str) -> Pieces:
    """The network in C; in integers for the numbers that its first quantiser gives, or without one for spikes.

    Raises:
        ExportError: it cannot be written.
    """
    from spikecore.export.c.writer import network  # not needed for other chips, and slow to import

    if dtype == "float32":
        return network(model)[0]
    try:
        return network(model, dtype=dtype)[0]
    except ExportError:
        return network(model, dtype=dtype, inputs="spikes")[0]
