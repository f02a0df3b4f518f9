"""The engines of this repository on which the suite runs, and why some are not here."""

from __future__ import annotations

import sys

import spikecore as sc
from spikecore.conformance.selection import chosen

# The suite's own names, and what they stand for.
ENGINES = {
    "numpy": "numpy",
    "numpy-strict": "numpy-strict=numpy:namespace=array_api_strict",
    "torch": "torch",
    "cupy": "cupy",
    "torch-cuda": "torch-cuda=torch:device=cuda",
    "ipu": "ipu=ipu:simulate=true,host_gradients=true",  # the ops on this machine, executors in the simulation
}


def absent(name):
    """Why an engine cannot run here; None if it can. numpy, strict and torch are required: without them tests fail."""
    if name == "numpy-strict" and sys.version_info < (3, 9):
        return "array-api-strict needs Python 3.9"
    if name == "cupy":
        try:
            import cupy
        except ImportError:
            return "cupy is not installed"
        return None if cupy.cuda.is_available() else "cupy finds no CUDA device"
    if name in ("ipu_model", "ipu-device"):
        return absent_ipu(device=name == "ipu-device")
    if name == "torch-cuda":
        try:
            import torch
        except ImportError:
            return "torch is not installed"
        return None if torch.cuda.is_available() else "torch finds no CUDA device"
    return None


def absent_ipu(device):
    """Why PopTorch cannot run here, on an IPU (``device``) or on the IPU Model of its SDK."""
    try:
        import poptorch
    except ImportError:
        return "poptorch is not installed (it comes with Graphcore's Poplar SDK)"
    return None if not device or poptorch.ipuHardwareIsAvailable() else "PopTorch finds no IPU"


def missing():
    """The engines that cannot run here, and why."""
    return {name: reason for name in ENGINES for reason in [absent(name)] if reason}


def texts(given):
    """What ``--engine`` stands for; without it, every engine of this table that is here."""
    away = missing() if not given else {}
    return [ENGINES.get(name, name) for name in given or ENGINES if name not in away]


def make(name, dtype="float64"):
    """An engine by the name in this table, or by get_engine's."""
    return chosen(ENGINES[name]).make(dtype) if name in ENGINES else sc.get_engine(name, dtype=dtype)
