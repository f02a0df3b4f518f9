"""Names of other libraries for what this package has under another name, or does not need."""

from __future__ import annotations

from typing import Dict, Iterable

from spikecore.arguments import unknown

_NEURON = "write sc.Leaky(beta=0.9), the leaky integrate-and-fire neuron"
_SPIKES = "leave it out: behind a connection stands a neuron, e.g. sc.Leaky(beta=0.9)"
ELSEWHERE: Dict[str, str] = {
    **dict.fromkeys(("LIF", "LIFNode", "LIFCell", "LIFNeuron"), _NEURON),
    **dict.fromkeys(("RAFNode", "ResonateFire"), "write sc.ResonateAndFire(beta=0.9, omega=0.5), angles per step"),
    **dict.fromkeys(("S4D", "S5"), "write sc.StateSpace(modes=8), a diagonal state-space neuron"),
    **dict.fromkeys(("ReLU", "GELU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"), _SPIKES),
    **{
        name: f"write sc.{ours}BatchNorm1d or 2d"
        for ours, names in (("ThresholdDependent", ("tdBN", "TDBN", "tdBatchNorm")), ("TemporalEffective", ("TEBN",)))
        for name in names
    },
    "MultiheadAttention": "write sc.SpikingSelfAttention(query, key, value, num_heads), or sc.SoftmaxAttention(...)",
    **dict.fromkeys(
        ("QKAttention", "TokenQKAttention", "ChannelQKAttention", "SpikeDrivenSelfAttention"),
        "write sc.HeadGate(gate, body) with sc.HeadSum or sc.PositionSum in the gate; zoo.qkformer and "
        "zoo.spike_driven_transformer have both",
    ),
    "Unflatten": "write sc.Reshape((channels, height, width))",
    "GlobalAveragePooling2D": "write sc.GlobalAvgPool()",
    "Dense": "write sc.Linear(in_features, out_features)",
    "Input": "leave it out: write sc.Model(net, input_shape=(1, 28, 28)), where the first layer does not say it",
    "CrossEntropyLoss": "write sc.functional.ce_rate_loss(), or ce_membrane_loss() for readouts that do not fire",
    "MSELoss": "write sc.functional.mse_count_loss() for classes, mse_membrane_loss() for values",
    **dict.fromkeys(
        ("ReduceLROnPlateau", "LRScheduler"), "write sc.schedule.reduce_on_plateau(), cosine(), one_cycle() ..."
    ),
    "onnx": "write sc.export(model, path, to='onnx')",
    "DataLoader": "write sc.datasets.Loader(inputs, targets, batch_size=64)",
}  # names of the package that other libraries have


def instead_of(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that the package lacks: what to write instead, the nearest name, or ""."""
    if name in ELSEWHERE:
        return f": {ELSEWHERE[name]}"
    hint = unknown("name", name, known).partition("; did you mean ")[2]
    return f"; did you mean {hint.partition('?')[0]}?" if hint else ""
