"""Whether a training that was interrupted and went on has the bits of one that was not."""

from __future__ import annotations

import numpy as np


def same(one, other):
    """Two models have the same weights, buffers, moments and history, to the bit."""
    a, b = one.state(), other.state()
    assert (a["step"], a["lr"]) == (b["step"], b["lr"])
    for part in ("params", "buffers", "optimizer"):
        assert list(a[part]) == list(b[part])
        assert all(np.array_equal(a[part][name], b[part][name]) for name in a[part]), part
    times = ("seconds", "samples_per_s")
    rows = [[{key: x for key, x in row.items() if key not in times} for row in m.history] for m in (one, other)]
    assert rows[0] == rows[1]
