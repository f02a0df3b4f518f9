"""NeuroBench's metrics of a model: footprint, sparsity of connections and activations, operations, membrane updates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from spikecore import Linear
from spikecore.api.core.layer import Result
from spikecore.api.core.parameters import Learn, values_of
from spikecore.api.layers.containers import walk
from spikecore.api.layers.normalisation import RunningNorm
from spikecore.api.layers.spatial import CONVOLUTIONS
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder
from spikecore.api.training.operations import operations, products_met
from spikecore.api.training.visitor import WHOLE, CostVisitor
from spikecore.arguments import ArrayLike, Size, checked
from spikecore.base import Layer, Membrane, Params
from spikecore.printing import columns, in_bytes, table

if TYPE_CHECKING:
    from spikecore import Model

COUNTED = (Linear, *CONVOLUTIONS)  # whose operations and weights NeuroBench counts
RESET = 8  # bytes: snnTorch's neurons hold their reset mechanism as an int64
TRACKED = 8  # bytes: torch's batch norms hold the number of batches seen as an int64


class SynapticOperations(NamedTuple):
    """Products of a weight and an input, per sample.

    Args:
        effective_macs: multiply-accumulates without a factor of zero, in the steps in which some input of the
            connection is neither 0 nor 1 nor -1.
        effective_acs: accumulates, as many as there are such products in all other steps.
        dense: products if nothing were zero.
    """

    effective_macs: float
    effective_acs: float
    dense: float


@dataclass(frozen=True)
class Metrics:
    """The result of ``measure``: print it, read the fields, or take all as NeuroBench names them from ``results``.

    Args:
        parameter_count: entries of all parameters.
        footprint: bytes of parameters, buffers, the neurons' constants and the counters of batch norms.
        connection_sparsity: share of the weights of linear layers and convolutions that are zero, rounded to four
            decimals.
        activation_sparsity: share of the neurons' outputs that are zero, over all layers, steps and samples.
        activation_sparsity_by_layer: the same for each layer of neurons, by its dotted name.
        synaptic_operations: products of a weight and an input, per sample.
        membrane_updates: changes of a membrane potential, per sample.
        uncounted: layers with weights that NeuroBench does not count.
        samples: size of the batch.
        steps: number of time steps.
    """

    parameter_count: int
    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    activation_sparsity_by_layer: Dict[str, float]
    synaptic_operations: SynapticOperations
    membrane_updates: float
    uncounted: Tuple[str, ...]
    samples: int
    steps: int

    @property
    def results(self) -> Dict[str, Any]:
        """The metrics as ``neurobench.benchmarks.Benchmark.run`` returns them, by NeuroBench's names."""
        operations = self.synaptic_operations
        return {
            "ParameterCount": self.parameter_count,
            "Footprint": self.footprint,
            "ConnectionSparsity": self.connection_sparsity,
            "ActivationSparsity": self.activation_sparsity,
            "ActivationSparsityByLayer": dict(self.activation_sparsity_by_layer),
            "SynapticOperations": {
                "Effective_MACs": operations.effective_macs,
                "Effective_ACs": operations.effective_acs,
                "Dense": operations.dense,
            },
            "MembraneUpdates": self.membrane_updates,
        }

    def _rows(self) -> List[Tuple[str, str]]:
        operations = self.synaptic_operations
        by_layer = [(f"  layer {name}", f"{share:.4f}") for name, share in self.activation_sparsity_by_layer.items()]
        return [
            ("parameters", f"{self.parameter_count:,}"),
            ("footprint", in_bytes(self.footprint)),
            ("connection sparsity", f"{self.connection_sparsity:.4f}"),
            ("activation sparsity", f"{self.activation_sparsity:.4f}"),
            *by_layer,
            ("effective MACs per sample", f"{operations.effective_macs:,.1f}"),
            ("effective ACs per sample", f"{operations.effective_acs:,.1f}"),
            ("dense operations per sample", f"{operations.dense:,.1f}"),
            ("membrane updates per sample", f"{self.membrane_updates:,.1f}"),
            *((f"not counted: {name}", "") for name in self.uncounted),
        ]

    @property
    def _title(self) -> str:
        return f"NeuroBench's metrics, {self.samples} samples, {self.steps} steps"

    def __str__(self) -> str:
        return f"{self._title}\n{columns(self._rows())}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return table(self._title, self._rows())


@checked
def measure(model: Model, x: ArrayLike, num_steps: Optional[Size] = None, encoder: Optional[Encoder] = None) -> Metrics:
    """Measure a model by NeuroBench's definitions, on any engine, without NeuroBench and without torch.

    The numbers are those that NeuroBench gets for ``to_neurobench(model)`` on one batch ``x``, except for
    the footprint. Here it has the constants of all neurons; NeuroBench sees only constants that are buffers of a
    module, which are those of snnTorch's neurons, and two more in Lapicque.

    Two things differ from ``functional.activity``, which counts what spikecore computes: an input that is constant
    in time is multiplied at every step; and one step of a connection is all accumulates or all multiply-
    accumulates.

    Args:
        model: a ``Model``.
        x: (time, batch, *features); with ``num_steps`` or an encoder (batch, *features).
        num_steps: number of steps of a constant input, or for the encoder.
        encoder: as in ``Model.fit``.

    Returns:
        ``Metrics``.

    Raises:
        TypeError: the network has a container other than Sequential and those that merge branches.

    Source: Yik et al., The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems, Nature
    Communications 16, 1545 (2025).
    """
    count = _Count(model, x, num_steps, encoder, record=True)
    count.run()
    state = model.state()
    arrays = [*state["params"].values(), *state["buffers"].values()]
    itemsize = 8 if model.engine.dtype == "float64" else 4
    fired, outputs = (sum(row[i] for row in count.outputs.values()) for i in (0, 1))
    return Metrics(
        parameter_count=sum(x.size for x in state["params"].values()),
        footprint=sum(x.nbytes for x in arrays) + sum(_constants(one, itemsize) for _, one in walk(model.network)),
        connection_sparsity=round(count.zeros / count.weights, 4) if count.weights else 0.0,
        activation_sparsity=(outputs - fired) / outputs if outputs else 0.0,
        activation_sparsity_by_layer={name: (row[1] - row[0]) / row[1] for name, row in count.outputs.items()},
        synaptic_operations=SynapticOperations(*(total / count.batch for total in count.operations)),
        membrane_updates=count.updates / count.batch,
        uncounted=tuple(count.uncounted),
        samples=count.batch,
        steps=count.steps,
    )


def _constants(layer: Layer, itemsize: int) -> int:
    """Bytes that modules of torch hold beside what is here a parameter or a buffer.

    Those of a neuron are its values that are not learned and its reset mechanism, as in snnTorch.
    """
    if isinstance(layer, RunningNorm):
        return TRACKED
    if not isinstance(layer, Stepper):
        return 0
    core, _ = layer.core
    fixed = (getattr(core, name) for name in core.parameter_names())
    sizes = [math.prod(getattr(values_of(value), "shape", ())) for value in fixed if not isinstance(value, Learn)]
    return itemsize * sum(sizes) + (RESET if isinstance(core, Membrane) else 0)


class _Count(CostVisitor):
    """Counts outputs, operations, weights and updates of membranes, layer by layer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.outputs: Dict[str, Tuple[int, int]] = {}  # by layer: how many are not zero, and how many there are
        self.operations = [0.0, 0.0, 0.0]  # effective MACs, effective ACs, dense
        self.zeros = self.weights = self.updates = 0

    def note_neurons(self, name: str, layer: Stepper, result: Result) -> None:
        y = self.engine.to_numpy(result.outputs)
        self.outputs[name] = (int((y != 0).sum()), y.size)
        if "mem" in layer.state:
            mem = self.engine.to_numpy(result.recorded.mem)
            self.updates += int((mem[1:] != mem[:-1]).sum()) + mem[0].size

    def note_connection(self, name: str, kind: str, layer: Layer, params: Params, x: Any) -> bool:
        if not isinstance(layer, COUNTED):
            return False
        values, repeated = self.engine.to_numpy(x), self.steps // len(x)
        spikes = ((values == 0) | (values == 1) | (values == -1)).all(axis=tuple(range(1, values.ndim)))
        effective: Any = products_met(self.engine, layer, params, x)
        self.operations[0] += float(effective[~spikes].sum()) * repeated
        self.operations[1] += float(effective[spikes].sum()) * repeated
        self.operations[2] += operations(layer, values.shape[2:]) * self.batch * self.steps
        zero = self.engine.to_numpy(params.weight) == 0
        self.zeros += int(zero.sum())
        self.weights += zero.size
        return True

    def note_products(self, path: str, layer: Layer, products: Sequence[Tuple[Any, Any]]) -> None:
        if products:
            self.leave_out(path or WHOLE, layer)
