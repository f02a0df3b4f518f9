"""Arrays of an array-API namespace as an engine needs them: words, conversion to and from the host, random draws."""

from __future__ import annotations

import importlib
import operator
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from spikecore.api.core.engine import Engine
from spikecore.api.core.random import CHUNK, arrange, fill, plan, stream
from spikecore.api.core.rules import rule_of
from spikecore.arguments import real
from spikecore.engines.numpy import samples
from spikecore.engines.numpy.namespace import raw_words, recording
from spikecore.engines.numpy.product import matmul, sparse_matmul
from spikecore.engines.numpy.spiking import spiking
from spikecore.engines.numpy.tape import Var

DTYPES = ("float32", "float64")
NAMESPACES = {"numpy": "array_api_compat.numpy", "cupy": "array_api_compat.cupy"}


class ArrayEngine(Engine):
    """The part of the NumPy engine for arrays: words, conversion, draws; ``engine.py`` adds time and gradients.

    Args:
        dtype: "float32" or "float64".
        namespace: "numpy", "cupy", or an importable array-API namespace such as "array_api_strict".
        fused: whether compiled kernels may be used, also in matrix products and convolutions of spikes.

    Raises:
        ValueError: another dtype.
    """

    chunk = CHUNK  # how many blocks of four random numbers ``fill`` makes per pass; more on a GPU (``cupy.py``)

    def __init__(self, dtype: str, namespace: str, fused: Any) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r} must be one of {', '.join(DTYPES)}")
        self.dtype = dtype
        self.library = importlib.import_module(NAMESPACES.get(namespace, namespace))
        self.namespace, self.fused, self.device = namespace, fused, "cpu"
        self.arrays = type(self.library.zeros(1))  # array-API namespaces do not name their array class
        self.draw_library: Any = np  # NumPy draws for all: the strict namespace refuses to convert integers to floats
        self.xp = recording(self.raw_words())
        if namespace == "numpy" and fused is not False:
            self.xp.conv = spiking(self.xp.conv)  # looks whether its input is spikes, and then skips the zeros

    def __repr__(self) -> str:
        namespace = f", namespace={self.namespace!r}" if self.namespace != "numpy" else ""
        return f"{type(self).__name__}(dtype={self.dtype!r}{namespace})"

    def __deepcopy__(self, memo: Any) -> ArrayEngine:
        return self  # its modules cannot be copied, and nothing in it changes

    def raw_words(self) -> Dict[str, Callable[..., Any]]:
        """The words of the vocabulary as functions of plain arrays, by name."""
        if self.namespace != "numpy":
            return raw_words(self.library, self.dtype, operator.matmul)
        multiply = sparse_matmul if self.fused is not False else matmul
        return samples.words(raw_words(self.library, self.dtype, multiply, samples.patches))

    def products(self, word: str) -> Tuple[Callable[..., Any], ...]:
        """The vector-Jacobian products of a word for the tape: those of ``rule_of``. On NumPy, convolutions and pooling
        have versions that go through a few samples at a time, on several threads.
        """
        rules = rule_of(word)
        return samples.products(word, rules) if self.namespace == "numpy" else rules

    # ---- host and engine ----

    def asarray(self, x: Any, dtype: Optional[str] = None) -> Any:
        if type(x) is Var:
            return x
        wanted, of_library = getattr(self.library, dtype or self.dtype), isinstance(x, self.arrays)
        if of_library and x.dtype == wanted:
            return x
        floats = of_library and all(self.library.isdtype(d, "real floating") for d in (x.dtype, wanted))
        if floats and not isinstance(x, np.ndarray):  # NumPy arrays are host data
            raise TypeError(
                f"a {x.dtype} array came to an engine of {wanted}: convert it with xp.astype, "
                f"or use an engine with dtype={str(x.dtype).rpartition('.')[2]!r}"
            )
        return self.library.asarray(real(_host(x)), dtype=wanted)

    def to_numpy(self, x: Any) -> Any:
        return _host(x.value if type(x) is Var else x)

    def allocate(self, shape: Tuple[int, ...]) -> Any:
        """An array with undefined values, to be filled."""
        return self.library.empty(shape, dtype=getattr(self.library, self.dtype))

    # ---- randomness ----

    def uniform(self, key: Any, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        layout, library = plan(tuple(shape), sample_axis, first), self.draw_library
        # the generator makes a block of four numbers from each value of its counter
        out = library.empty((layout.samples * layout.blocks, 4), dtype=getattr(library, self.dtype))
        fill(out, layout, stream(key), lambda a, b: library.arange(a, b, dtype=library.uint64), self.chunk)
        return arrange(self.xp, layout, self.library.asarray(out))


def _host(x: Any) -> Any:
    """Convert CPU and CUDA tensors, CuPy arrays and lists to NumPy arrays."""
    if hasattr(x, "detach"):
        x = (x.float() if "bfloat16" in str(x.dtype) else x).numpy(force=True)  # a type that NumPy lacks
    elif hasattr(x, "get") and hasattr(x, "dtype"):
        x = x.get()
    return np.asarray(x)
