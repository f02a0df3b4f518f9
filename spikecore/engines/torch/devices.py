"""Devices that the installed torch can use, and the way of arrays from the host to a device."""

from __future__ import annotations

import sys
from typing import Any, List

import torch

from spikecore.engines.torch.modes import compiling, transformed

KINDS = ("cuda", "mps", "xpu", "hpu")  # error messages list which of these can be used


#: Bytes of arrays that go to a GPU through pinned memory: torch keeps such memory to use it again, so what comes once
#: and is large, such as weights, does not go there.
MOST = 1 << 28


def on_device(x: Any, device: str, dtype: Any) -> Any:
    """An array of NumPy, or a tensor, on a device.

    To a CUDA device it goes through pinned memory: the GPU fetches it from there while this process continues, in the
    order of the device's other work. ``x`` may be changed as soon as this returns, since the pinned memory is a copy,
    and torch does not use that again before the GPU has fetched it.

    Args:
        x: the array or tensor.
        device: name of the device.
        dtype: torch's dtype that the tensor there shall have.
    """
    if not isinstance(x, torch.Tensor):
        if torch.device(device).type != "cuda":
            return torch.as_tensor(x, dtype=dtype, device=device)
        x = torch.as_tensor(x, device="cpu")
    if not is_pinned_for(x, device):
        return x.to(device=device, dtype=dtype)
    if x.element_size() > torch.empty(0, dtype=dtype, device="cpu").element_size():
        x = x.to(dtype)  # so that less has to be fetched; what is smaller, such as bytes of images, is converted there
    x = x.clone() if x.is_pinned() else x  # a copy also of memory that is pinned already
    return x.pin_memory().to(device=device, non_blocking=True).to(dtype=dtype)


def is_pinned_for(x: Any, device: str) -> bool:
    """Whether a tensor goes to a device through pinned memory."""
    if torch.device(device).type != "cuda" or not x.is_cpu or compiling() or transformed():
        return False
    return x.nbytes <= MOST and not x.requires_grad


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


def has_doubles(device: Any) -> bool:
    """Whether a device computes in float64; MPS and some XPUs do not. CPUs and CUDA do, and are not asked."""
    if torch.device(device).type in ("cpu", "cuda", "ipu"):
        return True
    try:
        torch.ones(1, dtype=torch.float64, device=device).add(1.0)
    except (RuntimeError, TypeError):  # the second is MPS's
        return False
    return True


def available() -> List[str]:
    """The kinds of devices that can be used, e.g. ["cpu", "cuda"]."""
    return ["cpu", *(kind for kind in KINDS if works(kind))]
