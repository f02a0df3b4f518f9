"""The table of cases. A new neuron, layer or surrogate is one line here; a new word is one in word_cases.py."""

from __future__ import annotations

from typing import Any, NamedTuple, Tuple

import numpy as np

import spikecore as sc
from spikecore import functional, spikegen, surrogate
from spikecore.api.layers.merges import Concatenation
from spikecore.compression import FixedPoint, ScaledInteger


class Case(NamedTuple):
    """A layer and the shape of one sample of its input."""

    name: str
    layer: Any
    shape: Tuple[int, ...] = (5,)
    dead: Tuple[str, ...] = ()  # gradients that are zero by the equations, so that only rounding is left of them

    def __repr__(self):
        return self.name


def ids(cases):
    """Keyword argument of parametrize: cases are named by their first field."""
    return {"ids": [case[0] for case in cases]}


# ---- surrogates ----------------------------------------------------------------------------------------------------

SURROGATES = [
    ("atan", surrogate.atan()),
    ("atan-narrow", surrogate.atan(alpha=5.0)),
    ("fast_sigmoid", surrogate.fast_sigmoid()),
    ("fast_sigmoid-wide", surrogate.fast_sigmoid(slope=2.0)),
    ("sigmoid", surrogate.sigmoid()),
    ("sigmoid-wide", surrogate.sigmoid(slope=3.0)),
    *((name, getattr(surrogate, name)()) for name in (
        "straight_through_estimator", "superspike", "gaussian", "multi_gaussian", "erf", "piecewise_exponential",
        "heaviside", "LSO", "piecewise_quadratic", "rectangular", "triangular", "spike_rate_escape", "SFS")),
    ("superspike-scaled", surrogate.superspike(scale=0.5, slope=3.0)),
    ("SFS-below", surrogate.SFS(slope=5.0, B=-0.35)),
]  # fmt: skip

# ---- neurons -------------------------------------------------------------------------------------------------------

GRADUAL = np.linspace(0.5, 0.95, 5)
FRACTIONS = np.array([0.3, 1.6, 2.5, 3.2, 0.8])  # delays
RESETS = [(reset, delayed) for reset in ("subtract", "zero", "none") for delayed in (True, False)]
EACH = {name: sc.learn(value, per="neuron") for name, value in (("beta", 0.8), ("graded_spikes_factor", 1.5))}
LEARNED = {**EACH, "threshold": sc.learn(0.7)}
LEAKY = [  # their oracle is a loop in reference.py
    *(
        Case(
            f"Leaky-{reset}-{'delayed' if delayed else 'immediate'}",
            sc.Leaky(reset_mechanism=reset, reset_delay=delayed, **LEARNED),
        )
        for reset, delayed in RESETS
    ),
    Case("Leaky", sc.Leaky()),
    Case("Leaky-graded", sc.Leaky(beta=0.7, graded_spikes_factor=2.0)),
    Case("Leaky-constant-arrays", sc.Leaky(beta=GRADUAL, threshold=1.0 - GRADUAL, graded_spikes_factor=GRADUAL)),
    Case("Leaky-learned-array", sc.Leaky(beta=sc.learn(GRADUAL), threshold=sc.learn(GRADUAL[:1]))),
    Case("Leaky-border", sc.Leaky(beta=sc.learn(np.array([0.0, 1.0, 0.5, 0.9, 0.2])), threshold=0.0)),
    Case(
        "Leaky-channels", sc.Leaky(beta=sc.learn(0.9, per="channel"), threshold=sc.learn(0.5, per="channel")), (3, 2, 2)
    ),
    Case("Leaky-channel-array", sc.Leaky(beta=GRADUAL[:3].reshape(3, 1, 1)), (3, 2, 2)),
    *(Case(f"Leaky-{name}", sc.Leaky(beta=sc.learn(0.8), surrogate=one)) for name, one in SURROGATES),
]
FAMILY = [  # every other neuron: engines agree, laws hold, finite differences; snnTorch's golden traces in golden.py
    Case("IF", sc.IF(threshold=sc.learn(1.0))),
    Case("IF-initial", sc.IF(threshold=sc.learn(1.0), initial_mem=sc.learn(0.5, per="neuron"))),
    Case("LI", sc.LI(beta=sc.learn(0.8))),
    Case("LI-parallel", sc.LI(beta=sc.learn(0.8), parallel=True)),
    Case("Leaky-parallel", sc.Leaky(beta=sc.learn_tau(5.0), reset_mechanism="none", parallel=True)),
    Case("Leaky-decayed", sc.Leaky(beta=sc.learn(0.7), threshold=sc.learn(0.6), reset_mechanism="subtract_decayed")),
    Case("Leaky-inhibition", sc.Leaky(threshold=sc.learn(0.4), inhibition=True)),
    Case("Synaptic", sc.Synaptic(alpha=sc.learn(0.5, per="neuron"), beta=sc.learn(0.7), threshold=sc.learn(1.0))),
    Case("Synaptic-immediate", sc.Synaptic(alpha=sc.learn(0.5), beta=0.8, reset_mechanism="zero", reset_delay=False)),
    Case("Synaptic-parallel", sc.Synaptic(alpha=0.5, beta=sc.learn(0.8), reset_mechanism="none", parallel=True)),
    Case("Alpha", sc.Alpha(alpha=sc.learn(0.9), beta=sc.learn(0.8), threshold=sc.learn(0.5))),
    Case("Alpha-subtract", sc.Alpha(alpha=sc.learn(0.9), beta=0.6, threshold=0.5, reset_mechanism="subtract")),
    Case("Lapicque", sc.Lapicque(R=sc.learn(1.2), C=sc.learn(3.0, per="neuron"), threshold=sc.learn(0.3))),
    Case("ALIF", sc.ALIF(beta=sc.learn(0.8), rho=sc.learn(0.9), adaptation=sc.learn(0.5), threshold=0.5)),
    Case("DeltaLeaky", sc.DeltaLeaky(beta=sc.learn(0.8), delta_threshold=sc.learn(0.6))),
    Case("Izhikevich", sc.Izhikevich(a=sc.learn(0.02), b=sc.learn(0.2), d=sc.learn(1.0), threshold=-66.5)),
    Case("ResonateAndFire", sc.ResonateAndFire(beta=sc.learn(0.9), omega=sc.learn(0.7, per="neuron"), threshold=0.4)),
    Case(
        "ResonateAndFire-zero",
        sc.ResonateAndFire(
            beta=sc.learn_tau(8),
            omega=sc.learn(1.2),
            threshold=sc.learn(0.4),
            reset_mechanism="zero",
            reset_delay=False,
        ),
    ),
    Case(
        "BalancedResonateAndFire",
        sc.BalancedResonateAndFire(
            omega=sc.learn(3.0, per="neuron"), b_offset=sc.learn(0.5), rho=sc.learn(0.8), dt=0.2, threshold=0.1
        ),
    ),
    Case(
        "TsodyksMarkram",
        sc.TsodyksMarkram(U=sc.learn(0.4), facilitation=sc.learn_tau(3.0), depression=sc.learn(0.9, per="neuron")),
    ),
    Case("PSN", sc.PSN(num_steps=8, threshold=sc.learn(0.3))),
    Case("MaskedPSN", sc.MaskedPSN(num_steps=8, order=3, threshold=sc.learn(0.2, per="neuron"))),
    Case("MaskedPSN-partly", sc.MaskedPSN(num_steps=8, order=3, mask=0.4, threshold=0.2)),
    Case("SlidingPSN", sc.SlidingPSN(order=3, threshold=sc.learn(0.8), graded_spikes_factor=sc.learn(1.5))),
    Case("StateSpace", sc.StateSpace(modes=3, dt_min=0.1, dt_max=0.5, threshold=sc.learn(0.2))),
    Case("RLeaky", sc.RLeaky(beta=sc.learn(0.7), linear_features=5)),
    Case("RLeaky-one-to-one", sc.RLeaky(beta=0.7, all_to_all=False, V=sc.learn(0.3, per="neuron"))),
    Case("RLeaky-maps", sc.RLeaky(conv2d_channels=2, kernel_size=3, threshold=0.5), (2, 3, 3)),
    Case("RSynaptic", sc.RSynaptic(alpha=sc.learn(0.5), beta=0.7, linear_features=5, reset_mechanism="zero")),
    Case("Recurrent", sc.Recurrent(sc.ALIF(threshold=0.5), sc.OneToOne())),
    Case("Recurrent-delays", sc.Recurrent(sc.Leaky(beta=sc.learn(0.7), threshold=0.4), sc.DelayedLinear(5, 5, 3))),
    Case("Recurrent-own-delay", sc.Recurrent(sc.Synaptic(alpha=0.5, beta=0.7, threshold=0.4), sc.Delay(FRACTIONS))),
    Case("Recurrent-maps", sc.Recurrent(sc.Leaky(threshold=0.5), sc.DelayedConv2d(2, 2, 3, 2, padding=1)), (2, 3, 3)),
    Case("Refractory", sc.Refractory(sc.Leaky(beta=sc.learn(0.9), threshold=0.3), period=2)),
    Case("Noisy", sc.Noisy(sc.Leaky(beta=sc.learn(0.8), threshold=0.5), sc.learn(0.3, per="neuron"), sc.learn(0.2))),
    Case("Noisy-inside", sc.Recurrent(sc.Noisy(sc.Synaptic(threshold=0.5), 0.2, 0.1, "logistic"), sc.OneToOne())),
    Case("SLSTM", sc.SLSTM(input_size=5, hidden_size=4, threshold=sc.learn(0.1), reset_mechanism="subtract")),
    Case("SpikingGRU", sc.SpikingGRU(input_size=5, hidden_size=4, graded_spikes_factor=sc.learn(1.5))),
    Case("SConv2dLSTM", sc.SConv2dLSTM(in_channels=2, out_channels=2, max_pool=2, threshold=0.1), (2, 4, 4)),
    Case("StateLeaky", sc.StateLeaky(beta=sc.learn(0.8, per="channel"), threshold=0.5)),
    Case("StateLeaky-tau", sc.StateLeaky(beta=sc.learn_tau(4.0, per="neuron"), threshold=0.5)),
    Case("LinearLeaky", sc.LinearLeaky(beta=sc.learn(0.8), in_features=5, out_features=4, threshold=0.3)),
    Case("LeakyParallel", sc.LeakyParallel(input_size=5, hidden_size=4, beta=sc.learn(0.7), threshold=0.3)),
    Case("LeakyParallel-tau", sc.LeakyParallel(input_size=5, hidden_size=4, beta=sc.learn_tau(3.0), threshold=0.3)),
    Case("LeakyParallel-dense", sc.LeakyParallel(input_size=5, hidden_size=4, dense=True, threshold=0.3)),
    Case("AssociativeLeaky", sc.AssociativeLeaky(in_dim=5, d_value=2, d_key=2, threshold=0.1)),
    Case("PLIF", sc.PLIF(beta=sc.learn(0.75), threshold=sc.learn(0.4))),
    Case("KLIF", sc.KLIF(beta=sc.learn(0.7), k=sc.learn(1.3, per="neuron"), threshold=0.4)),
    Case("GLIF", sc.GLIF(threshold=sc.learn(0.4), tau=sc.learn(0.6, per="neuron"), time_steps=5)),
    Case("CLIF", sc.CLIF(beta=sc.learn(0.6), threshold=sc.learn(0.7))),
    Case("LIAF", sc.LIAF(beta=sc.learn(0.8), threshold=sc.learn(0.6), activation="sigmoid")),
    Case("QIF", sc.QIF(beta=sc.learn(0.4), v_c=sc.learn(0.5), v_reset=sc.learn(-0.2), threshold=0.6)),
    Case("EIF", sc.EIF(beta=sc.learn(0.4), delta_T=sc.learn(0.7), theta_rh=sc.learn(0.9))),
    Case("AdEx", sc.AdEx(beta=sc.learn(0.4), rho=sc.learn(0.8), a=sc.learn(0.2), b=sc.learn(0.3), threshold=0.8)),
    Case("ILIF", sc.ILIF(beta=sc.learn(0.6), threshold=sc.learn(0.3), max_spikes=3)),
    Case(
        "TernaryLeaky", sc.TernaryLeaky(beta=sc.learn(0.7), threshold=sc.learn(0.8), graded_spikes_factor=sc.learn(2))
    ),
    Case(
        "QuantizedNeuron",
        sc.QuantizedNeuron(
            sc.Synaptic(alpha=sc.learn(0.5, per="neuron"), beta=sc.learn(0.7), state_quant=FixedPoint(8, 4)),
            ScaledInteger(6),
        ),
    ),
    Case("QuantizedNeuron-states", sc.QuantizedNeuron(sc.LI(beta=sc.learn(0.8)), None, FixedPoint(7, 3))),
    Case("SigmaDelta", sc.SigmaDelta(threshold=sc.learn(0.8), bias=sc.learn(0.1, per="neuron"), activation="tanh")),
]
VARIANTS = [  # other options of these, against NumPy and finite differences alone
    Case("PLIF-channels", sc.PLIF(beta=sc.learn(0.6, per="channel"), decay_input=False, reset_delay=True), (3, 2, 2)),
    Case("KLIF-subtract", sc.KLIF(beta=0.7, decay_input=False, reset_mechanism="subtract", reset_delay=True)),
    Case("GLIF-one", sc.GLIF(threshold=sc.learn(0.4), graded_spikes_factor=sc.learn(1.5))),
    Case("GLIF-channels", sc.GLIF(alpha=0.9, gamma=0.0, conduct=sc.learn(0.7, per="channel"), time_steps=5), (3, 2, 2)),
    Case("LIAF-membrane", sc.LIAF(beta=sc.learn(0.8), activation="leaky_relu", threshold_related=False)),
    Case("QIF-delayed", sc.QIF(beta=0.4, a0=sc.learn(0.8), reset_delay=True)),
    Case("EIF-none", sc.EIF(beta=0.8, v_rest=sc.learn(0.1), reset_mechanism="none", threshold=sc.learn(1.2))),
    Case("AdEx-delayed", sc.AdEx(beta=0.4, b=sc.learn(0.3), v_reset=sc.learn(-0.3), reset_delay=True, threshold=0.8)),
    Case(
        "ILIF-delayed", sc.ILIF(beta=sc.learn(0.6), threshold=0.4, reset_delay=True, graded_spikes_factor=sc.learn(0.2))
    ),
    Case("TernaryLeaky-delayed", sc.TernaryLeaky(beta=sc.learn(0.7), threshold=0.6, reset_delay=True)),
    Case("TernaryLeaky-subtract", sc.TernaryLeaky(beta=0.7, threshold=sc.learn(0.6), reset_mechanism="subtract")),
    Case("SigmaDelta-input", sc.SigmaDelta(threshold=0.6, decode=False, activation="identity")),
    Case("SigmaDelta-output", sc.SigmaDelta(bias=sc.learn(0.1), encode=False)),
]
NEURONS = [*LEAKY, *FAMILY]
NOISE = [case for case in FAMILY if "draw_1" in case.layer.state]
WHOLE = [case for case in FAMILY if not case.layer.by_steps]  # these need all steps of a sequence at once

# ---- layers and networks -------------------------------------------------------------------------------------------

CONV = sc.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
LAYERS = [
    Case("Linear", sc.Linear(5, 3)),
    Case("Linear-no-bias", sc.Linear(5, 3, bias=False)),
    Case("Conv2d", sc.Conv2d(2, 3, 3), (2, 5, 4)),
    Case("Conv2d-all-options", CONV, (4, 6, 7)),
    Case("Conv2d-no-bias", sc.Conv2d(2, 2, 1, bias=False), (2, 3, 3)),
    Case("MaxPool2d", sc.MaxPool2d(2), (2, 4, 5)),
    Case("MaxPool2d-overlapping", sc.MaxPool2d((3, 2), stride=(2, 1), padding=1), (2, 5, 4)),
    Case("AvgPool2d", sc.AvgPool2d(2), (2, 4, 5)),
    Case("AvgPool2d-overlapping", sc.AvgPool2d((3, 2), stride=(2, 1), padding=1), (2, 5, 4)),
    Case("Conv1d", sc.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2), (2, 9)),
    Case("MaxPool1d", sc.MaxPool1d(3, stride=2, padding=1), (2, 7)),
    Case("AvgPool1d", sc.AvgPool1d(3, stride=2, padding=1), (2, 7)),
    Case("Flatten", sc.Flatten(), (2, 3, 2)),
    Case("GradedSpikes", sc.GradedSpikes(3), (3, 2)),
    Case("GradedSpikes-constant", sc.GradedSpikes(3, constant_factor=1.5), (3,)),
    Case("OneToOne", sc.OneToOne(V=sc.learn(0.7, per="neuron"))),
    Case("Dropout", sc.Dropout(0.4), (6,)),
    Case("DropConnect", sc.DropConnect(sc.Linear(5, 3), 0.4)),
    Case("WeightStandardized", sc.WeightStandardized(sc.Conv1d(2, 3, 2), eps=0.1), (2, 4)),
    Case("WeightStandardized-2d", sc.WeightStandardized(sc.Conv2d(4, 2, 2, groups=2), gain=False), (4, 3, 3)),
    Case("WeightStandardized-3d", sc.WeightStandardized(sc.Conv3d(1, 2, (1, 2, 2), bias=False)), (1, 2, 2, 3)),
    Case("BatchNorm1d", sc.BatchNorm1d(5)),
    Case("BatchNorm1d-plain", sc.BatchNorm1d(5, affine=False, momentum=0.3)),
    Case("Standardize", sc.Standardize(5)),
    Case("Standardize-maps", sc.Standardize(3), (3, 2, 2)),
    Case("BatchNorm1d-length", sc.BatchNorm1d(3), (3, 4)),
    Case("BatchNorm2d", sc.BatchNorm2d(3), (3, 2, 4)),
    Case("BatchNormTT1d", sc.BatchNormTT1d(5, time_steps=8)),
    Case("BatchNormTT2d", sc.BatchNormTT2d(3, time_steps=8), (3, 2, 4)),
    Case("LayerNorm", sc.LayerNorm((3, 4)), (2, 3, 4)),
    Case("LayerNorm-plain", sc.LayerNorm(5, affine=False)),
    Case("Conv3d", sc.Conv3d(2, 2, (1, 2, 2), stride=(2, 1, 1), padding=(0, 1, 0)), (2, 2, 3, 3)),
    Case("MaxPool3d", sc.MaxPool3d(2, stride=(1, 2, 1)), (1, 3, 4, 2)),
    Case("AvgPool3d", sc.AvgPool3d(2, stride=1, padding=(1, 0, 1)), (1, 2, 3, 2)),
    Case("ConvTranspose1d", sc.ConvTranspose1d(4, 2, 3, 3, 1, 2, 2, dilation=2), (4, 3)),
    Case("ConvTranspose1d-dilated", sc.ConvTranspose1d(2, 3, 2, 2, 1, 4, bias=False, dilation=5), (2, 3)),
    Case("ConvTranspose2d", sc.ConvTranspose2d(2, 3, (2, 3), stride=2, output_padding=(1, 0)), (2, 2, 3)),
    Case("ConvTranspose3d", sc.ConvTranspose3d(2, 1, (1, 2, 2), stride=(2, 1, 1), padding=(0, 1, 0)), (2, 2, 2, 3)),
    Case("AdaptiveAvgPool1d", sc.AdaptiveAvgPool1d(3), (2, 7)),
    Case("AdaptiveAvgPool1d-larger", sc.AdaptiveAvgPool1d(3), (2, 1)),
    Case("AdaptiveAvgPool2d", sc.AdaptiveAvgPool2d((4, 2)), (2, 6, 4)),
    Case("AdaptiveMaxPool1d", sc.AdaptiveMaxPool1d(3), (2, 4)),
    Case("AdaptiveMaxPool2d", sc.AdaptiveMaxPool2d((2, 3)), (2, 5, 6)),
    Case("GlobalAvgPool", sc.GlobalAvgPool(), (3, 2, 4)),
    Case("Upsample", sc.Upsample(scale_factor=(1, 3)), (2, 2, 3)),
    Case("Upsample-size", sc.Upsample(size=(5, 2)), (2, 3, 4)),
    Case("Upsample-linear", sc.Upsample(size=5, mode="linear"), (2, 3)),
    Case("Upsample-bilinear", sc.Upsample(scale_factor=2, mode="bilinear"), (2, 2, 3)),
    Case("Upsample-corners", sc.Upsample(size=(5, 1), mode="bilinear", align_corners=True), (2, 3, 3)),
    Case("Upsample-trilinear", sc.Upsample(size=(3, 2, 3), mode="trilinear"), (1, 2, 3, 2)),
    Case("ZeroPad1d", sc.ZeroPad1d((2, 1)), (2, 3)),
    Case("ZeroPad2d", sc.ZeroPad2d((1, 0, 2, 3)), (2, 2, 3)),
    Case("Identity", sc.Identity(), (2, 3)),
    Case("BatchNorm3d", sc.BatchNorm3d(2), (2, 2, 1, 3)),
    Case("GroupNorm", sc.GroupNorm(2, 4), (4, 2, 3)),
    Case("GroupNorm-plain", sc.GroupNorm(2, 6, eps=1e-3, affine=False), (6,)),
    Case("InstanceNorm1d", sc.InstanceNorm1d(3, affine=True), (3, 4)),
    Case("InstanceNorm2d", sc.InstanceNorm2d(3), (3, 2, 2)),
    Case("ThresholdDependentBatchNorm1d", sc.ThresholdDependentBatchNorm1d(5, threshold=0.5)),
    Case("ThresholdDependentBatchNorm2d", sc.ThresholdDependentBatchNorm2d(2, alpha=0.7), (2, 2, 3)),
    Case("TemporalEffectiveBatchNorm1d", sc.TemporalEffectiveBatchNorm1d(5, time_steps=8)),
    Case("TemporalEffectiveBatchNorm2d", sc.TemporalEffectiveBatchNorm2d(2, 8, affine=False), (2, 2, 3)),
    Case("Reshape", sc.Reshape((3, -1)), (2, 3, 2)),
    Case("Permute", sc.Permute((2, 0, 1)), (2, 3, 4)),
    Case("HeadSum", sc.HeadSum(2), (4, 3)),
    Case("HeadSum-maps", sc.HeadSum(3), (6, 2, 3)),
    Case("PositionSum", sc.PositionSum(), (3, 2, 4)),
    Case(
        "Quantized",
        sc.Quantized(
            sc.Linear(5, 3),
            ScaledInteger(4),
            ScaledInteger(5),
            FixedPoint(6, 3),
        ),
    ),
    Case("Quantized-ternary", sc.Quantized(sc.Linear(5, 3), ScaledInteger(2, power_of_two=False))),
    Case(
        "Quantized-learned",
        sc.Quantized(sc.Linear(5, 3), ScaledInteger(3, scale="learned", power_of_two=False)),
    ),
    Case(
        "Quantized-channels",
        sc.Quantized(sc.Conv2d(2, 4, 2, groups=2), ScaledInteger(3, "channel", "learned", narrow=False)),
        (2, 3, 3),
    ),
    Case(
        "Quantized-transposed",
        sc.Quantized(
            sc.ConvTranspose1d(2, 3, 2),
            ScaledInteger(3, "channel", (0.25, 0.5, 0.125)),
            FixedPoint(4, 2),
            output_quant=FixedPoint(5, 3),
        ),
        (2, 4),
    ),
    Case("Quantized-graded", sc.Quantized(sc.GradedSpikes(3), ScaledInteger(4, scale=0.25)), (3, 2)),
]
DELAYS = [  # layers with a state; their oracle is in test_delays.py
    Case("Delay", sc.Delay(2)),
    Case("Delay-fractions", sc.Delay(FRACTIONS)),
    Case("Delay-learned", sc.Delay(sc.learn(FRACTIONS), max_delay=4)),
    Case("Delay-channels", sc.Delay(sc.learn(1.7, per="channel"), max_delay=3), (3, 2, 1)),
    Case("Delay-gaussian", sc.Delay(sc.learn(1.4), max_delay=3, kernel="gaussian", sigma=0.8)),
    Case("DelayedLinear", sc.DelayedLinear(5, 3, 4)),
    Case("DelayedLinear-longer-than-the-sequence", sc.DelayedLinear(5, 3, 11, bias=False)),
    Case("DelayedLinear-gaussian", sc.DelayedLinear(5, 3, 4, kernel="gaussian", sigma=1.2)),
    Case("DelayedConv1d", sc.DelayedConv1d(4, 2, 2, 3, stride=2, padding=1, dilation=2, groups=2), (4, 5)),
    Case("DelayedConv2d", sc.DelayedConv2d(2, 3, (2, 1), 2, padding=(1, 0), kernel="gaussian", sigma=0.8), (2, 2, 3)),
    Case("DelayedLinear-annealed", sc.DelayedLinear(5, 3, 4, kernel="gaussian", sigma_start=3.0, anneal=4)),
]
DENSE = sc.Sequential(sc.Linear(5, 4), sc.Leaky(beta=sc.learn(0.8)), sc.Linear(4, 3), sc.Leaky(threshold=sc.learn(0.5)))
GRAPH = sc.Graph(
    ("near", "far", "both", "lif", "out"),
    (sc.Linear(5, 4), sc.Linear(5, 3), Concatenation(), sc.Leaky(threshold=0.3), sc.Linear(7, 3)),
    (("input",), ("input",), ("near", "far"), ("both",), ("both", "lif")),
    ("out", "far"),
)
SPIKES = sc.Sequential(sc.Conv1d(4, 4, 1), sc.Leaky(threshold=0.3))
NETWORKS = [
    Case("dense", DENSE),
    Case("nested", sc.Sequential(sc.Sequential(sc.Linear(5, 4), sc.Leaky()), sc.Leaky(beta=0.5))),
    Case("residual", sc.Sequential(sc.Linear(5, 4), sc.Residual(sc.Sequential(sc.Linear(4, 4), sc.Leaky())))),
    Case("concat", sc.Concat(sc.Sequential(sc.Linear(5, 3), sc.Leaky(threshold=0.3)), sc.Linear(5, 2), axis=0)),
    Case("residual-shortcut", sc.Residual(sc.Sequential(sc.Linear(5, 3), sc.Leaky(threshold=0.3)), sc.Linear(5, 3))),
    Case("residual-and", sc.Residual(sc.Sequential(sc.Linear(5, 3), sc.Leaky(threshold=0.3)), sc.Linear(5, 3), "and")),
    Case("residual-iand", sc.Residual(sc.Sequential(sc.Linear(5, 5), sc.Leaky(threshold=0.3)), join="iand")),
    Case("add", sc.Add(sc.Linear(5, 3), sc.Sequential(sc.Linear(5, 3), sc.Leaky(threshold=0.3)), sc.Linear(5, 3))),
    Case("multiply", sc.Multiply(sc.Linear(5, 3), sc.Sequential(sc.Linear(5, 3), sc.Leaky(threshold=0.3)))),
    Case("graph", GRAPH),
    Case("convolutional", sc.Sequential(sc.Conv2d(1, 2, 3), sc.Leaky(threshold=0.3), sc.MaxPool2d(2), sc.Flatten(),
                                        sc.Linear(8, 3), sc.Leaky(threshold=0.2)), (1, 6, 6)),
    Case("attention", sc.Sequential(sc.SpikingSelfAttention(*[SPIKES] * 3, 2), sc.Leaky(threshold=0.1)), (4, 3)),
    Case("attention-softmax", sc.SoftmaxAttention(sc.Conv1d(4, 4, 1), SPIKES, sc.Conv1d(4, 2, 1), 2), (4, 3)),
    Case("attention-gate", sc.HeadGate(sc.Sequential(SPIKES, sc.HeadSum(2), sc.Leaky(threshold=0.9)), SPIKES), (4, 3)),
    Case("delays", sc.Sequential(sc.Delay(sc.learn(FRACTIONS), max_delay=4), sc.DelayedLinear(5, 4, 3),
                                 sc.Leaky(threshold=0.2), sc.DelayedLinear(4, 3, 2, kernel="gaussian"))),
    Case("count-pool", sc.Sequential(sc.Conv2d(1, 2, 3), sc.IF(threshold=0.3), sc.CountMaxPool2d(2)), (1, 6, 6)),
]  # fmt: skip
TRAINED_ONLY = [  # these draw or keep statistics, so they do not run step by step
    Case(
        "normalised",
        sc.Sequential(sc.Linear(5, 4), sc.BatchNorm1d(4), sc.Leaky(), sc.Dropout(0.3), sc.Linear(4, 3)),
        dead=("params.0.bias",),
    ),
]

# ---- losses, optimisers, encoders ----------------------------------------------------------------------------------

WEIGHT = np.array([0.2, 0.3, 0.5])
LOSSES = [
    *(
        (name, getattr(functional, name)())
        for name in ("ce_rate_loss", "ce_count_loss", "mse_count_loss", "mse_membrane_loss")
    ),
    ("ce_rate_loss-weight", functional.ce_rate_loss(weight=WEIGHT)),
    ("ce_count_loss-normalised", functional.ce_count_loss(weight=WEIGHT, normalise=True)),
    ("mse_count_loss-rates", functional.mse_count_loss(correct_rate=0.75, incorrect_rate=0.25, reduction="sum")),
    ("mse_membrane_loss-targets", functional.mse_membrane_loss(on_target=1.2, off_target=-0.3, weight=WEIGHT)),
    ("ce_membrane_loss", functional.ce_membrane_loss()),
    ("ce_membrane_loss-sum", functional.ce_membrane_loss(over_time="sum", weight=WEIGHT)),
    ("ce_max_membrane_loss", functional.ce_max_membrane_loss(weight=WEIGHT)),
    ("l1_rate_sparsity", functional.ce_count_loss() + functional.l1_rate_sparsity(1e-2)),
    ("sum", functional.ce_rate_loss() + 0.1 * functional.mse_membrane_loss()),
]
OPTIMIZERS = [
    ("SGD", sc.SGD(lr=0.1)),
    ("SGD-decay", sc.SGD(lr=0.1, weight_decay=0.05)),
    ("SGD-momentum", sc.SGD(lr=0.1, momentum=0.9, weight_decay=0.01)),
    ("SGD-dampening", sc.SGD(lr=0.1, momentum=0.8, dampening=0.3)),
    ("SGD-nesterov", sc.SGD(lr=0.1, momentum=0.9, nesterov=True)),
    ("Adam", sc.Adam(lr=0.05)),
    ("Adam-decay", sc.Adam(lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
    ("AdamW", sc.AdamW(lr=0.05, weight_decay=0.1)),
    ("RMSprop", sc.RMSprop(lr=0.02, alpha=0.9)),
    ("RMSprop-momentum", sc.RMSprop(lr=0.02, momentum=0.8, weight_decay=0.05, eps=1e-3)),
]


def wide(x, axis):
    """An array with one more axis, by a word of its engine."""
    return sc.base.engine_of(x).xp.expand_dims(x, axis=axis)


ENCODERS = [
    (
        "rate",
        lambda x, first=0: spikegen.rate(x, 7, gain=0.8, offset=0.1, first_spike_time=2, seed=(3, "x"), first=first),
    ),
    ("rate-varying", lambda x, first=0: spikegen.rate(wide(x, 0), time_var_input=True, seed=3, first=first)),
    ("latency", lambda x, first=0: spikegen.latency(x, 9, normalize=True, clip=True)),
    ("latency-linear", lambda x, first=0: spikegen.latency(x, 9, tau=5, linear=True, on_target=2.0, off_target=-1.0)),
    ("constant", lambda x, first=0: spikegen.constant(x, 4)),
    ("rate_conv", lambda x, first=0: wide(spikegen.rate_conv(x, seed=4, first=first), 0)),
    ("poisson", lambda x, first=0: spikegen.poisson(x, 20, refractory=2, seed=5, first=first)),
    ("poisson-compensated", lambda x, first=0: spikegen.poisson(x, 20, 3, compensate=True, seed=6, first=first)),
    ("burst", lambda x, first=0: spikegen.burst(x, 20, max_spikes=4, shortest=2)),
    ("phase", lambda x, first=0: spikegen.phase(x, 9, period=6)),
    ("phase-weighted", lambda x, first=0: spikegen.phase(x, 9, period=6, weighted=True)),
    ("delta", lambda x, first=0: spikegen.delta(spikegen.rate(x, 7, seed=7, first=first), off_spike=True)),
    ("level_crossing", lambda x, first=0: spikegen.level_crossing(spikegen.constant(x, 6), 0.125, start=0.0)),
    (
        "threshold_crossing",
        lambda x, first=0: spikegen.threshold_crossing(x * spikegen.rate(x, 6, seed=8, first=first), 3)[..., 1::3],
    ),
    (
        "on_off",
        lambda x, first=0: spikegen.on_off(spikegen.delta(spikegen.rate(x, 6, seed=9, first=first), off_spike=True))[
            ..., 2:6
        ],
    ),
    ("receptive_fields", lambda x, first=0: spikegen.population(wide(x, -1), 9, neurons=6)[..., 2]),
]
