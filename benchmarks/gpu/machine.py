"""The card, the machine and the versions: ``python -m benchmarks.gpu.machine`` prints them as JSON."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from typing import Any, Dict, List

from benchmarks.machine import describe, version_of

MORE = "triton cupy-cuda13x cupy-cuda12x array-api-compat scipy hypothesis pytest".split()
NEEDED = "torch numpy pytest hypothesis array_api_compat safetensors".split()  # packages that all steps import


def missing() -> List[str]:
    """Packages without which no step runs, by the names under which they are imported."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def facts(rehearse: bool) -> Dict[str, Any]:
    """Date, card, processor and versions. In a rehearsal the card is None, whatever is there.

    Raises:
        RuntimeError: torch finds no CUDA device, and this is no rehearsal.
    """
    import torch

    known = {"rehearsal": rehearse, "card": None, **describe("cpu")}
    known["versions"].update({name: version for name in MORE for version in version_of(name)})
    if rehearse:
        return known
    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no CUDA device")
    about = torch.cuda.get_device_properties(0)
    known.update(
        card=about.name,
        devices=torch.cuda.device_count(),
        memory_gb=round(about.total_memory / 1e9),
        capability=f"{about.major}.{about.minor}",
        multiprocessors=about.multi_processor_count,
        cuda=torch.version.cuda,
        driver=_driver(),
    )
    return known


def _driver() -> str:
    """The driver's version; "" where ``nvidia-smi`` does not say it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip().partition("\n")[0]


if __name__ == "__main__":
    import sys

    absent = missing()
    answer: Dict[str, Any] = {"missing": absent} if absent else {}
    if not absent:
        try:
            answer = facts("--rehearse" in sys.argv)
        except RuntimeError as error:
            answer = {"error": str(error)}
    print(json.dumps(answer))
