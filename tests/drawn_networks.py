"""Networks whose layers, neurons and options are drawn, with sums that are exact in whatever order they are added."""

from __future__ import annotations

import math

import numpy as np

import spikecore as sc
from spikecore.api.core.layer import shapes_of
from tests.kernels.stream_rig import exact


class Drawing:
    """What a seed draws.

    Args:
        seed: a number for each network.
    """

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def of(self, *things):
        return things[self.random.integers(len(things))]

    def between(self, low, high):
        return int(self.random.integers(low, high + 1))

    def neuron(self):
        """A neuron that gives spikes and whose step is elementwise."""
        beta, threshold = round(float(self.random.uniform(0.3, 0.98)), 3), self.of(0.5, 0.7, 1.0)
        common = {"threshold": threshold, "reset_mechanism": self.of("subtract", "zero", "none")}
        kinds = [
            lambda: sc.Leaky(beta=beta, **common, reset_delay=self.of(True, False)),
            lambda: sc.Leaky(beta=beta, threshold=threshold, reset_mechanism="subtract_decayed"),
            lambda: sc.Leaky(beta=sc.learn(beta, per="neuron"), threshold=sc.learn(threshold)),
            lambda: sc.IF(**common),
            lambda: sc.Lapicque(R=2.0, C=1.5, time_step=0.5, **common),
            lambda: sc.PLIF(beta=beta, **common),
            lambda: sc.Synaptic(alpha=0.6, beta=beta, **common),
            lambda: sc.Alpha(alpha=0.85, beta=0.6, **common),
            lambda: sc.ALIF(beta=beta, rho=0.9, adaptation=0.4),
            lambda: sc.Refractory(sc.Leaky(beta=beta, threshold=threshold), period=self.between(1, 3)),
            lambda: sc.DeltaLeaky(beta=beta, delta_threshold=0.2),
            lambda: sc.TernaryLeaky(beta=beta, threshold=threshold),
        ]
        return self.of(*kinds)()

    def recurrent(self, features):
        return self.of(
            lambda: sc.RLeaky(beta=0.7, linear_features=features),
            lambda: sc.RSynaptic(alpha=0.6, beta=0.8, linear_features=features),
            lambda: sc.RLeaky(beta=0.7, all_to_all=False, V=0.5),
            lambda: sc.Recurrent(self.neuron(), sc.Linear(features, features)),
        )()

    def dense(self):
        """A network of dense layers, and the shape of a sample."""
        shape = features = self.between(3, 40)
        layers = []
        for _ in range(self.between(1, 3)):
            wide = self.between(2, 40)
            layers += [sc.Linear(features, wide, bias=self.of(True, False))]
            layers += self.of([], [sc.BatchNorm1d(wide)], [sc.Dropout(0.2)])
            layers += [self.of(self.neuron, self.neuron, lambda n=wide: self.recurrent(n))()]
            features = wide
        if self.between(0, 1):
            body = sc.Sequential(sc.Linear(features, features), self.neuron())
            layers += [sc.Residual(body, join=self.of("add", "and", "iand"))]
        if self.between(0, 1):
            layers += [sc.Linear(features, 5), self.of(sc.LI(beta=0.8), sc.LI(beta=0.5))]
        return sc.Sequential(*layers), (shape,)

    def maps(self):
        """A convolutional network, and the shape of a sample."""
        axes, channels = self.between(1, 2), self.between(1, 3)
        shape = (channels, *(self.between(7, 11) for _ in range(axes)))

        def pick(name):
            return getattr(sc, f"{name}{axes}d")

        layers = []
        for _ in range(self.between(1, 2)):
            groups = self.of(1, channels)
            filters = groups * self.between(1, 3)
            options = {"stride": self.between(1, 2), "padding": self.between(0, 2), "dilation": self.between(1, 2)}
            layers += [pick("Conv")(channels, filters, self.between(1, 3), groups=groups, **options)]
            layers += self.of([], [pick("BatchNorm")(filters)])
            layers += [self.neuron()]
            channels = filters
            if min(shapes_of(sc.Sequential(*layers), shape).shape[1:]) < 5:
                break  # a second kernel might not fit
        small = min(shapes_of(sc.Sequential(*layers), shape).shape[1:]) < 4
        layers += [] if small else [pick(self.of("AvgPool", "MaxPool"))(2, stride=self.between(1, 2))]
        layers += self.of([], [pick("ConvTranspose")(channels, 2, 2, stride=self.between(1, 2)), self.neuron()])
        body = sc.Sequential(*layers, sc.Flatten())
        return sc.Sequential(*body.layers, sc.Linear(math.prod(shapes_of(body, shape).shape), 6), self.neuron()), shape


def drawn_model(seed):
    """A model on the NumPy engine."""
    drawing = Drawing(seed)
    network, shape = drawing.maps() if seed % 3 == 0 else drawing.dense()
    return exact(sc.Model(network, sc.get_engine("numpy", fused=False), seed=seed, input_shape=shape), scale=8.0)
