"""Learning by local rules: spike-timing-dependent plasticity, homeostasis; see docs/plasticity.md.

model.fit(images, learning=sc.plasticity.Plasticity({"0": sc.plasticity.PowerLawSTDP()}), num_steps=100)
"""

from __future__ import annotations

from spikecore.api.learning.homeostasis import AdaptiveThreshold, Bounds, InhibitorySTDP, Normalize, SynapticScaling
from spikecore.api.learning.local_rule import LocalRule, Product, Signals, Trace
from spikecore.api.learning.plastic_network import Plasticity
from spikecore.api.learning.plasticity import STDP, RewardSTDP
from spikecore.api.learning.plasticity_rules import PowerLawSTDP, TripletSTDP, VoltageSTDP
from spikecore.api.learning.rewards import ClassReward
from spikecore.api.learning.votes import neuron_labels, neuron_shares, vote, weighted_vote
from spikecore.api.training.voting import Votes, votes_of

__all__ = [
    "STDP",
    "AdaptiveThreshold",
    "Bounds",
    "ClassReward",
    "InhibitorySTDP",
    "LocalRule",
    "Normalize",
    "Plasticity",
    "PowerLawSTDP",
    "Product",
    "RewardSTDP",
    "Signals",
    "SynapticScaling",
    "Trace",
    "TripletSTDP",
    "VoltageSTDP",
    "Votes",
    "neuron_labels",
    "neuron_shares",
    "vote",
    "votes_of",
    "weighted_vote",
]
