"""The engines: one folder each, with ``engine.py`` and ``executor.py``. ``spikecore.engines()`` lists them.

The package and that function bear one name, and importing a subpackage puts the package in the function's place: so the
package itself is callable.
"""

from __future__ import annotations

import sys
import types
from typing import List

from spikecore.api.core.engines import EngineStatus
from spikecore.api.core.engines import engines as _list


class _Engines(types.ModuleType):
    def __call__(self) -> List[EngineStatus]:
        return _list()


sys.modules[__name__].__class__ = _Engines
