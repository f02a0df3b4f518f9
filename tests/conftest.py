"""What all tests share: hardware marks skip where the hardware is absent, and say so."""

from __future__ import annotations

import pytest


def _cuda_missing():
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return None if torch.cuda.is_available() else "torch finds no CUDA device"


def _cupy_missing():
    try:
        import cupy
    except ImportError:
        return "cupy is not installed"
    return None if cupy.cuda.is_available() else "cupy finds no CUDA device"


MISSING = {"cuda": _cuda_missing, "cupy": _cupy_missing}


def pytest_runtest_setup(item):
    for mark, missing in MISSING.items():
        if item.get_closest_marker(mark):
            reason = missing()
            if reason:
                pytest.skip(reason)
