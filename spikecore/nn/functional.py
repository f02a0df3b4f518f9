"""``spikecore.functional`` itself, with its modules, where scripts written for snnTorch import it."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikecore.functional import *

sys.modules[__name__] = import_module("spikecore.functional")
for _name in sys.modules[__name__].MODULES:  # under the name below, Python would load each a second time
    sys.modules[f"{__name__}.{_name}"] = import_module(f"spikecore.functional.{_name}")
