"""One file for a GPU machine without a network: ``python -m benchmarks.gpu.archive OUT [PYTHON VERSION ...]``.

It holds this working tree, and in ``.whl/`` the wheels that ``wheels.py`` unpacks there: what the steps and the
libraries beside which they are measured need. What must fit the machine's own CUDA is not among them: torch,
torchvision, Triton, CuPy.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import List, Sequence

from benchmarks.gpu.wheels import FOLDER
from benchmarks.process import ROOT

STEPS = """
    array-api-compat execnet hypothesis iniconfig numpy packaging pluggy pygments pytest pytest-xdist safetensors
    sortedcontainers
""".split()
PEERS = "snntorch>=1.0 spikingjelly>=2.0 norse>=1.1".split()  # norse has no wheel of it
# What these import, all of it named: left to itself, pip would fetch a torch with gigabytes of CUDA.
THEIRS = """
    absl-py certifi charset-normalizer contourpy cycler fonttools grpcio h5py idna kiwisolver loguru markdown markupsafe
    matplotlib nir nirtorch pandas pillow protobuf pyparsing python-dateutil requests scienceplots scipy six tensorboard
    tensorboard-data-server tqdm tzdata urllib3 werkzeug
""".split()
SYSTEMS = [f"manylinux_2_{n}_x86_64" for n in (28, 27, 26, 24, 17, 12, 5)] + ["manylinux2014_x86_64", "linux_x86_64"]


def fetch(folder: Path, version: str) -> None:
    """Fetch the wheels for a version of Python, such as "3.12", on Linux and x86-64."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wanted = [option for system in SYSTEMS for option in ("--platform", system)]
    wanted += ["--python-version", version, "--implementation", "cp", "--only-binary", ":all:"]
    for name in (*STEPS, *PEERS, *THEIRS):
        done = subprocess.run([*pip, "download", "--no-deps", "--dest", str(folder), *wanted, name], check=False)
        if done.returncode:  # it has no wheel: those of Python alone are built here
            command = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), name]
            subprocess.run(command, check=name in STEPS)


def write(out: Path, wheels: Path) -> None:
    """Write the archive: the files of the tree that git knows or would take, and the wheels."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    with tarfile.open(out, "w") as archive:
        for name in filter(None, listed.split("\0")):
            if (Path(ROOT) / name).is_file():
                archive.add(Path(ROOT) / name, f"spikecore/{name}")
        for wheel in sorted(wheels.glob("*.whl")):
            archive.add(wheel, f"spikecore/{FOLDER}/{wheel.name}")


def main(arguments: Sequence[str]) -> None:
    """Fetch and write."""
    out, *versions = arguments
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for version in versions or ["{}.{}".format(*sys.version_info)]:
            fetch(Path(folder), version)
        write(Path(out), Path(folder))
        names: List[str] = [wheel.name for wheel in Path(folder).glob("*.whl")]
    print(f"{out}: {Path(out).stat().st_size / 2**20:.0f} MiB with {len(names)} wheels. On the GPU machine:")
    print(f"  tar xf {Path(out).name} && make -C spikecore gpu")


if __name__ == "__main__":
    main(sys.argv[1:])
