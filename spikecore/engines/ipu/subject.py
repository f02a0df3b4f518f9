"""Build the module that would be compiled for a network of the library, and check it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

import torch

from spikecore.api.core.layer import EMPTY, Key, ShapeError, layer_name
from spikecore.api.core.tree import leaves, map_leaves
from spikecore.api.layers.network import record_option
from spikecore.api.training.executor import recorded_for
from spikecore.engines.ipu.check import check, traced
from spikecore.engines.ipu.device_state import not_keepable
from spikecore.engines.ipu.findings import CheckReport, Finding, large_graph
from spikecore.engines.ipu.module import CallSignature, TrainingModule, drawn, probed
from spikecore.engines.ipu.padding import sample_weights
from spikecore.engines.ipu.programs import batch_first, placement
from spikecore.engines.ipu.simulation import identity_loss
from spikecore.engines.ipu.simulation.rules import ancestors


@dataclass(frozen=True)
class Subject:
    """The subject of a check: a network with its weights (tensors or NumPy arrays), loss and optimiser.

    ``parted`` says whether states stay on the device from one part of a sequence to the next.
    """

    engine: Any
    network: Any
    params: Any
    buffers: Any
    loss: Any
    optimizer: Any = None
    window: Optional[int] = None
    parted: bool = False

    def module(self, x: Any, y: Any, steps: Optional[int]) -> Tuple[TrainingModule, List[Any]]:
        """The module that would be compiled for a batch x (time, batch, *features) and y, and its inputs.

        It computes in float32 even with ``half=True``: the ops are the same, and not every CPU build has float16.
        """
        engine, settings, samples = self.engine, self.engine.options, x.shape[1]
        params, buffers = (map_leaves(engine.asarray, tree) for tree in (self.params, self.buffers))
        probe = probed(engine, self.network, params, buffers, x, steps)
        state = probe.state if self.parted else EMPTY
        placed = placement(x, y, steps)
        record = record_option(self.network, recorded_for(self.loss))
        padded = settings.short_batch == "pad" and placed != "whole"
        layout = CallSignature(steps, record, self.window, placed, weights=padded, keeps=len(leaves(state)) > 0)
        module = TrainingModule(
            engine, self.network, params, buffers, layout, loss=self.loss, identity_loss=identity_loss,
            draws=probe.draws, state=state,
        )  # fmt: skip
        weights = [sample_weights(engine, samples, samples)] if padded else []
        begins = [engine.asarray([1.0] * samples)] if layout.keeps else []
        random = drawn(engine, probe.draws, Key((0, "check")), samples)
        inputs = [x.transpose(0, 1).contiguous(), batch_first(y, placed), *weights, *begins, *random]
        return module, inputs

    def unreached(self, x: Any, y: Any, steps: Optional[int]) -> List[str]:
        """The parameters from which no path leads to the loss of a batch."""
        module, inputs = self.module(x, y, steps)
        with torch.enable_grad():
            loss = module(*inputs)[-1]
        reached = {id(getattr(function, "variable", None)) for function in ancestors(loss)}
        return [name for name, weight in module.params.named_parameters() if id(weight) not in reached]

    def calls(self, x: Any, y: Any, steps: Optional[int]) -> Optional[int]:
        """The number of aten calls of one forward pass; None if the pass fails."""
        module, inputs = self.module(x, y, steps)
        watch, _ = traced(CheckReport(""), module, inputs, {}, True)
        return None if watch is None else len(watch.calls)


def check_network(subject: Subject, x: Any, y: Any, steps: Optional[int] = None, *, count: bool = True) -> CheckReport:
    """Check a network of the library on one training batch.

    Args:
        subject: the network with its weights, loss and optimiser.
        x: inputs (time, batch, *features) on the engine; (1, batch, *features) if they are constant in time.
        y: targets on the engine.
        steps: number of time steps of a constant input; otherwise None.
        count: whether to count the aten calls of one time step, which takes a second pass.

    Returns:
        ``CheckReport``; with ``count`` it has the aten calls of one time step.
    """
    module, inputs = subject.module(x, y, steps)
    module.train()
    title = layer_name(subject.network)
    report = check(module, inputs, optimizer=subject.optimizer, options=subject.engine.options, title=title)
    objection = not_keepable(module.like_state, subject.engine.options.parts(True))
    if subject.parted and objection is not None:
        report.add(Finding("parts", "", *objection))
    report.steps = x.shape[0] if steps is None else steps
    if count and report.nodes:
        report.per_step = _per_step(subject, x, y, steps, report)
        report.findings = [finding for finding in report.findings if finding.trap != "graph size"]
        large = large_graph(report.nodes, report.per_step, report.steps)
        if large is not None:
            report.add(large)
    return report


def _per_step(subject: Subject, x: Any, y: Any, steps: Optional[int], report: CheckReport) -> Optional[int]:
    """Number of aten calls of one more time step; the mean per step if the network fixes the number of steps."""
    longer: Any = (x, y, steps + 1) if steps is not None else (torch.cat([x, x[-1:]]), y, None)
    if placement(x, y, steps) == "time":
        longer = (longer[0], torch.cat([y, y[-1:]]), longer[2])
    try:
        more = subject.calls(*longer)
    except ShapeError:
        more = None
    if more is None:
        return -(-report.nodes // report.steps) if report.steps else None
    return more - report.nodes
