"""Time against rate: layers that multiply spikes, and how long they take where few neurons fire and where many do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks import data, rates
from benchmarks.differentiate import backward_run, layer_call, leaf, with_weights
from benchmarks.peers import snntorch, spikingjelly
from benchmarks.plan import Group, Run, Settings, Side, Workload
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import flatten, map_leaves

TEXT = """\
Forward and backward, T=25, batch 128, at rates from 0.5 to 30 %. "Linear" is a `Linear` of 1000 inputs and 1000
outputs; its input is spikes that are data and have no gradient. In "Leaky, Linear" a neuron makes these spikes, from a
current that has a gradient. "two layers" is a Linear and a Leaky, twice. "Conv2d" has 5×5 kernels, from 12 maps of
12×12 to 64 maps, and its input is data, too. Spikes are drawn with the given rate; currents and weights are such that
a neuron fires where it is told to, so that its rate is about the same. The neuron is `Leaky(reset_mechanism="zero")`
with β = 15/16, which all sides have. "torch engine" is the default: it looks at the spikes and multiplies them as
lists where that is faster. "dense products" is the torch engine with the same kernels for neurons, whose products are
all dense. "torch" is one call of `linear` or `conv2d` for all steps and samples; so are the products of the peers. The
parity of a workload that ends with a product covers its outputs, by max|a − b| ÷ max|b|, as for gradients."""

BETA = 0.9375  # 1 - 1/16: v - v/16 and 0.9375 v round alike
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
KICK, DRIFT = 1.25, 1 / 16  # a current that makes a neuron fire; those that alone never do
Call = Callable[[Any], Any]
Leaves = Dict[str, Any]


@dataclass(frozen=True)
class Network:
    """The network of one side: ``make`` gives it as a function of the input, and its leaves; else see ``Side``."""

    make: Callable[[], Tuple[Call, Leaves]]
    peer: Optional[str] = None
    engine: Optional[str] = None


class Drawn(NamedTuple):
    """Input, weights by name, and gradient of the result."""

    x: np.ndarray
    weights: Dict[str, np.ndarray]
    upstream: np.ndarray


class Task:
    """Layers, data and weights.

    Args:
        settings: device and sizes.
        kinds: "Linear", "Leaky" or "Conv2d" for each layer.
        rate: of the input, or of a neuron that comes first.
        steps: number of time steps.
        width: inputs and outputs of a Linear.
    """

    def __init__(
        self, settings: Settings, kinds: Tuple[str, ...], rate: float, steps: int = 25, width: int = 1000
    ) -> None:
        self.device, self.kinds, self.rate = settings.device, kinds, rate
        self.width, maps = settings.size((width, (12, 12, 12)), (24, (2, 6, 6)))
        self.channels = maps[0], settings.size(64, 3)
        self.current = kinds[0] == "Leaky"
        time_batch = settings.size(steps, 4), settings.samples(128, 4)
        shapes = (maps, (self.channels[1], maps[1] - 4, maps[2] - 4)) if kinds[0] == "Conv2d" else ((self.width,),) * 2
        self.in_shape, self.out_shape = ((*time_batch, *shape) for shape in shapes)

    @cached_property
    def drawn(self) -> Drawn:
        """Data and weights, drawn when they are needed: most processes need those of one group of many."""
        draw = data.rng()
        x = (draw.random(self.in_shape) < self.rate).astype("float32")
        if self.current:
            x = KICK * x + data.grid(draw, self.in_shape, 0.0, DRIFT, 8)
        weights = {}
        for number, kind in enumerate(self.kinds):
            if kind != "Leaky":
                weights.update({f"{number}.{part}": values for part, values in self._affine(draw, kind).items()})
        return Drawn(x, weights, draw.random(self.out_shape, dtype="float32"))

    def _affine(self, draw: Any, kind: str) -> Dict[str, np.ndarray]:
        if kind == "Conv2d":
            return data.affine(draw, (self.channels[1], self.channels[0], 5, 5))
        made = data.affine(draw, (self.width, self.width), gain=0.25)
        if self.kinds[-1] == "Leaky":  # every input makes one neuron fire, so that rates stay what they are
            made["weight"] += 1.25 * np.eye(self.width, dtype="float32")
            made["bias"] += np.float32(2.0**-13)  # so that no membrane is 1 exactly, where SpikingJelly's neuron fires
        return made

    @property
    def places(self) -> int:
        """Number of neurons, times steps and samples: those of layers that spike, else the places of the input."""
        return math.prod(self.in_shape) * max(1, self.kinds.count("Leaky"))

    def network(self) -> Any:
        """The layers of this library."""
        made = {
            "Linear": lambda: sc.Linear(self.width, self.width),
            "Conv2d": lambda: sc.Conv2d(*self.channels, 5),
            "Leaky": lambda: sc.Leaky(beta=BETA, reset_mechanism="zero"),
        }
        return sc.Sequential(*(made[kind]() for kind in self.kinds))

    def rates(self) -> rates.Rates:
        """The rates of the input and of the layers; that of the last layer is the output's."""
        inner = rates.of_layers(sc.get_engine("torch", fused=False), self.network(), self.drawn.weights, self.drawn.x)
        inner.pop(f"layer {len(self.kinds) - 1}", None)
        return inner if self.current else {"input": rates.rate(self.drawn.x), **inner}

    def ours(self, engine: Callable[[], Any]) -> Tuple[Call, Leaves]:
        """The network on an engine, as a function of the input, and its leaves by name."""
        network = self.network()
        init = network.init(Key((0,)), self.in_shape[2:])
        params = map_leaves(lambda a: leaf(np.asarray(a), self.device), with_weights(init, self.drawn.weights))
        return layer_call(network, engine(), params), {
            n: p for n, p in flatten(params).items() if n in self.drawn.weights
        }

    def torch(self, neuron: Optional[Callable[[], Call]] = None) -> Tuple[Call, Leaves]:
        """The same of torch's products and of a peer's neurons, which ``neuron`` makes."""
        from torch.nn import functional

        leaves = {name: leaf(values, self.device) for name, values in self.drawn.weights.items()}

        def product(function: Any, number: int) -> Call:
            weight, bias = leaves[f"{number}.weight"], leaves[f"{number}.bias"]
            return lambda x: function(x.flatten(0, 1), weight, bias).unflatten(0, x.shape[:2])

        functions = {"Linear": functional.linear, "Conv2d": functional.conv2d}
        layers: List[Any] = []
        for number, kind in enumerate(self.kinds):
            layers.append(product(functions[kind], number) if kind in functions or neuron is None else neuron())

        def call(x: Any) -> Any:
            for layer in layers:
                x = layer(x)
            return x

        return call, leaves

    def networks(self) -> Dict[str, Network]:
        """What makes the network of each side, by its name."""
        device = self.device
        own: Dict[str, Network] = {
            "torch engine": Network(partial(self.ours, lambda: sc.get_engine("torch", device=device)), engine="torch"),
            "torch engine, dense products": Network(partial(self.ours, lambda: _dense(device)), engine="torch"),
        }
        if "Leaky" not in self.kinds:
            return {**own, "torch": Network(self.torch)}
        return {
            **own,
            "snnTorch": Network(partial(self.torch, lambda: snntorch_leaky(device)), peer="snntorch"),
            "SpikingJelly m": Network(partial(self.torch, spikingjelly_lif), peer="spikingjelly"),
        }

    def run(self, make: Callable[[], Tuple[Call, Leaves]]) -> Run:
        """A run of forward and backward of a network."""
        import torch

        call, leaves = make()
        x = torch.tensor(self.drawn.x, device=self.device, requires_grad=self.current)
        upstream = torch.as_tensor(self.drawn.upstream, device=self.device)
        leaves = {**leaves, "input": x} if self.current else leaves
        return backward_run(lambda: call(x), upstream, leaves, "spikes" if self.kinds[-1] == "Leaky" else "output")

    def reference(self) -> Run:
        """A run of our ``step`` and of dense products under autograd."""
        return self.run(partial(self.ours, lambda: sc.get_engine("torch", device=self.device, fused=False)))

    def group(self, title: str) -> Group:
        """All sides."""
        sides = tuple(
            Side(name, partial(self.run, one.make), peer=one.peer, engine=one.engine)
            for name, one in self.networks().items()
        )
        return Group(title, sides, self.reference, rounds=7, warmup=1, rates=self.rates)


def _dense(device: str) -> Any:
    from benchmarks.dense import DenseProducts

    return DenseProducts(device)


def snntorch_leaky(device: str) -> Call:
    """The neuron in snnTorch."""
    neuron = snntorch.neuron("Leaky", beta=BETA, reset_mechanism="zero").to(device)
    return snntorch.unrolled(neuron)


def spikingjelly_lif() -> Call:
    """The neuron in SpikingJelly."""
    return partial(spikingjelly.afresh, spikingjelly.lif(BETA))


KINDS = {
    "Linear": ("Linear",),
    "Leaky, Linear": ("Leaky", "Linear"),
    "two layers": ("Linear", "Leaky", "Linear", "Leaky"),
    "Conv2d": ("Conv2d",),
}


def groups(settings: Settings) -> Iterable[Group]:
    """A group for every kind and every rate."""
    for title, kinds in KINDS.items():
        for rate in settings.size(RATES, (0.1, 0.3)):
            yield Task(settings, kinds, rate).group(f"{title}, {100.0 * rate:g} %")


WORKLOAD = Workload("rates", "Time against rate", TEXT, groups)
