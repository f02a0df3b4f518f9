"""``QCFS``: the activation of a network that is trained to be converted."""

from __future__ import annotations

import torch
from torch import nn

from spikecore.arguments import Size, checked


class QCFS(nn.Module):
    """Quantised, clipped ReLU: what an integrate-and-fire neuron makes of a constant current in ``levels`` steps.

        y = theta clip(floor(levels x / theta + 1/2), 0, levels) / levels

    Train a network with it instead of ``nn.ReLU``; the converted network then has little left to approximate, also
    for a number of steps other than ``levels``. The threshold theta is learned. The derivative of the floor is taken to
    be 1, so dy/dx = 1 between 0 and theta, else 0.

    Args:
        levels: number of steps above 0, >= 1; the number of time steps that you want the network to need, or a half
            or a quarter of it.
        threshold: first value of theta, > 0; default 4, which few outputs of a batch norm exceed.

    Shapes: x and y of any shape; ``threshold`` is a scalar parameter.

    Raises:
        ValueError: ``levels`` or ``threshold`` is out of range.

    Source: Bu et al., Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks, ICLR
    2022: quantization clip-floor-shift.

    Examples:
        >>> ann = nn.Sequential(nn.Linear(64, 40), QCFS(levels=8), nn.Linear(40, 10))
    """

    @checked
    def __init__(self, levels: Size, threshold: float = 4.0) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"QCFS: levels={levels!r} must be >= 1")
        if not 0.0 < threshold < float("inf"):
            raise ValueError(f"QCFS: threshold={threshold!r} must be a number > 0")
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The activation of x."""
        share = (x / self.threshold).clamp(0.0, 1.0)
        level = torch.floor(share * self.levels + 0.5) / self.levels
        return self.threshold * (share + (level - share).detach())

    def extra_repr(self) -> str:
        """The options."""
        return f"levels={self.levels}, threshold={self.threshold.item():.4g}"
