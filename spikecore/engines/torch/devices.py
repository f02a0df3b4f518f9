"""Which devices the installed torch can use."""

from __future__ import annotations

import sys
from typing import Any, List

import torch

KINDS = ("cuda", "mps", "xpu", "hpu")  # error messages list which of these can be used


def check_device(device: Any) -> None:
    """Refuse a device that the installed torch cannot use.

    Some accelerators need a separate package, e.g. ``habana_frameworks.torch`` for "hpu". They can be used after this
    package has been imported.

    Args:
        device: a ``torch.device`` or its name, e.g. "cuda:1".

    Raises:
        ValueError: the name is no device, or the device cannot be used; the message lists devices that can.
    """
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        usable = ", ".join(map(repr, available()))
        message = f"device={device!r} is not a torch device; use e.g. 'cpu', 'cuda', 'cuda:1'. Usable here: {usable}"
        raise ValueError(message) from None
    if kind == "ipu":
        if "poptorch" in sys.modules or isinstance(device, torch.device):
            return  # PopTorch traces a module, or a check observes it: its tensors report this device
        raise ValueError(f"device={device!r}: torch has no kernels for an IPU; use engine='ipu', which compiles for it")
    if not works(device):
        raise ValueError(
            f"device={device!r}: this torch ({torch.__version__}) sees no such {kind.upper()} device; usable here: "
            f"{', '.join(map(repr, available()))}. If a package supports this device, import it first"
        )


def works(device: Any) -> bool:
    """Whether tensors can be made on a device. The answer for CUDA does not initialise CUDA."""
    kind, index = torch.device(device).type, torch.device(device).index or 0
    if kind in ("cpu", "cuda"):
        return kind == "cpu" or (torch.cuda.is_available() and index < torch.cuda.device_count())
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError):  # torch has no driver, build or module for it
        return False
    return True


def available() -> List[str]:
    """The kinds of devices that can be used, e.g. ["cpu", "cuda"]."""
    return ["cpu", *(kind for kind in KINDS if works(kind))]
