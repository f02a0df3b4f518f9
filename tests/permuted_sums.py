"""A plugin of pytest, ``-p tests.permuted_sums``: products in float32 add up in an order drawn by ``$PERMUTED_SUMS``.

Each shape has an order of its own, as it has in a library that chooses among several loops. So a test is found that
wants equal bits of two products which add the same numbers, or of what lies behind a spike that one of them flips. It
concerns both engines, torch's with the derivatives that autograd takes. It does not concern kernels that add up
themselves: ``orders.py`` compiles them for another processor.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache

import numpy as np

from spikecore.engines.numpy import convolution, product
from spikecore.kernels.runtime import blas

SEED = int(os.environ["PERMUTED_SUMS"])


@lru_cache(maxsize=None)
def order(*shape):
    """The order in which a product of this shape, the number of terms first, adds them up."""
    return np.random.default_rng((SEED, *shape)).permutation(shape[0])


def permuted(multiply):
    """The function of two arrays ``multiply``, which adds up in another order."""

    def multiplied(a, b, *more):
        if a.dtype == b.dtype == np.float32 and min(a.ndim, b.ndim) > 1 and a.shape[-1] == b.shape[-2]:
            terms = order(a.shape[-1], a.shape[-2], b.shape[-1])
            a, b = np.ascontiguousarray(a[..., terms]), np.ascontiguousarray(b[..., terms, :])
        return multiply(a, b, *more)

    return multiplied


def by_channels(space_words):
    """The words about space, of which a convolution adds up its channels in another order."""

    def words(xp, *products):
        found = space_words(xp, *products)

        def conv(x, weight, *more, **options):
            if weight.dtype == xp.float32 and x.shape[1] == weight.shape[1]:
                terms = xp.asarray(order(x.shape[1], *x.shape))
                x, weight = xp.take(x, terms, axis=1), xp.take(weight, terms, axis=1)
            return found["conv"](x, weight, *more, **options)

        return {**found, "conv": conv}

    return words


product.matmul = permuted(product.matmul)
blas.multiply = permuted(blas.multiply)
convolution.space_words = by_channels(convolution.space_words)

try:
    import torch
except ImportError:
    pass
else:

    def added(a, b, start=0.0, beta=1, alpha=1):
        """beta start + alpha a @ b, by a function of torch's that is not replaced."""
        if a.shape[-1] != b.shape[-2]:  # torch's words
            sizes = " and ".join("x".join(map(str, x.shape)) for x in (a, b))
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({sizes})")
        if a.dtype == torch.float32:
            terms = torch.from_numpy(order(a.shape[-1], a.shape[-2], b.shape[-1]))
            a, b = a.index_select(-1, terms), b.index_select(-2, terms)
        batched = [x if x.ndim == 3 else x[None] for x in (a, b)]
        found = torch.baddbmm(torch.as_tensor(start, dtype=a.dtype), *batched, beta=beta, alpha=alpha)
        return found if a.ndim == 3 else found[0]

    def convolved(x, weight, bias, stride, padding, dilation, transposed, *rest):
        if x.dtype == torch.float32 and x.shape[1] == weight.shape[1] and not transposed:
            terms = torch.from_numpy(order(x.shape[1], *x.shape))
            x, weight = x.index_select(1, terms), weight.index_select(1, terms)
        further = False, False, True, True  # benchmark, deterministic, cudnn_enabled, allow_tf32
        return torch.ops.aten._convolution(x, weight, bias, stride, padding, dilation, transposed, *rest, *further)

    FUNCTIONS = {
        "mm": added,
        "mm.out": lambda a, b, *, out: out.copy_(added(a, b)),
        "bmm": added,
        "addmm": lambda start, a, b, **scales: added(a, b, start, **scales),
        "addmm.out": lambda start, a, b, *, out, **scales: out.copy_(added(a, b, start, **scales)),
        "convolution": convolved,
    }
    LIBRARY = torch.library.Library("aten", "IMPL")  # in the place of torch's own on the CPU, as long as this lives
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which torch warns of, here and at the first call
        for name, function in FUNCTIONS.items():
            LIBRARY.impl(name, function, "CPU")
        torch.mm(torch.ones(2, 3), torch.ones(3, 2))
