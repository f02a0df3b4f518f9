"""``spikecore.backprop`` itself, where scripts written for snnTorch import it."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikecore.backprop import *

sys.modules[__name__] = import_module("spikecore.backprop")
