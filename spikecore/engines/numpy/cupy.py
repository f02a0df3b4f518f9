"""The NumPy engine on a GPU."""

from __future__ import annotations

from typing import Any, Optional

from spikecore.engines.numpy.engine import NumpyEngine


class CupyEngine(NumpyEngine):
    """The NumPy engine on a CUDA device, through CuPy.

    Args:
        dtype, fused, checkpoint_every: as in ``NumpyEngine``.
    """

    name = "cupy"
    extras = NumpyEngine.extras
    chunk = 1 << 22  # blocks of random numbers per pass: a GPU needs many to be fast

    def __init__(self, dtype: str = "float32", fused: Any = "auto", checkpoint_every: Optional[int] = None) -> None:
        super().__init__(dtype, "cupy", fused, checkpoint_every)
        self.device = "cuda"
        self.draw_library = self.library
