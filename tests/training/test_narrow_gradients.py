"""``Compute(parallel="data-bf16")``: gradients go to the other processes in bfloat16. tests/hosts counts the bytes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import torch.distributed as dist  # noqa: E402

if not dist.is_available():
    pytest.skip("torch.distributed", allow_module_level=True)

from spikecore.api.core.engines import get_engine  # noqa: E402
from spikecore.api.training.together import ranks_for  # noqa: E402
from spikecore.engines.torch.ranks import Reduction  # noqa: E402


@pytest.fixture
def group(monkeypatch):
    """Two processes with the same gradients: what is sent is noted, and comes back doubled."""
    sent = []

    class Work:
        def wait(self):
            pass

    def all_reduce(x, async_op=False):
        sent.append(x.clone())
        x.mul_(2)
        return Work()

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    return sent


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("narrow", [False, True])
def test_only_what_is_sent_is_narrow(group, dtype, narrow):
    draws = torch.Generator().manual_seed(0)
    weights = [torch.rand(shape, dtype=dtype, generator=draws, requires_grad=True) for shape in ((7, 5), (3,))]
    reduction = Reduction(weights, narrow)
    for repeat in range(2):
        gradients = [torch.rand(x.shape, dtype=dtype, generator=draws) for x in weights]
        for x, g in zip(weights, gradients):
            x.grad = g.clone()
        reduction.finish()
        assert [x.dtype for x in group] == [torch.bfloat16 if narrow else dtype] * (repeat + 1)
        for x, g in zip(weights, gradients):
            assert x.grad.dtype == dtype
            exact = torch.equal(x.grad, 2 * g)
            assert exact is not narrow
            torch.testing.assert_close(x.grad, 2 * g, rtol=2.0**-8, atol=0)
    reduction.close()


def test_only_this_choice_sends_narrow_gradients():
    engine = get_engine("torch")
    assert [ranks_for(engine, parallel).narrow for parallel in ("data", "data-bf16", "fsdp", "none")] == [
        False,
        True,
        False,
        False,
    ]
