"""Random numbers: the suite's cases, known answers, first weights."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.api.core.layer import Key
from spikecore.api.core.random import philox, stream
from spikecore.api.core.tree import flatten
from spikecore.conformance import cases, reference
from spikecore.conformance.test_random import *  # noqa: F403

ONES = 0xFFFFFFFF


KNOWN = [  # Random123's known answers for philox4x32-10: counter, key, result
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    assert reference.philox(counter, key) == expected
    for dtype, signed in (("uint64", False), ("int64", True)):
        words = philox(tuple(np.array([c]).astype(dtype) for c in counter), key, signed)
        assert tuple(int(w[0]) for w in words) == expected


def test_streams_are_apart():
    paths = [0, 1, "1", (1,), (1, 1), (1, "1"), ("1", 1), (11,), ("a", "b"), ("ab",)]
    assert len({stream(path) for path in paths}) == len(paths) - 1  # 1 and (1,) are one stream
    with pytest.raises(TypeError, match="neither an int nor a str"):
        stream((1, 2.5))
    with pytest.raises(TypeError, match="True"):
        stream(True)


@pytest.mark.parametrize("case", cases.NETWORKS, ids=repr)
def test_first_weights_depend_on_the_seed_alone(case):
    """Drawn on the host: equal everywhere, another seed other weights, every layer its own."""
    first, again, other = (flatten(case.layer.init(Key((seed, "init")), case.shape).params) for seed in (0, 0, 1))
    for name, x in first.items():
        np.testing.assert_array_equal(x, again[name])
        if name.endswith(("weight", "bias")):
            assert (x != other[name]).any()
    drawn = [x.ravel()[0] for name, x in first.items() if name.endswith(("weight", "bias"))]
    assert len(set(drawn)) == len(drawn)
    for name, x in first.items():
        if name.endswith("weight"):
            assert abs(x).max() <= 1 / np.sqrt(np.prod(x.shape[1:])), "uniform in +-1/sqrt(fan_in), as torch"
