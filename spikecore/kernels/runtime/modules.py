"""Generated modules, named by a hash of their text."""

from __future__ import annotations

import linecache
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from spikecore.kernels.runtime.machine_code import module_name


@lru_cache(maxsize=None)
def load(text: str, depends: str = "") -> Any:
    """A module made of ``text``; another one where ``depends``, what else its functions depend on, is another text.

    It is no file: whoever asks for its source, as compilers do, gets the text that ran.
    """
    name = module_name(text, depends)
    place, module = f"<{name}>", ModuleType(name)
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    sys.modules[name] = module  # before it runs: compilers look modules up by name
    exec(compile(text, place, "exec"), module.__dict__)
    return module
