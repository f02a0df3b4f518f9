"""The loop over time through ``torch.compile``, beside the loop itself and the kernels."""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, Dict, List

import spikecore as sc
from benchmarks.gpu.record import Record

SHAPE, TINY = (25, 64, 1024), (3, 2, 8)
ROUNDS = 20
FUSED = 1e-5  # share of spikes that may differ where multiply-adds are fused, as torch.compile's kernels do on a GPU


def compiled(record: Record) -> None:
    """A row for each way of running ``Leaky`` forward and backward."""
    import torch

    from spikecore.api.core.layer import Pass
    from spikecore.api.core.tree import Params, Tree

    record.note("Leaky, forward and backward; the compiler's loop is unrolled, so that 25 steps take it a while.")
    neuron, shape = sc.Leaky(beta=0.9), record.size(SHAPE, TINY)
    x = (2.0 * torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(record.device).requires_grad_()
    upstream = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(record.device)

    def run(fused: Any) -> Callable[[Any], Any]:
        engine = sc.get_engine("torch", device=record.device, fused=fused)
        return lambda x: neuron.run(Pass(engine), Params(), Tree(), None, x).outputs

    plain = run(False)
    ways: Dict[str, Callable[[Any], Any]] = {"kernels": run("auto"), "loop": plain}
    backend = record.size("inductor", "aot_eager")
    ways["loop, torch.compile"] = torch.compile(plain, fullgraph=True, dynamic=False, backend=backend)
    if not record.rehearse:
        graphs = "reduce-overhead"
        ways["loop, torch.compile with graphs"] = torch.compile(plain, fullgraph=True, dynamic=False, mode=graphs)
    expected: List[Any] = []
    for name, way in ways.items():

        def both(way: Callable[[Any], Any] = way) -> List[Any]:
            out = way(x)
            return [out.detach().clone(), torch.autograd.grad(out, x, upstream)[0].clone()]

        with record.attempt(name):
            begun = time.perf_counter()
            found = both()
            first = time.perf_counter() - begun
            expected = expected or found
            other = (found[0] != expected[0], ~torch.isclose(found[1], expected[1], rtol=1e-4, atol=1e-5))
            spikes, gradients = (float(different.float().mean()) for different in other)
            limit = FUSED if "torch.compile" in name and not record.rehearse else 0.0
            right = spikes <= limit and gradients <= shape[0] * limit  # a spike counts for its neuron at all steps
            record.check(f"{name}: spikes and gradients", right, f"{spikes:.2g} and {gradients:.2g} of them differ")
            times = {"ms": record.time(_median(record, both)), "first call, s": record.time(first)}
            record.row("Leaky", way=name, **times)


def _median(record: Record, call: Callable[[], Any]) -> float:
    import torch

    times = []
    for _ in range(record.size(ROUNDS, 1)):
        begun = time.perf_counter()
        call()
        if not record.rehearse:
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)
