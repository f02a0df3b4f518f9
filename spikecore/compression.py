"""Networks for smaller machines: numbers of a few bits, fewer connections, neurons that deviate from each other; see
docs/quantization.md, docs/pruning.md and docs/noise.md.

from spikecore import compression

small = compression.quantize(model, weights=8, states=16, x=x, num_steps=25)
compression.prune(model, 0.9)
"""

from __future__ import annotations

from spikecore.on_use import names_on_use

__getattr__, __dir__, __all__ = names_on_use(__name__)
