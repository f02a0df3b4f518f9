"""A limit on the norm of gradients."""

from __future__ import annotations

from typing import Dict, Optional

from spikecore.api.core.words import Array, Vocabulary


def clipped(xp: Vocabulary, grads: Dict[str, Array], clip_norm: Optional[float]) -> Dict[str, Array]:
    """Gradients by name, all scaled alike so that their Euclidean norm is at most ``clip_norm``; None: as they are.

    The norm is that of all of them together, as in ``torch.nn.utils.clip_grad_norm_``.
    """
    if clip_norm is None:
        return grads
    squares = sum(float(xp.sum(g * g)) for g in grads.values())
    factor = min(1.0, clip_norm / (squares**0.5 + 1e-6))
    return {name: g * factor for name, g in grads.items()}
