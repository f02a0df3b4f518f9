"""``spikecore.nir`` itself, where scripts written for snnTorch import ``export_to_nir``."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikecore.nir import *

sys.modules[__name__] = import_module("spikecore.nir")
