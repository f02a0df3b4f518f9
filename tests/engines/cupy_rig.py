"""A pretended CuPy: importing this module makes one, of NumPy's functions on arrays that refuse to mix with the host's.

    pytest -p tests.engines.cupy_rig --pyargs spikecore.conformance --engine cupy

array-api-compat takes it for CuPy, and so does the engine. As with CuPy

- an array becomes one of NumPy by ``get`` alone, and comes from the host by ``asarray`` and ``array``;
- an operation with a NumPy array raises TypeError, whichever comes first; numbers and NumPy's scalars may take part;
- an operation with an object whose ``__array_ufunc__`` is None is that object's own (NEP 13);
- reductions return arrays without axes, not scalars; NumPy's own functions and ufuncs go to those of this module.

CuPy takes a NumPy array as index, and uploads it, for which the host waits: here it is refused. Kernels (``RawKernel``)
are the CUDA C of the package, run as C++ on the host. What CuPy leaves out of NumPy's functions, or does in another
way, is not seen here.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
import tempfile
import types

import numpy as np

assert "cupy" not in sys.modules, "the pretended CuPy must be there before anything imports one"
FROM_HOST = ("asarray", "array")


def _down(x):
    """What NumPy gets for an argument: no array of the host may be among them."""
    if type(x) is ndarray:
        return x.host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_down, x)) if type(x) in (list, tuple) else x
    return {name: _down(value) for name, value in x.items()} if isinstance(x, dict) else x


def _up(x):
    """A result as the caller gets it."""
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(np.asarray(x))
    return type(x)(map(_up, x)) if type(x) in (list, tuple) else x


def _of_numpy(function):
    @functools.wraps(function, updated=())
    def call(*arguments, **options):
        out = options.get("out")
        made = _up(function(*_down(arguments), **_down(options)))
        return made if out is None else out

    return call


class ndarray:  # noqa: N801  (CuPy's name)
    """An array on the pretended device."""

    __hash__ = None
    __array_priority__ = 100

    def __init__(self, host):
        self.host = host

    def get(self):
        """The only way to the host."""
        return self.host.copy()

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *arguments, **options):
        if method != "__call__":
            return NotImplemented
        return _of_numpy(ufunc)(*arguments, **options)

    def __array_function__(self, function, _, arguments, options):
        return _of_numpy(function)(*arguments, **options)

    def __getitem__(self, index):
        return _up(self.host[_down(index)])

    def __setitem__(self, index, value):
        self.host[_down(index)] = _down(value)

    def __iter__(self):
        return iter([self[i] for i in range(len(self))])

    def __len__(self):
        return len(self.host)

    def __bool__(self):
        return bool(self.host)

    def __float__(self):
        return float(self.host)

    def __int__(self):
        return int(self.host)

    def __index__(self):
        return self.host.__index__()

    def __repr__(self):
        return f"cupy {self.host!r}"

    def __getattr__(self, name):
        if name.startswith("__") or name == "host":
            raise AttributeError(name)
        value = getattr(self.host, name)
        return _of_numpy(value) if callable(value) else _up(value)


def _operator(name):
    function = getattr(np.ndarray, name)

    def apply(self, *others):
        if any(getattr(x, "__array_ufunc__", 0) is None for x in others):
            return NotImplemented
        if any(not isinstance(x, (ndarray, int, float, complex, np.generic)) for x in others):
            raise TypeError(f"Unsupported type {type(others[0])}")
        made = function(self.host, *map(_down, others))
        return self if made is self.host else _up(made)

    return apply


BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
for name in (
    *(f"__{kind}{name}__" for name in BINARY for kind in ("", "r", "i")),
    *"__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __neg__ __pos__ __abs__ __invert__".split(),
):
    if hasattr(np.ndarray, name):
        setattr(ndarray, name, _operator(name))


class Device:
    """The only device."""

    def __init__(self, number=0):
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class RawKernel:
    """A kernel of CUDA C, run as C++ on the host."""

    folder = None

    def __init__(self, source, name, options=()):
        from tests.kernels.cuda_rig import run_on_host

        RawKernel.folder = RawKernel.folder or tempfile.TemporaryDirectory()
        self.run = run_on_host(source, name, RawKernel.folder.name)

    def __call__(self, grid, block, arguments):
        self.run(grid, block, [_down(x) for x in arguments])


def _module(name, of):
    module = types.ModuleType(name)
    for each, value in vars(of).items():
        if isinstance(value, types.ModuleType) or each.startswith("_") or value is np.ndarray:
            continue
        callable_ = callable(value) and not isinstance(value, type)
        setattr(module, each, _of_numpy(value) if callable_ else value)
    sys.modules[name] = module
    return module


def _from_host(function):
    @functools.wraps(function)
    def call(x, *arguments, **options):
        return _up(function(x.host if type(x) is ndarray else x, *arguments, **options))

    return call


cupy = _module("cupy", np)
cupy.linalg, cupy.fft = _module("cupy.linalg", np.linalg), _module("cupy.fft", np.fft)
cupy.cuda, cupy.cuda.device = types.ModuleType("cupy.cuda"), types.ModuleType("cupy.cuda.device")
sys.modules["cupy.cuda"], sys.modules["cupy.cuda.device"] = cupy.cuda, cupy.cuda.device
cupy.cuda.Device = cupy.cuda.device.Device = Device
cupy.cuda.is_available = lambda: True
cupy.cuda.runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError)  # zarr looks
cupy.ndarray, cupy.RawKernel, cupy.asnumpy = ndarray, RawKernel, lambda x: x.get()
cupy.__spec__, ndarray.__module__ = importlib.machinery.ModuleSpec("cupy", None), "cupy"
for name in FROM_HOST:
    setattr(cupy, name, _from_host(getattr(np, name)))
