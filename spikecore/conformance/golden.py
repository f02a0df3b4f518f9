"""Numbers that snnTorch 1.0 computed, to the digits in which they were printed (float32)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import spikecore as sc
from spikecore import surrogate

CURRENT = [0.6, 0.6, 0.6, 0.3, 1.2, 0.0, 2.5, 0.0, 0.0, 0.4]


class GoldenRow(NamedTuple):
    """A neuron's spikes and membranes, and the gradient of sum(S + M / 2) by the input."""

    name: str
    layer: Any
    spikes: str
    mem: Any
    grad: Any
    agreeing: int = 10  # steps up to which spikecore gives the same


def _row(name, layer, spikes, mem, grad, agreeing=10):
    return GoldenRow(name, layer, spikes, np.array(mem.split(), float), np.array(grad.split(), float), agreeing)


NEURONS = [
    _row("Leaky subtract", sc.Leaky(beta=0.8),
         "0100101100", "0.6 1.08 0.464 0.6712 1.737 0.3896 2.8117 1.2493 -0.0005 0.3996",
         "4.1035 4.0197 3.2239 3.0789 2.6189 2.4521 2.1729 2.0537 1.1674 0.7194"),
    _row("Leaky subtract immediate", sc.Leaky(beta=0.8, reset_delay=False),
         "0100101000", "0.6 0.08 0.664 0.8312 0.865 0.692 2.0536 1.6429 1.3143 1.4514",
         "1.1976 1.0284 1.2215 1.1505 1.482 1.309 1.4238 1.1675 1.0006 0.6259", agreeing=7),
    _row("Leaky zero", sc.Leaky(beta=0.8, reset_mechanism="zero"),
         "0100101000", "0.6 1.08 0.6 0.78 1.824 0 2.5 0 0 0.4",
         "2.0402 1.4406 2.2322 1.6806 0.6298 1.0265 0.5431 1.5262 1.1677 0.7196"),
    _row("Leaky zero immediate", sc.Leaky(beta=0.8, reset_mechanism="zero", reset_delay=False),
         "0100101000", "0.6 0 0.6 0.78 0 0 0 0 0 0.4",
         "0.3818 -0.6346 1.3133 0.8828 -0.0795 0.4801 -0.1399 1.4981 1.1326 0.6757"),
    _row("Leaky none", sc.Leaky(beta=0.8, reset_mechanism="none"),
         "0111111111", "0.6 1.08 1.464 1.4712 2.377 1.9016 4.0213 3.217 2.5736 2.4589",
         "3.8139 3.6577 2.7714 2.4393 2.0324 1.8521 1.5516 1.3007 0.9757 0.5454"),
    _row("Leaky none immediate", sc.Leaky(beta=0.8, reset_mechanism="none", reset_delay=False),
         "0111111111", "0.6 1.08 1.464 1.4712 2.377 1.9016 4.0213 3.217 2.5736 2.4589",
         "3.8139 3.6577 2.7714 2.4393 2.0324 1.8521 1.5516 1.3007 0.9757 0.5454"),
    _row("Synaptic subtract", sc.Synaptic(alpha=0.5, beta=0.8, reset_mechanism="subtract"),
         "0110111111", "0.6 1.38 1.154 0.7482 2.2111 1.5751 3.1632 2.9821 2.1115 1.4521",
         "7.4021 6.8961 6.1263 4.9512 4.0516 3.5772 2.9086 2.3462 1.6567 0.8314"),
    _row("Synaptic zero", sc.Synaptic(alpha=0.5, beta=0.8, reset_mechanism="zero"),
         "0100101001", "0.6 1.38 0 0.825 2.2725 0 2.9031 0 0.7258 1.3435",
         "2.3404 1.4456 1.0665 2.133 0.836 0.5542 1.1084 1.1623 2.3246 0.962"),
    _row("Synaptic none", sc.Synaptic(alpha=0.5, beta=0.8, reset_mechanism="none"),
         "0111111111", "0.6 1.38 2.154 2.5482 3.6511 3.7271 5.8848 6.1594 5.6533 5.2855",
         "5.3817 4.7058 4.0588 3.7074 3.3291 2.9022 2.395 1.8119 1.1618 0.5055"),
    _row("Synaptic subtract immediate", sc.Synaptic(alpha=0.5, beta=0.8, reset_delay=False),
         "0111111110", "0.6 0.38 0.354 0.1082 0.6991 0.3655 2.1955 2.208 1.4922 1.9566",
         "2.5718 2.5115 2.4825 2.5653 2.9769 2.8481 2.7775 2.2858 1.7018 0.9909", agreeing=9),
    _row("Synaptic zero immediate", sc.Synaptic(alpha=0.5, beta=0.8, reset_mechanism="zero", reset_delay=False),
         "0110101101", "0.6 0 0 0.825 0 0.8063 0 0 0.7258 0",
         "1.1276 0.3933 0.2668 1.114 0.3891 0.9945 0.118 0.2362 1.0123 0.1516"),
    _row("RLeaky subtract", sc.RLeaky(beta=0.8, V=0.3, all_to_all=False, reset_mechanism="subtract"),
         "0100101101", "0.6 1.08 0.764 0.9112 1.929 0.8432 3.1745 1.8396 0.7717 1.0174",
         "9.1386 9.0044 6.9894 5.8819 4.1305 4.2397 2.8184 2.8493 2.6545 1.497"),
    _row("RLeaky zero", sc.RLeaky(beta=0.8, V=0.3, all_to_all=False, reset_mechanism="zero"),
         "0100101000", "0.6 1.08 0 0.3 1.44 0 2.5 0 0 0.4",
         "2.2078 1.4406 0 1.3896 0.8436 0 0.5431 0 1.1876 0.7196"),
    _row("RLeaky none", sc.RLeaky(beta=0.8, V=0.3, all_to_all=False, reset_mechanism="none"),
         "0111111111", "0.6 1.08 1.764 2.0112 3.109 2.7872 5.0297 4.3238 3.759 3.7072",
         "4.6853 4.1444 2.4985 2.1917 1.9365 1.7531 1.5105 1.2525 0.9261 0.5136"),
    _row("RSynaptic subtract", sc.RSynaptic(alpha=0.5, beta=0.8, V=0.3, all_to_all=False, reset_mechanism="subtract"),
         "0111111111", "0.6 1.38 1.454 1.4382 2.2881 2.1992 4.2437 4.4372 3.8708 3.4572",
         "9.1169 7.485 5.9299 4.6745 3.5967 3.0482 2.4405 1.8461 1.1855 0.5165"),
    _row("RSynaptic zero", sc.RSynaptic(alpha=0.5, beta=0.8, V=0.3, all_to_all=False, reset_mechanism="zero"),
         "0100101001", "0.6 1.38 0 0.975 2.4675 0 3.0719 0 0.918 1.5934",
         "2.8113 1.727 1.3062 2.6124 0.8472 0.5887 1.1774 1.2909 2.5818 0.7235"),
    _row("RSynaptic none", sc.RSynaptic(alpha=0.5, beta=0.8, V=0.3, all_to_all=False, reset_mechanism="none"),
         "0111111111", "0.6 1.38 2.454 3.2382 4.7281 5.1512 7.6053 8.1265 7.8223 7.6184",
         "6.671 5.2338 4.0736 3.6954 3.317 2.8909 2.3865 1.8039 1.1555 0.5023"),
    _row("Lapicque subtract", sc.Lapicque(R=1, C=5, threshold=0.3, reset_mechanism="subtract"),
         "0000101000", "0.12 0.216 0.2928 0.2942 0.4754 0.0803 0.5643 0.1514 0.1211 0.1769",
         "1.1993 1.1847 1.1221 1.0278 0.9098 0.8205 0.7313 0.6412 0.4712 0.274"),
    _row("Lapicque zero", sc.Lapicque(R=1, C=5, threshold=0.3, reset_mechanism="zero"),
         "0000101000", "0.12 0.216 0.2928 0.2942 0.4754 0 0.5 0 0 0.08",
         "0.9304 0.8486 0.702 0.5027 0.2534 0 0.2434 0 0.3942 0.2353"),
    _row("Lapicque none", sc.Lapicque(R=1, C=5, threshold=0.3, reset_mechanism="none"),
         "0000111111", "0.12 0.216 0.2928 0.2942 0.4754 0.3803 0.8043 0.6434 0.5147 0.4918",
         "1.1793 1.1597 1.0909 0.9887 0.861 0.7594 0.5892 0.5403 0.4348 0.2467"),
    _row("Alpha subtract", sc.Alpha(alpha=0.9, beta=0.8, threshold=0.8, reset_mechanism="subtract"),
         "0000010111", "0 0.1137 0.3069 0.5536 0.7769 1.1496 -0.5067 6.7479 6.0731 4.1017",
         "3.361 2.9996 2.5925 2.1641 1.805 1.6495 2.3335 0.3732 0.8682 0"),
    _row("Alpha zero", sc.Alpha(alpha=0.9, beta=0.8, threshold=0.8, reset_mechanism="zero"),
         "0000010000", "0 0.1137 0.3069 0.5536 0.7769 1.1496 0 0 0 0",
         "2.0194 1.5726 1.0865 0.5902 0.1806 0 0 0.3257 0.1206 0"),
    _row("Alpha none", sc.Alpha(alpha=0.9, beta=0.8, threshold=0.8, reset_mechanism="none"),
         "0000011111", "0 0.1137 0.3069 0.5536 0.7769 1.1496 1.3949 2.0172 2.425 2.6701",
         "3.1956 2.7562 2.2475 1.6875 1.1589 0.7859 0.4969 0.2718 0.1001 0"),
    _row("Leaky fast_sigmoid", sc.Leaky(beta=0.8, surrogate=surrogate.fast_sigmoid()),
         "0100101100", "0.6 1.08 0.464 0.6712 1.737 0.3896 2.8117 1.2493 -0.0005 0.3996",
         "2.3451 2.296 2.1061 2.0016 1.8623 1.6995 1.4947 1.2428 0.9046 0.5039"),
    _row("Leaky straight-through", sc.Leaky(beta=0.8, surrogate=surrogate.straight_through_estimator()),
         "0100101100", "0.6 1.08 0.464 0.6712 1.737 0.3896 2.8117 1.2493 -0.0005 0.3996",
         "6.6947 6.4934 6.2417 5.9271 5.5339 5.0424 4.428 3.66 2.7 1.5"),
    _row("Leaky heaviside", sc.Leaky(beta=0.8, surrogate=surrogate.heaviside()),
         "0100101100", "0.6 1.08 0.464 0.6712 1.737 0.3896 2.8117 1.2493 -0.0005 0.3996",
         "3.913 4.2663 3.4578 3.6973 3.9966 3.1208 3.276 2.22 0.9 0.5"),
    _row("Leaky graded", sc.Leaky(beta=0.8, graded_spikes_factor=2.0),
         "0200202200", "0.6 1.08 0.464 0.6712 1.737 0.3896 2.8117 1.2493 -0.0005 0.3996",
         "5.9754 5.8749 4.3671 4.1821 3.3932 3.2234 2.8698 2.8874 1.4348 0.9388"),
]  # fmt: skip

# Losses of SPIKES or MEMBRANE with LABELS: value, and the sum of |gradient|.
SPIKES = np.array(
    [[[1, 0, 0], [0, 1, 1]], [[0, 1, 0], [0, 0, 1]], [[1, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 1, 0]]], float
)
MEMBRANE = np.linspace(-1.0, 1.3, 24).reshape(4, 2, 3)
LABELS = np.array([0, 2])
WEIGHT = np.array([0.2, 0.3, 0.5])
LOSSES = [  # name, options, value, sum of |gradient| or None
    ("ce_rate_loss", {}, 0.947478, 1.16745),
    ("ce_rate_loss", {"reduction": "none"}, [0.879082, 1.01587], None),
    ("ce_rate_loss", {"reduction": "sum"}, 1.89496, None),
    ("ce_rate_loss", {"weight": WEIGHT}, 0.341877, None),
    ("ce_count_loss", {}, 0.499084, 2.97881),
    ("ce_count_loss", {"weight": WEIGHT}, 0.21361, None),
    ("mse_count_loss", {}, 0.458333, 2.33333),
    ("mse_count_loss", {"correct_rate": 0.75, "incorrect_rate": 0.25}, 0.125, 1.0),
    ("mse_membrane_loss", {}, 0.735, 1.41667),
    ("ce_max_membrane_loss", {}, 1.10194, 1.33223),
    ("mse_temporal_loss", {"on_target": 1, "off_target": 3}, 0.166667, 0.166667),
    ("mse_temporal_loss", {"on_target": 1, "off_target": 3, "tolerance": 2}, 0.135417, 0.104167),
    ("ce_temporal_loss", {}, 0.562671, 0.846903),
    ("ce_temporal_loss", {"inverse": "reciprocal"}, 0.828284, 0.819334),
]
POPULATION = np.concatenate([SPIKES, 1.0 - SPIKES], axis=2)  # six neurons for three classes
POPULATION_LOSSES = [
    ("ce_count_loss", {}, 2.14293),
    ("mse_count_loss", {"correct_rate": 0.75, "incorrect_rate": 0.25}, 1.66667),
]
