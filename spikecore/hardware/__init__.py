"""Chips on paper: whether a network fits one, by its public numbers; see docs/hardware.md.

    import spikecore as sc

    print(sc.hardware.check(model, "loihi2"))

Each chip is a TOML file beside this one, in ``chips``; a file of your own is passed by its path.

Of the core it uses shapes, weights and operations of a model's layers; of other rooms the counts of NeuroBench and, for
microcontrollers, the plan of the exported C.

Begin with ``check.py``; ``needs.py`` says what layers need, ``chip_file.py`` what a chip offers.
"""

from __future__ import annotations

from spikecore.hardware.check import check
from spikecore.hardware.chip import Chip, Known
from spikecore.hardware.chip_file import ChipFileError, chip, chips
from spikecore.hardware.energy import EnergyEstimate
from spikecore.hardware.report import HardwareReport, LayerRow, Memory, Objection

__all__ = [
    "Chip",
    "ChipFileError",
    "EnergyEstimate",
    "HardwareReport",
    "Known",
    "LayerRow",
    "Memory",
    "Objection",
    "check",
    "chip",
    "chips",
]
