"""Neurons with a dense recurrence, LSTMs among them, as problems for the kernels of GPUs."""

from __future__ import annotations

import spikecore as sc
from spikecore.conformance.cases import Case
from spikecore.kernels.form import step_of
from spikecore.kernels.gated import gated_parts
from spikecore.kernels.recurrence import parts_of
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
GATED = {
    "SLSTM": sc.SLSTM(input_size=3, hidden_size=5, threshold=L(0.1, per="neuron"), reset_mechanism="subtract"),
    "SLSTM-none": sc.SLSTM(input_size=3, hidden_size=5, threshold=0.1, graded_spikes_factor=L(1.5)),
    "SLSTM-zero": sc.SLSTM(input_size=3, hidden_size=5, threshold=0.1, reset_mechanism="zero", reset_delay=False),
}
CASES = {name: Case(name, getattr(layer, "recurrent", layer), (5,)) for name, layer in LAYERS.items()}
CASES.update({name: Case(name, layer, (3,)) for name, layer in GATED.items()})


class DenseProblem(Problem):
    """A neuron whose kernels run its elementwise part, with a product for each step."""

    def __init__(self, name, **options):
        super().__init__(CASES[name], **options)

    def kernels(self, make):
        constants, kind = constants_of(self.params), make.__self__
        elementwise, how_and_options = parts_of(self.layer, kind, None)
        if elementwise is None:
            elementwise, how_and_options = gated_parts(self.layer, kind)
        rows = [p for p in trace(elementwise, dict(constants)).params if self.params[p].size != 1]
        how, *options = how_and_options
        return how(step_of(elementwise, constants, self.record, tuple(rows), self.dtype), *options)
