"""Trained networks as programs and files that run without this library. ``sc.export(model, path, to="c")`` writes one.

The package and that function bear one name, and importing a subpackage puts the package in the function's place: so the
package itself is callable.

Of the core it uses the words and the steps of layers: one step of a network is recorded as a graph of words. Writers
read the graph and know no layer.

Begin with ``front.py``; then ``step_graph.py`` and ``recording.py``. ``c/writer.py``, ``onnx/writer.py`` and
``torch_writer.py`` are the targets.
"""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

from spikecore.export.errors import ExportError as ExportError
from spikecore.export.front import Exported as Exported
from spikecore.export.front import export as _export


class _Export(types.ModuleType):
    __signature__ = inspect.signature(_export)

    def __call__(self, *arguments: Any, **options: Any) -> Exported:
        return _export(*arguments, **options)


__signature__ = inspect.signature(_export)
sys.modules[__name__].__class__ = _Export
