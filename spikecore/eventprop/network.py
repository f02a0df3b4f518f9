"""Networks of spiking neurons in continuous time: what they are, their parameters, and one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from spikecore.arguments import ArrayLike, Checked, Count, Size, argument_kind, checked, is_array, shown
from spikecore.eventprop import layer_kernel
from spikecore.eventprop.layer_run import LayerRun
from spikecore.eventprop.membrane import flow, peak
from spikecore.eventprop.spikes import Spikes
from spikecore.printing import Concise

Arrays = Dict[str, np.ndarray]
DRIVE = 2.0  # how many thresholds all inputs of a neuron reach if they arrive at once, at first


def _positive(owner: str, name: str, value: float) -> None:
    if not 0.0 < value < np.inf:
        raise ValueError(f"{owner}: {name}={value!r} must be a finite number > 0")


@dataclass(frozen=True)
class Layer(Concise, Checked):
    """Leaky integrate-and-fire neurons with exponential synapses, and a weight from each input to each neuron.

        tau_syn dI/dt = -I,   I <- I + w_j when input j spikes
        tau_mem dV/dt = I - V,   V <- 0 when it reaches the threshold: the neuron fires; I stays

    Times are in any unit, the same everywhere: below it is 1 ms.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        tau_mem: time constant of the membrane, > 0; default 20.
        tau_syn: time constant of the synaptic current, > 0; default 5. It may equal tau_mem.
        threshold: > 0; default 1. None: the neurons do not fire, and a loss reads their membranes.
        delay: time from a spike of an input to its arrival, >= 0, as a first value: there is one delay for each input,
            which can be learned. None, the default: no delays.
        mean: mean of the first weights; None, the default: such that all inputs at once reach 2 thresholds.
        std: standard deviation of the first weights, >= 0; None, the default: half of the mean's size.

    Raises:
        ValueError: an argument is out of range.
    """

    in_features: Size
    out_features: Size
    tau_mem: float = 20.0
    tau_syn: float = 5.0
    threshold: Optional[float] = 1.0
    delay: Optional[float] = None
    mean: Optional[float] = None
    std: Optional[float] = None

    def __post_init__(self) -> None:
        for name in ("tau_mem", "tau_syn", "threshold"):
            if getattr(self, name) is not None:
                _positive("eventprop.Layer", name, getattr(self, name))
        for name in ("delay", "std"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < np.inf:
                raise ValueError(f"eventprop.Layer: {name}={value!r} must be a finite number >= 0, or None")
        if self.mean is not None and not np.isfinite(self.mean):
            raise ValueError(f"eventprop.Layer: mean={self.mean!r} must be a finite number, or None")

    def first_params(self, generator: np.random.Generator) -> Arrays:
        """Parameters to begin with; the weights are normally distributed."""
        one = np.ones(1)
        at = peak(0.0 * one, one, self.tau_mem, self.tau_syn)
        response = float(flow(at, self.tau_mem, self.tau_syn).gain[0])  # the highest membrane after one spike
        mean = DRIVE * (self.threshold or 1.0) / (response * self.in_features) if self.mean is None else self.mean
        std = abs(mean) / 2.0 if self.std is None else self.std
        params = {
            "weight": generator.normal(mean, std, (self.out_features, self.in_features)),
            "tau_mem": np.array(float(self.tau_mem)),
            "tau_syn": np.array(float(self.tau_syn)),
        }
        if self.threshold is not None:
            params["threshold"] = np.array(float(self.threshold))
        if self.delay is not None:
            params["delay"] = np.full(self.in_features, float(self.delay))
        return params

    def shapes(self) -> Dict[str, Any]:
        """Shapes that each parameter may have."""
        each = ((), (self.out_features,))
        found: Dict[str, Any] = {"weight": ((self.out_features, self.in_features),), "tau_mem": each, "tau_syn": each}
        if self.threshold is not None:
            found["threshold"] = each
        if self.delay is not None:
            found["delay"] = ((self.in_features,),)
        return found


class Run(NamedTuple):
    """The simulation of a batch.

    Attributes:
        spikes: the spikes of each layer, the last one's at the end.
        times: (batch, neurons), the first spikes of the last layer; inf: none.
        maxima: (batch, neurons), the highest membranes of a last layer without threshold; of others zeros.
        means: (batch, neurons), the means over time of these membranes; of others zeros.
        records: what the derivative needs, one record per layer.
    """

    spikes: List[Spikes]
    times: np.ndarray
    maxima: np.ndarray
    means: np.ndarray
    records: List[LayerRun]


@dataclass(frozen=True)
class Network(Concise, Checked):
    """Layers one after the other, from rest at time 0 to ``duration``, without steps of time.

    Args:
        layers: ``eventprop.Layer`` objects; each has as many inputs as the one before has neurons.
        duration: when the simulation ends, > 0, in the unit of the time constants.
        fused: whether layers run in compiled kernels, to the same numbers up to rounding; None, the default: large ones
            do if Numba is installed.

    Example:
        >>> network = sc.eventprop.Network([sc.eventprop.Layer(5, 100), sc.eventprop.Layer(100, 3)], duration=60.0)

    Raises:
        ValueError: there are no layers, two do not fit together, one but the last has no threshold, or ``duration`` is
            out of range.
        TypeError: an entry is no ``Layer``.
    """

    layers: Sequence[Layer]
    duration: float
    fused: Optional[bool] = None

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (list, tuple)) or not all(isinstance(layer, Layer) for layer in self.layers):
            raise TypeError(f"eventprop.Network: layers={self.layers!r} must be a list of eventprop.Layer objects")
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("eventprop.Network: layers must not be empty")
        _positive("eventprop.Network", "duration", self.duration)
        for number, (one, following) in enumerate(zip(self.layers, self.layers[1:])):
            if one.out_features != following.in_features:
                raise ValueError(
                    f"eventprop.Network: layers[{number}] has {one.out_features} neurons and layers[{number + 1}] "
                    f"{following.in_features} inputs; they must be as many"
                )
            if one.threshold is None:
                raise ValueError(
                    f"eventprop.Network: layers[{number}] has threshold=None, which is for the last layer: the "
                    "next one would never receive a spike"
                )

    @checked
    def init(self, seed: Count = 0) -> Arrays:
        """First parameters by name, such as "0.weight", "0.tau_mem", "1.threshold".

        Time constants and thresholds are single numbers; arrays with one entry per neuron may take their places.
        """
        generator = np.random.default_rng(seed)
        layers = enumerate(self.layers)
        return {
            f"{number}.{name}": value
            for number, layer in layers
            for name, value in layer.first_params(generator).items()
        }

    def layer_params(self, params: Mapping[str, ArrayLike]) -> List[Arrays]:
        """The parameters of each layer by their short names.

        Raises:
            ValueError: one is missing, unknown, of another shape, not finite, or out of range.
            TypeError: one holds no real numbers.
        """
        if not isinstance(params, Mapping):
            raise TypeError(f"eventprop: params={params!r} must be arrays by name, as network.init() gives them")
        shapes = {f"{n}.{name}": each for n, layer in enumerate(self.layers) for name, each in layer.shapes().items()}
        if set(params) != set(shapes):
            missing, extra = sorted(set(shapes) - set(params)), sorted(map(str, set(params) - set(shapes)))
            raise ValueError(f"eventprop: params must be {', '.join(shapes)}; missing: {missing}, unknown: {extra}")
        layers: List[Arrays] = [{} for _ in self.layers]
        for name, allowed in shapes.items():
            if not is_array(params[name]):
                raise TypeError(
                    f"eventprop: params[{name!r}]={shown(params[name])} must be an array of real numbers; of a tensor "
                    "that requires a gradient give tensor.detach()"
                )
            value = np.asarray(params[name], dtype=np.float64)
            number, short = name.split(".")
            if value.shape not in allowed:
                raise ValueError(
                    f"eventprop: params[{name!r}] of shape {value.shape} must be {' or '.join(map(str, allowed))}"
                )
            lowest = value.min() if short != "weight" else 1.0
            if not np.isfinite(value).all() or lowest < 0.0 or (short != "delay" and lowest == 0.0):
                bound = {"weight": "finite", "delay": "finite and >= 0"}.get(short, "finite and > 0")
                raise ValueError(f"eventprop: params[{name!r}] must be {bound}, and has {value.min()}")
            layers[int(number)][short] = value
        return layers

    def spikes_of(self, inputs: Union[Spikes, ArrayLike]) -> Spikes:
        """The input as ``Spikes``.

        Raises:
            ValueError: a time is negative, or a source is no input of the first layer.
        """
        spikes = inputs if isinstance(inputs, Spikes) else Spikes.of(inputs)
        width = self.layers[0].in_features
        if spikes.sources.size and spikes.sources.max() >= width:
            raise ValueError(
                f"eventprop: inputs have a source {spikes.sources.max()}, and the network inputs 0 to {width - 1}"
            )
        if not isinstance(inputs, Spikes) and spikes.times.shape[1] != width:
            raise ValueError(f"eventprop: inputs of shape {spikes.times.shape} must be times (batch, {width})")
        if (spikes.times < 0.0).any():
            raise ValueError(f"eventprop: inputs have a time {spikes.times.min()}; the simulation begins at 0")
        return spikes

    def run(self, params: Mapping[str, ArrayLike], inputs: Union[Spikes, ArrayLike]) -> Run:
        """Simulate the network from event to event, without steps of time.

        Args:
            params: arrays by name, as ``init`` gives them.
            inputs: ``eventprop.Spikes``; or times (batch, inputs), one spike for each input, inf for none.

        Raises:
            ValueError: a parameter or an input has another shape or is out of range, or a layer fires more than 50,000
                times in one sample.
            RuntimeError: ``fused`` is true, and Numba is not installed.
        """
        return self.simulate(self.layer_params(params), self.spikes_of(inputs))

    def simulate(self, layers: Sequence[Arrays], spikes: Spikes) -> Run:
        """``run``, without checks; ``layers``: what ``layer_params`` returns."""
        records = []
        for layer, own in zip(self.layers, layers):
            records.append(layer_kernel.run(own, spikes, self.duration, layer.threshold is not None, self.fused))
            spikes = records[-1].spikes
        times, _ = spikes.first(self.layers[-1].out_features)
        last = records[-1]
        return Run([record.spikes for record in records], times, last.maxima, last.integrals / self.duration, records)

    def for_many(self, samples: int) -> Network:
        """The network as it runs so many samples: in kernels, if these are worth their compilation."""
        connections = sum(layer.in_features * layer.out_features for layer in self.layers)
        return self if self.fused is not None else replace(self, fused=layer_kernel.pays(connections, samples))


argument_kind(Network, "a spikecore.eventprop.Network")
