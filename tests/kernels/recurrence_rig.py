"""Neurons with a dense recurrence as problems for the kernels of GPUs."""

from __future__ import annotations

import spikecore as sc
from spikecore.conformance.cases import Case
from spikecore.kernels.form import step_of
from spikecore.kernels.recurrence import elementwise_part
from spikecore.kernels.recurrence_gpu import RecurrenceOnDevice
from spikecore.kernels.trace import trace
from tests.kernels.kernel_rig import Problem, constants_of

L = sc.learn
LAYERS = {
    "RLeaky": sc.RLeaky(beta=L(0.8), linear_features=5, threshold=L(0.5, per="neuron")),
    "RLeaky-zero": sc.RLeaky(beta=0.7, linear_features=5, threshold=0.5, reset_mechanism="zero", reset_delay=False),
    "RSynaptic": sc.RSynaptic(alpha=L(0.6), beta=L(0.7, per="neuron"), linear_features=5, threshold=0.5),
    "Recurrent-ALIF": sc.Recurrent(sc.ALIF(beta=L(0.8), rho=0.9, adaptation=L(0.5), threshold=0.4), sc.Linear(5, 5)),
    "Recurrent-unbiased": sc.Recurrent(sc.Leaky(beta=0.8, graded_spikes_factor=L(1.5)), sc.Linear(5, 5, bias=False)),
}
CASES = {name: Case(name, getattr(layer, "recurrent", layer), (5,)) for name, layer in LAYERS.items()}


class DenseProblem(Problem):
    """A neuron whose kernels run its elementwise part, with a product for each step."""

    def __init__(self, name, **options):
        super().__init__(CASES[name], **options)

    def kernels(self, make):
        elementwise, constants = elementwise_part(self.layer), constants_of(self.params)
        rows = [p for p in trace(elementwise, dict(constants)).params if self.params[p].size != 1]
        return RecurrenceOnDevice(step_of(elementwise, constants, self.record, tuple(rows), self.dtype), make.__self__)
