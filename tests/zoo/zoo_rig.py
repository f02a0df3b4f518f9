"""Every architecture of the zoo, as narrow as it gets: what the tests of the zoo run."""

from __future__ import annotations

import spikecore as sc
from spikecore import zoo

LIVELY = sc.IF(threshold=0.2, reset_mechanism="zero")  # untrained, with few channels, the papers' neurons fall silent
CLASSES, MAP = 3, (2, 8, 8)
RESIDUAL = {"num_classes": CLASSES, "in_channels": 2, "width": 2, "stem": "cifar", "neuron": LIVELY}
FAINT = sc.IF(threshold=1e-4, reset_mechanism="zero")  # transformers begin with weights that are far smaller
WITH_ATTENTION = {"neuron": FAINT, "attention_neuron": FAINT}
NARROW = {  # by the card's name, with a variant behind a dash: the network, and the shape of a sample
    "dense_snn": (zoo.dense_snn(6, 5, CLASSES, neuron=sc.Leaky(threshold=0.2)), (6,)),
    "conv_snn": (zoo.conv_snn(CLASSES, width=3, size=16, neuron=sc.Leaky(beta=0.5, threshold=0.1)), (1, 16, 16)),
    "plif_net": (
        zoo.plif_net(CLASSES, width=2, size=8, hidden=6, votes=2, dropout=0.0, neuron=sc.PLIF(threshold=0.1)),
        (1, 8, 8),
    ),
    "spiking_vgg11": (
        zoo.spiking_vgg11(CLASSES, 1, width=1, size=32, hidden=6, dropout=0.0, neuron=sc.IF(threshold=0.01)),
        (1, 32, 32),
    ),
    "spiking_vgg16": (
        zoo.spiking_vgg16(CLASSES, 1, width=1, size=32, hidden=6, dropout=0.0, neuron=sc.IF(threshold=0.01)),
        (1, 32, 32),
    ),
    **{f"sew_resnet18-{join}": (zoo.sew_resnet18(join=join, **RESIDUAL), MAP) for join in ("add", "and", "iand")},
    "sew_resnet34": (zoo.sew_resnet34(**RESIDUAL), MAP),
    "sew_resnet50": (zoo.sew_resnet50(**RESIDUAL), MAP),
    "spiking_resnet18": (zoo.spiking_resnet18(**RESIDUAL), MAP),
    "spikformer": (zoo.spikformer(1, 16, 2, CLASSES, 2, 4, **WITH_ATTENTION), MAP),
    "qkformer": (zoo.qkformer((1, 1, 1), 16, (1, 2, 4), CLASSES, 2, **WITH_ATTENTION), (2, 16, 16)),
    "spike_driven_transformer": (zoo.spike_driven_transformer(1, 16, CLASSES, 2, 4, **WITH_ATTENTION), MAP),
    "delay_snn": (zoo.delay_snn(6, (5, 4), CLASSES, 2, 0.0, neuron=sc.Leaky(beta=0.5, threshold=0.2)), (6,)),
    "ms_resnet18": (zoo.ms_resnet18(**RESIDUAL), MAP),
}
