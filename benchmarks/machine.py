"""The machine, the date and the versions of a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from typing import Any, Dict, List

PACKAGES = "spikecore numpy torch numba snntorch spikingjelly norse sinabs spyx jax flax".split()


def describe(device: str) -> Dict[str, Any]:
    """Date, processor, cores, load, threads, GPU and versions."""
    facts: Dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES for version in version_of(name)},
    }
    try:
        import torch
    except ImportError:
        return facts
    facts["threads"] = torch.get_num_threads()
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def sentence(machine: Dict[str, Any]) -> str:
    """The facts of ``describe`` as a sentence."""
    where = f"{machine['cores']} cores of {machine['processor']} ({machine['system']})"
    if "gpu" in machine:
        where += f" with {machine['gpu']}"
    threads = f", {machine['threads']} torch threads" if "threads" in machine else ""
    load = f", load average {machine['load']} at the start" if machine["load"] is not None else ""
    load += "; freed memory kept (--keep-memory)" if machine.get("memory_kept") else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"Measured on {machine['date']} on {where}{threads}{load}; Python {machine['python']}, {versions}."


def _processor() -> str:
    """The processor's name, from Linux if possible, else from Python."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def version_of(name: str) -> List[str]:
    """The version of an installed package in a list; empty if it is not installed."""
    try:
        return [importlib.metadata.version(name)]
    except importlib.metadata.PackageNotFoundError:
        return []
