"""Check a ``spikecore.Model`` for the IPU: build the module that would be compiled, and check that."""

from __future__ import annotations

from typing import Any, Optional, Union

from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.core.tree import unflatten
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.learning.learning import Learning, LearningName, learning_of
from spikecore.api.learning.steps import targets_of
from spikecore.api.training.batching import Feed
from spikecore.engines.ipu.engine import IpuEngine
from spikecore.engines.ipu.findings import CheckReport, Finding
from spikecore.engines.ipu.subject import Subject, check_network


def check_model(
    model: Any, inputs: Any, targets: Any, loss: Any = None, optimizer: Any = None, *,
    learning: Union[LearningName, Learning] = "bptt", num_steps: Optional[int] = None, encoder: Any = None,
    time_axis: int = 0, engine: Optional[IpuEngine] = None, lengths: Any = None,
) -> CheckReport:  # fmt: skip
    """Check a ``spikecore.Model`` on one batch: would an IPU take it, and train it as meant?

    Args:
        model: a model on any engine; its weights do not change.
        inputs, targets: one training batch, as ``fit`` takes it.
        loss, optimizer, learning, num_steps, encoder, time_axis: as in ``fit``.
        engine: an IPU engine whose options the check uses; None takes the default options.
        lengths: number of steps of each sample that count, if the batch has them.

    Returns:
        ``CheckReport``, with the aten calls of one time step.
    """
    engine = IpuEngine(simulate=True) if engine is None else engine
    host = model.engine.to_numpy
    feed = Feed(num_steps, encoder, time_axis)
    x, steps = feed(engine, engine.asarray(host(inputs)), model.input_shape, Key((model.seed, "check")))
    model.build(tuple(x.shape[2:]))
    like, state = shapes_of(model.network, model.input_shape), model.state()
    params, buffers = unflatten(state["params"], like.params), unflatten(state["buffers"], like.buffers)
    loss = ce_rate_loss() if loss is None else loss
    way = learning_of(learning)
    in_parts = way.update_every is not None
    subject = Subject(engine, model.network, params, buffers, loss, optimizer, way.window, in_parts)
    total = int(x.shape[0]) if steps is None else steps
    targets_by_step = targets_of(engine, loss, feed.targets(engine, loss, host(targets)), total, int(x.shape[1]))
    every = min(way.update_every or total, total)
    first_part = (x[:every], None) if steps is None else (x, every)
    report = check_network(subject, first_part[0], targets_by_step.between(0, every), first_part[1])
    if not way.backward:
        reason = f"learning={learning!r} needs gradients, which stay on the device"
        report.add(Finding("learning", "", reason, "Use learning=sc.BPTT(), with window or update_every"))
    if lengths is not None:
        reason = "batches have lengths, and a loss is compiled for whole sequences"
        report.add(Finding("lengths", "", reason, "Train on numpy or torch, or cut the sequences to one length"))
    if total % every:
        reason = f"update_every={every} does not divide the {total} steps of a sequence, and shapes are fixed"
        report.add(Finding("parts", "", reason, "Choose a divisor, or cut the sequence"))
    return report
