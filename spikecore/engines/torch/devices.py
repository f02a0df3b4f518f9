"""Which devices this torch has."""

from __future__ import annotations

import sys
from typing import Any, List

import torch

KINDS = ("cuda", "mps", "xpu", "hpu")  # those that are looked for to say what there is


def check_device(device: Any) -> None:
    """Refuse a device that this torch does not have.

    An accelerator whose support is a package of its own, such as ``habana_frameworks.torch`` for "hpu", is there once
    that package has been imported.

    Raises:
        ValueError: a word that is no device, or a device that is not here; says which are.
    """
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        usable = ", ".join(map(repr, available()))
        message = f"device={device!r}: no torch device; use e.g. 'cpu', 'cuda', 'cuda:1'. Usable here: {usable}"
        raise ValueError(message) from None
    if kind == "ipu":
        if "poptorch" in sys.modules or isinstance(device, torch.device):
            return  # where the tensors lie of what PopTorch traces, or a check follows
        raise ValueError(f"device={device!r}: torch has no kernels for an IPU; use engine='ipu', which compiles for it")
    if not works(device):
        raise ValueError(
            f"device={device!r}: this torch ({torch.__version__}) sees no such {kind.upper()} device; usable here: "
            f"{', '.join(map(repr, available()))}. Support that is a package of its own has to be imported first"
        )


def works(device: Any) -> bool:
    """Whether tensors can be made on a device; CUDA is asked without being started."""
    kind, index = torch.device(device).type, torch.device(device).index or 0
    if kind in ("cpu", "cuda"):
        return kind == "cpu" or (torch.cuda.is_available() and index < torch.cuda.device_count())
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError):  # as torch answers for lack of a driver, a build, a module
        return False
    return True


def available() -> List[str]:
    """The kinds of devices that can be used."""
    return ["cpu", *(kind for kind in KINDS if works(kind))]
