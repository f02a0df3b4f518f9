"""Compiles the pretended CUDA device once, and keeps it where kernels are kept."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from spikecore.kernels.runtime.store import places

SOURCE = pathlib.Path(__file__).with_name("device.cpp")
# Its own code is little, and not what takes time: that is the headers. Unoptimised it is compiled in 5 s.
OPTIONS = "-std=c++20 -O0 -w -fPIC -shared".split()


def torch_folder():
    """Where torch is installed, without importing it; None without torch."""
    found = importlib.util.find_spec("torch")
    return None if found is None else pathlib.Path(found.submodule_search_locations[0])


def absent():
    """Why there can be no pretended device here; None if there can be one."""
    if not sys.platform.startswith("linux"):
        return "the pretended CUDA device is made for Linux"
    torch = torch_folder()
    if torch is None:
        return "torch is not installed"
    if (torch / "lib" / "libtorch_cuda.so").exists():
        return "this torch has kernels for CUDA, beside which none can be pretended"
    if shutil.which("g++") is None:
        return "g++ is not installed, which compiles the pretended CUDA device"
    if not (torch / "include" / "torch" / "library.h").exists():
        return "this torch comes without its headers"
    version = (torch / "version.py").read_text("utf-8").split("__version__ = '")[1].partition("'")[0]
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 13):
        return f"the pretended CUDA device is written for torch 2.13, and this is {version}"
    return None


@functools.lru_cache(maxsize=None)
def library():
    """The path of the compiled device, for this source and this torch."""
    torch = torch_folder()
    own = [SOURCE.read_bytes(), (torch / "version.py").read_bytes(), " ".join(OPTIONS).encode(), str(torch).encode()]
    digest = hashlib.blake2b(b"\0".join(own), digest_size=12).hexdigest()
    folder = places()[0].parent
    kept = folder / f"pretended_cuda-{digest}.so"
    if kept.exists():
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    include = [f"-I{torch / 'include'}", f"-I{torch / 'include' / 'torch' / 'csrc' / 'api' / 'include'}"]
    with tempfile.TemporaryDirectory(dir=folder) as made:
        path = pathlib.Path(made) / kept.name
        libraries = [f"-L{torch / 'lib'}", "-ltorch_cpu", "-lc10"]
        command = ["g++", *OPTIONS, *include, str(SOURCE), "-o", str(path), *libraries]
        compiled = subprocess.run(command, capture_output=True, text=True)
        assert compiled.returncode == 0, compiled.stderr
        os.replace(path, kept)  # whole, whoever else compiles it at the same time
    return kept
