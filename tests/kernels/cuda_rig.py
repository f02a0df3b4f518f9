"""CUDA C kernels without a GPU: the very same source run as C++ on the host, and compiled to PTX."""

from __future__ import annotations

import ctypes
import functools
import glob
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sysconfig

import numpy as np

from spikecore.kernels import cuda
from tests.kernels.kernel_rig import Side

GXX, NVCC = shutil.which("g++"), shutil.which("nvcc")
SHIM = pathlib.Path(__file__).with_name("cuda_host.h").read_text()
OPTIONS = "-O1 -shared -fPIC -ffp-contract=off -Wall -Werror".split()
OPTIONS += [f"-Wno-{name}" for name in ("unused-variable", "unused-function", "unknown-pragmas")]
ARCHITECTURES = [f"compute_{n}" for n in (70, 75, 80, 86, 89, 90, 100, 120)]
LAUNCH = """
extern "C" void launch(long long grid, long long block, {parameters}) {{
    blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)
            {name}({arguments});
}}
"""


@functools.lru_cache(maxsize=None)
def run_on_host(source, name, folder):
    """A kernel as a Python function (grid, block, arguments), as CuPy's is; its threads run one after the other."""
    parameters = re.search(rf"void {name}\((.*?)\)", source).group(1)
    arguments = ", ".join(re.findall(r"(\w+)(?:,|$)", parameters))
    text = SHIM + re.sub(r"#include <cuda_\w+.h>\n", "", source)
    path = pathlib.Path(folder) / hashlib.blake2b(source.encode(), digest_size=12).hexdigest()
    path.with_suffix(".cpp").write_text(text + LAUNCH.format(name=name, parameters=parameters, arguments=arguments))
    built = str(path.with_suffix(".so"))
    subprocess.run([GXX, *OPTIONS, str(path.with_suffix(".cpp")), "-o", built, "-lm"], check=True, timeout=60)
    function = ctypes.CDLL(built).launch

    def call(grid, block, arguments):
        plain = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(a) for a in arguments]
        function(ctypes.c_int64(grid[0]), ctypes.c_int64(block[0]), *plain)

    return call


class OnHost(cuda.SequenceCuda):
    """CUDA C kernels on NumPy arrays."""

    library = np
    folder = ""

    @classmethod
    def missing(cls):
        return ""

    def compiled(self, source, name):
        return run_on_host(source, name, self.folder)


def side(given):
    """Where these kernels run, for inputs of a half-precision type or None."""
    if given is None:
        return Side()
    return Side(get=lambda a: a.astype("float32") if a.dtype == given else a, typed=lambda a: a.astype(given))


def nvcc_targets():
    """Architectures that this nvcc knows, of those from Volta to Blackwell."""
    known = subprocess.run([NVCC, "--list-gpu-arch"], check=True, capture_output=True, text=True, timeout=60).stdout
    return [target for target in ARCHITECTURES if target in known]


def ptx_by_nvcc(sources, target, folder):
    """Many kernels of equal names compiled at once, not yet for a machine."""
    path = _all_in_one(sources, target, folder)
    options = ["-ptx", f"-arch={target}", *cuda.OPTIONS, "-Werror", "all-warnings"]
    subprocess.run([NVCC, *options, str(path), "-o", f"{path}.ptx"], check=True, timeout=600)
    return pathlib.Path(f"{path}.ptx").read_text()


def stack_by_nvcc(sources, target, folder):
    """Of many kernels compiled to machine code, the bytes of a thread on the stack and beside its registers."""
    path = _all_in_one(sources, target, folder)
    options = ["-cubin", f"-arch={target.replace('compute', 'sm')}", *cuda.OPTIONS, "-Xptxas=-v"]
    command = [NVCC, *options, str(path), "-o", f"{path}.cubin"]
    said = subprocess.run(command, check=True, timeout=1200, capture_output=True, text=True).stderr
    return [sum(map(int, numbers)) for numbers in re.findall(r"(\d+) bytes stack.*?(\d+) bytes spill", said)]


def _all_in_one(sources, target, folder):
    includes, parts = set(), []
    for n, (source, name) in enumerate(sources):
        includes |= set(re.findall(r"#include .*\n", source))
        body = re.sub(r"#include .*\n", "", source)
        parts.append(f"#define {name} {name}_{n}\nnamespace n{n} {{\n{body}}}\n#undef {name}\n")
    path = pathlib.Path(folder) / f"all_{target}.cu"
    path.write_text("".join([*sorted(includes), *parts]))
    return path


@functools.lru_cache(maxsize=None)
def nvrtc():
    """NVIDIA's run-time compiler, which is what CuPy calls; None where it is not installed."""
    wheels = os.path.join(sysconfig.get_path("purelib"), "nvidia")
    found = sorted(glob.glob(os.path.join(wheels, "**", "libnvrtc.so*"), recursive=True))
    return ctypes.CDLL(found[0]) if found else None


def nvrtc_targets():
    """Architectures that this NVRTC knows, of those from Volta to Blackwell: CUDA 13 has dropped the first."""
    library, count = nvrtc(), ctypes.c_int()
    assert library.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    known = (ctypes.c_int * count.value)()
    assert library.nvrtcGetSupportedArchs(known) == 0
    return [target for target in ARCHITECTURES if int(target.rpartition("_")[2]) in list(known)]


def ptx_by_nvrtc(source, target):
    """One kernel as CuPy would compile it. Raises RuntimeError with the compiler's messages."""
    library, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None) == 0
    options = [f"--gpu-architecture={target}".encode(), *(option.encode() for option in cuda.OPTIONS)]
    failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    ask = ("nvrtcGetProgramLogSize", "nvrtcGetProgramLog") if failed else ("nvrtcGetPTXSize", "nvrtcGetPTX")
    getattr(library, ask[0])(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(library, ask[1])(program, text)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(text.value.decode())
    return text.value.decode()
