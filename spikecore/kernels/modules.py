"""Generated modules, kept on disk under a hash of their text: compilers read the source of what they compile."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from functools import lru_cache
from typing import Any

from spikecore.kernels.cache import folder


@lru_cache(maxsize=None)
def load(text: str) -> Any:
    """A module made of ``text``, written to the kernel folder if it is not there yet."""
    from spikecore.api.checkpoint import write_atomically

    name = f"spikecore_kernel_{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
    path = folder() / f"{name}.py"
    if not path.exists():
        write_atomically(path, text.encode())
    spec = importlib.util.spec_from_file_location(name, str(path))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module  # before it runs: compilers look modules up by name
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
