"""A value for everything that a run file may name, and cases of every option, made from the classes themselves."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("pydantic")

import spikecore as sc  # noqa: E402
from spikecore import functional, schedule, surrogate  # noqa: E402
from spikecore.api.core.initialisers import Initialiser  # noqa: E402
from spikecore.api.core.parameters import param_fields  # noqa: E402
from spikecore.api.functional.quantisers import Grid  # noqa: E402
from spikecore.api.training.optimizers import Optimizer  # noqa: E402
from spikecore.arguments import hints_of  # noqa: E402
from spikecore.cli import schema as kinds  # noqa: E402

STEPS, SAMPLES = 3, 4
ROW, CHANNELS, MAP, CUBE = (4,), (2, 6), (2, 6, 6), (2, 3, 3, 3)
LINEAR = {"kind": "Linear", "in_features": 4, "out_features": 4}
BRANCH = {"kind": "Conv1d", "in_channels": 2, "out_channels": 2, "kernel_size": 1}
GROUPS = {
    "layers": kinds.named(sc.base.Layer),
    "surrogates": kinds.named(surrogate.Surrogate),
    "losses": kinds.named(functional.Loss, functional),
    "regularisers": kinds.named(functional.Regulariser, functional),
    "initialisers": kinds.named(Initialiser),
    "optimizers": kinds.named(Optimizer),
    "schedules": kinds.named(object, schedule),
    "quantisation": {"state_quant": functional.quant.state_quant, "FixedPoint": sc.compression.FixedPoint},
    "grids": kinds.named(Grid),
    "early stopping": {"EarlyStopping": sc.EarlyStopping},
}

# ---- values --------------------------------------------------------------------------------------------------------

SHAPES = {  # of one sample, where a layer does not take any
    **dict.fromkeys(("Conv1d", "AvgPool1d", "MaxPool1d", "CountMaxPool1d", "DelayedConv1d"), CHANNELS),
    **dict.fromkeys(
        ("AdaptiveAvgPool1d", "AdaptiveMaxPool1d", "ConvTranspose1d", "InstanceNorm1d", "ZeroPad1d"), CHANNELS
    ),
    **dict.fromkeys(("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "ConvTranspose2d", "InstanceNorm2d", "ZeroPad2d"), MAP),
    **dict.fromkeys((f"{kind}BatchNorm2d" for kind in ("TemporalEffective", "ThresholdDependent")), MAP),
    **dict.fromkeys(("CountMaxPool2d", "DelayedConv2d", "GlobalAvgPool", "Upsample"), MAP),
    **dict.fromkeys(("BatchNorm3d", "Conv3d", "ConvTranspose3d", "AvgPool3d", "MaxPool3d"), CUBE),
    **dict.fromkeys(("SpikingSelfAttention", "SoftmaxAttention", "HeadGate", "HeadSum", "PositionSum"), CHANNELS),
    **dict.fromkeys(("Conv2d", "AvgPool2d", "MaxPool2d", "BatchNorm2d", "BatchNormTT2d", "SConv2dLSTM"), MAP),
}
NEEDED = {  # what a class cannot do without
    **dict.fromkeys(
        ("SpikingSelfAttention", "SoftmaxAttention"),
        {**dict.fromkeys(("query", "key", "value"), BRANCH), "num_heads": 2},
    ),
    "HeadGate": {"gate": {"kind": "HeadSum", "num_heads": 1}, "body": BRANCH},
    "HeadSum": {"num_heads": 2},
    "Reshape": {"shape": [2, -1]},
    "Permute": {"axes": [0]},
    "AssociativeLeaky": {"in_dim": 4, "d_value": 2, "d_key": 2},
    **dict.fromkeys((f"{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2, 3)), {"kernel_size": 2}),
    **dict.fromkeys(("CountMaxPool1d", "CountMaxPool2d"), {"kernel_size": 2}),
    **dict.fromkeys((f"Adaptive{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2)), {"output_size": 4}),
    **dict.fromkeys(("BatchNorm1d", "ThresholdDependentBatchNorm1d", "Standardize"), {"num_features": 4}),
    **dict.fromkeys(("BatchNorm2d", "BatchNorm3d", "ThresholdDependentBatchNorm2d"), {"num_features": 2}),
    **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d"), {"num_features": 2}),
    "GroupNorm": {"num_groups": 2, "num_channels": 4},
    "Upsample": {"scale_factor": 2},
    **dict.fromkeys(("ZeroPad1d", "ZeroPad2d"), {"padding": 1}),
    "TemporalEffectiveBatchNorm1d": {"num_features": 4, "time_steps": STEPS},
    "TemporalEffectiveBatchNorm2d": {"num_features": 2, "time_steps": STEPS},
    "fluctuation": {"rate": 0.2},
    "gamma": {"mean": 2.0},
    "uniform": {"low": -0.5, "high": 0.5},
    "BatchNormTT1d": {"num_features": 4, "time_steps": STEPS},
    "BatchNormTT2d": {"num_features": 2, "time_steps": STEPS},
    **dict.fromkeys(("Add", "Concat", "Multiply"), {"layers": ["Leaky", "Leaky"]}),
    **dict.fromkeys(
        tuple(f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)),
        {"in_channels": 2, "out_channels": 2, "kernel_size": 3},
    ),
    "EarlyStopping": {"monitor": "loss"},
    "GradedSpikes": {"size": 4},
    "Graph": {
        "names": ["near", "both", "out"],
        "layers": [LINEAR, {"kind": "Sum"}, "Leaky"],
        "sources": [["input"], ["input", "near"], ["both"]],
        "outputs": ["out"],
    },
    "Lapicque": {"beta": 0.9},
    "PSN": {"num_steps": STEPS},
    "MaskedPSN": {"num_steps": STEPS, "order": 2},
    "LayerNorm": {"normalized_shape": 4},
    "LeakyParallel": {"input_size": 4, "hidden_size": 3},
    "Linear": {"in_features": 4, "out_features": 3},
    "LinearLeaky": {"in_features": 4, "out_features": 3},
    "DelayedLinear": {"in_features": 4, "out_features": 3, "max_delay": 3},
    **dict.fromkeys(
        ("DelayedConv1d", "DelayedConv2d"), {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "max_delay": 2}
    ),
    **dict.fromkeys(("RLeaky", "RSynaptic"), {"linear_features": 4}),
    **dict.fromkeys(("Quantized", "WeightStandardized", "DropConnect"), {"layer": LINEAR}),
    "QuantizedNeuron": {"neuron": "Leaky"},
    "Recurrent": {"neuron": "Leaky", "connection": LINEAR},
    "Noisy": {"neuron": "Leaky", "input_noise": 0.1},
    "Refractory": {"neuron": "Leaky"},
    "Residual": {"body": "Leaky"},
    "SConv2dLSTM": {"in_channels": 2, "out_channels": 2},
    "SLSTM": {"input_size": 4, "hidden_size": 3},
    "SpikingGRU": {"input_size": 4, "hidden_size": 3},
    "Sequential": {"layers": [LINEAR, "Leaky"]},
    "step": {"every": 2},
}
LINES, SIZES = [{"stride": [2]}, {"kernel_size": [3]}], [{"stride": 1}, {"padding": 1}]
PLANES = [{"stride": [2, 1]}, {"padding": [1, 0]}, {"kernel_size": [2, 3]}]
CONNECTED = [{"dilation": 2}, {"groups": 2}, {"bias": False}]
TAPS = [
    {"kernel": "gaussian", "sigma": 0.3, "sigma_start": 2.0, "anneal": 3},
    {"delay_init": {"kind": "constant", "value": 1.5}},
]
RECURRENT = [
    {"linear_features": None, "all_to_all": False, "V": 0.5},
    {"linear_features": None, "all_to_all": False, "V": [0.1, 0.2, 0.3, 0.4]},
    {"linear_features": None, "all_to_all": False, "V": {"learn": 0.5, "per": "neuron"}},
    {"V": {"learn": 1.0}},
    {"linear_features": None, "conv2d_channels": 2, "kernel_size": 3},
    {"linear_features": None, "conv2d_channels": 2, "kernel_size": [3, 1]},
]
LABELS = [{"population_code": True, "num_classes": 2}, {"normalise": True, "weight": [1.0, 2.0]}, {"num_classes": 2}]
GIVEN = {  # tables of options that go together; None leaves out what is needed otherwise
    "Alpha": [{"alpha": 0.95}, {"beta": {"learn": 0.5}}, {"reset_mechanism": "subtract"}],
    "AvgPool1d": LINES + SIZES,
    "AvgPool2d": PLANES + SIZES,
    "Concat": [{"axis": -1}, {"layers": [LINEAR]}],
    "Conv1d": LINES + SIZES + CONNECTED,
    "Conv2d": PLANES + SIZES + CONNECTED,
    "Conv3d": [{"padding": 1, "dilation": 2}, {"stride": [1, 2, 1]}, {"groups": 2}],
    "ConvTranspose1d": [{"stride": 2, "output_padding": 1}, {"padding": 1, "dilation": 2}, {"groups": 2}],
    "ConvTranspose2d": [{"stride": [2, 1], "output_padding": [1, 0]}, {"padding": 1, "dilation": 2}, {"groups": 2}],
    "ConvTranspose3d": [
        {"stride": [2, 1, 2], "output_padding": [1, 0, 0]},
        {"padding": 1, "dilation": 2},
        {"groups": 2},
    ],
    **dict.fromkeys(("AvgPool3d", "MaxPool3d", "CountMaxPool1d", "CountMaxPool2d"), [{"stride": 1, "padding": 1}]),
    "Upsample": [
        {"scale_factor": None, "size": 9}, {"scale_factor": [1, 2]}, {"mode": "bilinear", "align_corners": True},
    ],
    "ZeroPad2d": [{"padding": [1, 0, 2, 0]}],
    "Delay": [
        {"delay": {"learn": 1.5, "per": "neuron"}, "max_delay": 3}, {"delay": [0, 1.5, 3, 1]},
        {"kernel": "gaussian", "sigma": 0.3, "sigma_start": 2.0, "anneal": 3},
    ],
    "DelayedLinear": [{"bias": False}, *TAPS],
    **dict.fromkeys(("DelayedConv1d", "DelayedConv2d"), SIZES + CONNECTED + TAPS),
    "EarlyStopping": [{"patience": 1}, {"monitor": "accuracy"}, {"min_delta": 0.1}, {"restore_best": False}],
    "BalancedResonateAndFire": [{"dt": 0.25, "omega": 2.0}],
    "GLIF": [{"time_steps": 3}],
    "ILIF": [{"reset_mechanism": "none"}],
    "Izhikevich": [{"threshold": {"learn": 20.0}}],
    "MaskedPSN": [{"order": 1}, {"mask": 0.5}, {"parallel": False}],
    "SlidingPSN": [{"order": 2}],
    "StateSpace": [{"modes": 2}, {"dt_min": 0.01}, {"dt_max": 0.5}],
    "Lapicque": [{"beta": None, "R": 5.0, "C": {"learn": 2.0}}, {"beta": None, "R": [2.0], "C": 3}, {"R": 2.0}],
    "LayerNorm": [{"normalized_shape": [4]}],
    "LeakyParallel": [{"beta": 0.5}, {"beta": [0.1, 0.2, 0.3]}, {"beta": {"learn": 0.5, "per": "neuron"}}],
    "LinearLeaky": [{"channels": 3}],
    **dict.fromkeys(("Leaky", "ResonateAndFire", "Synaptic"), [{"parallel": True, "reset_mechanism": "none"}]),
    "MaxPool1d": LINES + SIZES,
    "MaxPool2d": PLANES + SIZES,
    **dict.fromkeys(("RLeaky", "RSynaptic"), RECURRENT),
    "Quantized": [
        {"weight_quant": {"kind": "ScaledInteger", "bits": 4, "scale": "learned"}},
        {"weight_quant": {"kind": "FixedPoint", "bits": 4, "fraction": 3}},
        {"bias_quant": {"kind": "ScaledInteger"}},
        {"input_quant": {"kind": "FixedPoint"}},
        {"output_quant": {"kind": "FixedPoint", "bits": 12}},
    ],
    "QuantizedNeuron": [
        {"param_quant": {"kind": "ScaledInteger", "bits": 6}},
        {"neuron": "Izhikevich", "state_quant": {"kind": "FixedPoint", "fraction": 6}},
        {"neuron": {"kind": "Leaky", "state_quant": {"kind": "FixedPoint"}}},
    ],
    "Recurrent": [
        {"connection": "OneToOne"},
        {"neuron": {"kind": "ALIF", "adaptation": 0.5}},
        {"neuron": {"kind": "Refractory", "neuron": "Synaptic", "period": 2}},
    ],
    "Noisy": [{"neuron": "Synaptic"}, {"threshold_noise": {"learn": 0.1}}, {"distribution": "logistic"}, {"seed": 1}],
    "Refractory": [{"period": 3}, {"neuron": "Synaptic"}],
    "Residual": [{"shortcut": "Flatten"}, {"join": "and"}, {"join": "iand"}],
    "Reshape": [{"shape": [4, 1]}],
    **dict.fromkeys(("SpikingSelfAttention", "SoftmaxAttention"), [{"value": "Leaky"}, {"scale": 0.5}]),
    "SConv2dLSTM": [
        {"kernel_size": 5}, {"kernel_size": [3, 1]}, {"stride": 1}, {"dilation": 1}, {"max_pool": 2}, {"avg_pool": 2},
    ],
    "SGD": [{"nesterov": True, "momentum": 0.5}],
    "StateLeaky": [{"channels": 4}],
    **dict.fromkeys(GROUPS["losses"], LABELS),
    "ce_membrane_loss": [*LABELS, {"over_time": "sum"}],
    "bce_value_loss": [{"weight": [1.0, 2.0]}, {"over_time": "last"}],
    "ce_step_loss": [*LABELS, {"ignore_index": 9}],
    "huber_value_loss": [{"delta": 0.5}, {"over_time": "max"}],
    "mse_value_loss": [{"over_time": "sum"}, {"mean": [1.0, 2.0], "deviation": [0.5, 2.0]}],
    "quantile_value_loss": [{"quantiles": [0.2, 0.8]}, {"over_time": "last"}],
    "ctc_loss": [{"population_code": True, "num_classes": 2}, {"num_classes": 2}, {"blank": 1}],
    **dict.fromkeys(GROUPS["regularisers"], [{"layers": ["1"]}]),
    "spike_similarity_loss": [
        {"kernel": "sigmoid"}, {"kernel": "gaussian", "scale": 2.0}, {"distance": "l1"}, {"distance": "bce"},
        {"normalise": True, "weight": [1.0, 2.0]},
    ],
    "spikemax_loss": [*LABELS, {"mode": "softmax"}],
    "mse_membrane_loss": [*LABELS, {"on_target": 2.0}, {"off_target": -0.5}, {"time_var_targets": True}],
    "mse_temporal_loss": [
        *LABELS, {"on_target": 1}, {"off_target": 1}, {"target_is_time": True}, {"tolerance": 1},
        {"multi_spike": True, "on_target": [0, 1], "off_target": [1, 2]},
    ],
    "FixedPoint": [{"bits": 12}, {"fraction": 4}, {"signed": False}],
    "ScaledInteger": [
        {"bits": 2}, {"per": "channel"}, {"scale": "learned"}, {"scale": 0.25}, {"per": "channel", "scale": [0.5] * 4},
        {"power_of_two": False, "scale": 0.3}, {"narrow": False},
    ],
    "state_quant": [
        {"num_bits": 4}, {"uniform": False}, {"uniform": False, "thr_centered": False}, {"threshold": 0.5},
        {"lower_limit": 0.1}, {"upper_limit": 0.3}, {"uniform": False, "multiplier": 0.5},
    ],
}  # fmt: skip
SINGLE = {  # values by the name of an option, whatever the class
    "a": 0.1, "adaptation": 0.5, "alpha": 0.7, "B": 0.5, "b": 0.1, "b_offset": 0.5, "beta": 0.7, "betas": [0.5, 0.9],
    "clip_norm": 0.5,
    "bias_init": {"kind": "normal", "std": 0.5}, "C": 2.0, "c": -50.0, "constant_factor": 0.5, "cooldown": 1,
    "correct_rate": 0.8, "d": 2.0, "dampening": 0.5, "delta_threshold": 0.2, "depression": 0.5, "dt": 0.25,
    "deviation": 2.0, "each": "step", "end": 0.1,
    "eps": 1e-3, "every": 3, "facilitation": 0.5, "factor": 0.5, "floor": 0.1, "gain": 0.5, "graded_spikes_factor": 0.5,
    "groups": [{"match": "*.bias", "lr": 0.1}, {"match": "*", "weight_decay": 0.1}], "height": 0.1, "high": 0.9,
    "incorrect_rate": 0.2, "inverse": "reciprocal", "Lambda": 0.5, "low": -0.7, "lr": 0.01, "max_rate": 0.5,
    "max_spikes": 2, "mean": 0.1, "mem_mean": 0.1, "min_rate": 0.005, "min_spikes": 2.0,
    "mem_std": 0.5, "min_delta": 0.1, "mode": "min", "momentum": 0.5, "monitor": "loss",
    "moving_window": 2, "omega": 2.0, "p": 0.2, "patience": 2, "peak": 0.2, "phi": 0.5, "R": 5.0, "rate": 0.3,
    "initial_mem": 0.25, "input_noise": 0.1, "threshold_noise": 0.1,
    "recurrent_init": {"kind": "orthogonal", "gain": 0.9}, "reduction": "sum", "reset_mechanism": "zero",
    "rho": 0.5, "scale": 0.5, "shape": 2, "sigma": 0.3, "slope": 10, "spread": 3.0,
    "start": 0.1, "std": 0.5, "threshold": 0.5, "time_step": 0.5, "U": 0.3, "V": 0.5, "value": 0.2, "variance": 0.1,
    "warmup": 1, "weight_decay": 0.1, "weight_init": "kaiming_normal",
    "a0": 0.8, "activation": "tanh", "bias": 0.1, "conduct": 0.4,
    "delta_T": 0.6, "gamma": 0.4, "k": 1.2, "linear_decay": 0.1, "tau": 0.4, "theta_rh": 0.9,
    "v_c": 0.7, "v_reset": -0.2, "v_rest": 0.1, "v_subreset": 0.4,
}  # fmt: skip
SELDOM = "PLIF KLIF GLIF CLIF LIAF QIF EIF AdEx ILIF TernaryLeaky SigmaDelta".split()  # most options: slow tests
REFUSED = [  # what a class has a field for and does not take: a run file says so, too
    ("ALIF", "inhibition", True),
    ("Alpha", "reset_delay", False),
    ("DeltaLeaky", "threshold", 0.5),
    ("PSN", "parallel", False),
    ("ILIF", "surrogate", "sigmoid"),
    ("RLeaky", "parallel", True),
    ("RSynaptic", "parallel", True),
    ("TernaryLeaky", "inhibition", True),
    *(
        (name, key, value)
        for name in ("huber_value_loss", "mse_value_loss", "quantile_value_loss")
        for key, value in (("population_code", True), ("num_classes", 2), ("weight", [1.0, 2.0]), ("normalise", True))
    ),
    *(
        ("bce_value_loss", key, value)
        for key, value in (("population_code", True), ("num_classes", 2), ("normalise", True))
    ),
    ("ctc_loss", "weight", [1.0, 2.0]),
    ("ctc_loss", "normalise", True),
    ("spike_similarity_loss", "population_code", True),
    ("spike_similarity_loss", "num_classes", 2),
]


def values_of(target, field, learned):
    """Values of an option other than its default, from its kind."""
    value = SINGLE.get(field.name)
    if field.name in param_fields(target):
        tables = [{"learn": value}, {"learn": value, "per": "neuron"}, {"learn": value, "per": "channel"}]
        return [value, [value], *(tables if learned else [])]
    if hints_of(target)[field.name] is surrogate.Surrogate:
        return ["sigmoid", {"kind": "fast_sigmoid", "slope": 10}]
    if field.name == "state_quant":
        return [{}, {"num_bits": 4}]
    if hints_of(target)[field.name] is bool:
        return [not field.default]
    return [] if value is None else [value]


def fields(target):
    return [field for field in dataclasses.fields(target) if not field.name.startswith("_")]


def options_of(name, target):
    """Tables of options of a class: none, and each of them."""
    given = GIVEN.get(name, [])
    mine = {key for table in given for key in table} | {option for kind, option, _ in REFUSED if kind == name}
    others = [field for field in fields(target) if field.name not in mine]
    learned = issubclass(target, sc.base.Layer)
    return [{}, *given, *({field.name: value} for field in others for value in values_of(target, field, learned))]


CASES = {
    group: [(name, options) for name, target in classes.items() for options in options_of(name, target)]
    for group, classes in GROUPS.items()
}
