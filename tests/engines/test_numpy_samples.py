"""Convolution and pooling of the NumPy engine: a few samples at a time give what all at once give."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import spikecore as sc
from spikecore.conformance import reference
from spikecore.conformance.rig import assert_close, normal
from spikecore.engines.numpy import samples
from spikecore.kernels.runtime import blas

SPACE = {"stride": (1, 2), "padding": (1, 1), "dilation": (1, 2)}
LINE = {"stride": (1,), "padding": (0,), "dilation": (1,), "groups": 1}
TRANSPOSED = {**SPACE, "output_padding": (0, 1), "groups": 2}
CALLS = {
    "conv": (normal(7, 4, 5, 6), [normal(6, 2, 2, 3), normal(6)], {**SPACE, "groups": 2}),
    "conv without bias": (normal(7, 4, 5), [normal(6, 4, 3), None], LINE),
    "conv_transpose": (normal(7, 6, 3, 2), [normal(6, 2, 2, 3), normal(4)], TRANSPOSED),
    "conv_transpose without bias": (normal(7, 4, 5), [normal(4, 3, 3), None, (1,), (0,), (0,), (1,), 1], {}),
    "max_pool": (normal(7, 4, 5, 6), [(3, 2), (2, 2), (1, 1)], {}),
    "max_pool with ties": (np.round(normal(7, 4, 6, 6)), [(2, 2), (2, 2), (0, 0)], {}),
    "avg_pool of the map": (normal(7, 4, 3, 2), [(3, 2), (1, 1), (0, 0)], {}),
    "avg_pool": (normal(7, 4, 5, 6), [(3, 2), (2, 2), (1, 1)], {}),
}  # fmt: skip


def computed(name, engine):
    """The value of a call, and the gradient by each of its arrays."""
    x, arguments, options = CALLS[name]
    word = getattr(engine.xp, name.split()[0])
    value = word(
        engine.asarray(x), *(engine.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments), **options
    )
    weights, found = engine.asarray(normal(*value.shape, seed=3)), [value]
    arrays = [x, *(a for a in arguments if isinstance(a, np.ndarray))]
    for i in range(len(arrays)):

        def loss(moving, *others, i=i):
            given = iter([*others[:i], moving, *others[i:]])
            first, *rest = next(given), *(next(given) if isinstance(a, np.ndarray) else a for a in arguments)
            return engine.xp.sum(word(first, *rest, **options) * weights), ()

        others = [engine.asarray(a) for j, a in enumerate(arrays) if j != i]
        found.append(engine.value_and_grad(loss, engine.asarray(arrays[i]), *others)[2])
    return found


@pytest.mark.parametrize("limit", [1, 3000])
@pytest.mark.parametrize("name", CALLS)
def test_some_samples_at_a_time_give_what_all_give(name, limit, monkeypatch):
    engine = sc.get_engine("numpy", dtype="float64")
    whole, shared, share = computed(name, engine), [], samples.share
    monkeypatch.setattr(samples, "BYTES", limit)
    monkeypatch.setattr(samples, "share", lambda tasks: shared.append(tasks) or share(tasks))
    for one, other in zip(computed(name, engine), whole):
        assert_close(one, other, 1e-13)
    if limit == 1:  # each value was in parts, and each gradient
        assert len(shared) == 2 * len(whole) - 1


def test_windows_of_a_map_that_lies_in_another_order():
    x = normal(5, 6, 3, 2).transpose(3, 2, 0, 1)
    assert_close(samples.patches(x, (2, 3), **SPACE), reference.patches(x, (2, 3), *SPACE.values()), 0.0)


def test_shared_tasks_may_multiply_and_share():
    """On threads of the pool, a product that waited for the pool would wait for itself."""
    a, seen = normal(1024, 128), set()

    def task():
        seen.add(threading.get_ident())
        out = np.empty((1024, 1024))
        blas.multiply(a, a.T, out)
        blas.share([lambda: None, lambda: None])
        assert_close(out[0], a @ a[0], 1e-12)

    blas.share([task] * 8)
    assert 1 <= len(seen) <= blas._calm.__enter__()
    blas._calm.__exit__()


def test_an_error_in_a_shared_task_is_raised():
    def fail():
        raise ZeroDivisionError

    for tasks in ([fail], [lambda: None, fail], [fail, lambda: None]):
        with pytest.raises(ZeroDivisionError):
            blas.share(tasks)
    assert not getattr(blas._here, "part", False)
    assert blas._calm.inside == 0
