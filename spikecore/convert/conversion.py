"""``convert``: a trained network of torch as a spiking network."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Literal, Optional, Tuple, Union, get_args

import numpy as np
import torch
from torch import nn

from spikecore import Model
from spikecore.api.core.engines import EngineName
from spikecore.api.core.sizes import sample_shape
from spikecore.arguments import Size, Sizes, checked, unknown
from spikecore.base import Engine
from spikecore.convert.batches import batches_of, placed
from spikecore.convert.building import Built, build, folded
from spikecore.convert.errors import ConversionError
from spikecore.convert.graph import OperationGraph
from spikecore.convert.reading import check_module, graph_of, observe, read_network
from spikecore.convert.report import ConversionReport, report
from spikecore.convert.thresholds import METHODS, Histogram, LeastError, Method, MethodName, Percentile, per_channel
from spikecore.engines.torch.nn.reading import Reading
from spikecore.printing import columns, table
from spikecore.surrogate import Surrogate, atan

Per = Literal["layer", "channel"]


@dataclass(frozen=True)
class ConvertedLayer:
    """An activation of the ANN and the neurons that it has become.

    Args:
        place: the activation, e.g. "layer features.3 (ReLU)".
        layer: dotted name of the neurons in the model, e.g. "2.body.1".
        threshold: the activation at which they fire at every step, (channels,), or (1,) if all
            have the same.
        clipped: share of the positive activations in the data that is larger; 0 if the threshold was not found by data.
        node: name of the activation in ``Conversion.ann``.
    """

    place: str
    layer: str
    threshold: Any
    clipped: float
    node: str


@dataclass(frozen=True)
class Conversion:
    """A converted network.

    Args:
        model: the spiking network, a ``Model``. The mean over time of its outputs approximates the ANN's output.
        layers: its neurons, in order.
        ann: the network that was converted as its calls, in evaluation mode; a module.
    """

    model: Model
    layers: Tuple[ConvertedLayer, ...]
    ann: Reading = field(repr=False)

    def _rows(self) -> Any:
        for one in self.layers:
            yield one.layer, one.place, spread(one.threshold), f"{100 * one.clipped:.2g} %"

    def __repr__(self) -> str:
        return columns([_HEAD, *self._rows()], left=2)

    def _repr_html_(self) -> str:
        return table("Converted network", list(self._rows()), _HEAD)

    @checked
    def report(self, data: Iterable[Any], num_steps: Size = 64) -> ConversionReport:
        """Compare the model with the ANN after 1, 2, 4, ... ``num_steps`` time steps.

        Args:
            data: batches (inputs, labels); all count for the accuracy, the first one for the errors of the layers. For
                batches of inputs alone, there is no accuracy.
            num_steps: the largest number of time steps; default 64.

        Returns:
            ``ConversionReport``: prints as a table; ``plot()`` draws accuracy and errors.

        Raises:
            ConversionError: there is no batch, the data are no batches, labels are not one class for each sample, or
                the ANN fails on a batch.
            ShapeError: a batch has other samples than the data of the conversion.
        """
        return report(self, data, num_steps)


_HEAD = ("neurons", "of", "threshold", "clipped")


def spread(values: Any) -> str:
    """The values of all channels as text."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


@checked
def convert(
    ann: nn.Module,
    data: Optional[Iterable[Any]] = None,
    method: Union[MethodName, Percentile, LeastError] = "percentile",
    *,
    per: Per = "channel",
    charge: float = 0.5,
    surrogate: Optional[Surrogate] = None,
    input_shape: Optional[Sizes] = None,
    engine: Union[EngineName, Engine] = "torch",
    seed: int = 0,
    **options: Any,
) -> Conversion:
    """Convert a trained network of torch to a spiking network of integrate-and-fire neurons, by their rates.

        U[t] = U[t-1] + (W x[t] + b) / theta,   a spike lowers U by 1,   U[0] = charge        theta: the threshold
        rate over T steps = clip(floor(T a / theta + 1/2), 0, T) / T    for charge 1/2 and a constant current a

    The input is a current that is constant in time: ``snn.model(x, num_steps=32)`` for the ANN's x. Outputs are those
    of the ANN's last layer at every step; their mean over time approximates its output, and ``predict``, ``evaluate``
    and ``fit`` with the losses of spikes read their sum.

    Dense connections and convolutions keep their weights, except for factors: the threshold of the neurons before them,
    divided by that of those behind. Batch norms become a part of them. Average pooling is kept; max pooling is that of
    the spike counts, ``sc.CountMaxPool2d``. Dropout is left out; sums and ``torch.cat`` of channels become ``Residual``
    and ``Concat``. A module that is called twice becomes two layers.

    Args:
        ann: the network; its ``forward`` must not depend on values. It stays as it is and counts as in evaluation mode.
        data: batches of inputs, or (inputs, labels), to find thresholds by: a torch ``DataLoader``, a ``Loader``, an
            array, a pair of arrays. All batches are used; some hundred samples suffice: ``itertools.islice(loader,
            10)``. None, the default, if all activations are ``QCFS``, which bring their thresholds; with data, these
            are upper limits.
        method: how to find a layer's threshold: "max", its largest activation; "percentile" (the default), what 99.9 %
            of its positive activations do not exceed, or ``Percentile(99)``; "mse", where the squared error of its
            activations after 16 steps is smallest, or ``LeastError(num_steps=8)``.
        per: whether each "channel" of a map has a threshold of its own (the default), or all of a "layer" have the
            same, as dense layers always do.
        charge: membrane before the first step as a share of the threshold, in [0, 1); default 1/2, which rounds to the
            nearest rate. 0 rounds down.
        surrogate: the neurons' surrogate, for training after the conversion; None, the default: ``surrogate.atan()``.
        input_shape: shape of one sample; only needed without ``data``.
        engine, seed, options: as in ``spikecore.Model``. The dtype, and on the torch engine the device, are the ANN's.

    Returns:
        ``Conversion``: ``model``, ``layers``, ``report(data)``.

    Raises:
        ConversionError: a layer or a call cannot be converted (the message names it and the remedy), the activations of
            a layer are all zero, weights or data are not finite, or the data are no batches of inputs.
        ValueError: an option is out of range.

    Sources: Diehl et al., Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing,
    IJCNN 2015; Rueckauer et al., Conversion of continuous-valued deep networks to efficient event-driven networks for
    image classification, 2017 (percentiles, reset by subtraction, batch norm); Kim et al., Spiking-YOLO, AAAI 2020
    (thresholds per channel); Li et al., A free lunch from ANN, ICML 2021 ("mse"); Bu et al., ICLR 2022 (the charge).

    Examples:
        >>> snn = convert(ann, train_loader)
        >>> snn.model(x, num_steps=32).spikes.mean(0)     # about ann(x)
    """
    finder: Any = METHODS.get(method, method) if isinstance(method, str) else method
    for name, word, known in (("method", finder, METHODS), ("per", per, get_args(Per))):
        if isinstance(word, str) and word not in known:
            raise ValueError(f"convert: {unknown(name, word, known)}")
    if not 0.0 <= charge < 1.0:
        raise ValueError(f"convert: charge={charge!r} must be a share of the threshold in [0, 1)")
    check_module(ann)
    like = next(ann.parameters(), torch.zeros(0))
    batches = iter(()) if data is None else iter(batches_of(data))
    first = next(batches, None)
    sample = _sample(like, first, input_shape)
    module = read_network(copy.deepcopy(ann).eval(), sample)
    graph = folded(graph_of(module, sample))
    histograms = _histograms(graph, module, None if first is None else itertools.chain([first], batches), per)
    found = _thresholds(graph, histograms, finder)
    built = build(graph, {name: values for name, (values, _) in found.items()}, charge, surrogate or atan())
    if not isinstance(engine, Engine):
        options.setdefault("dtype", str(like.dtype).rpartition(".")[2])
        if engine == "torch":
            options.setdefault("device", str(like.device))
    model = Model(built.network, engine, seed, input_shape=tuple(sample.shape[1:]), **options)
    _load(model, built)
    layers = []
    for node in graph.activations():
        threshold, clipped = found[node.name]
        layers.append(ConvertedLayer(node.place, built.names[node.name], threshold, clipped, node.name))
    return Conversion(model, tuple(layers), module)


def _sample(like: torch.Tensor, batch: Any, shape: Optional[Sizes]) -> torch.Tensor:
    """Two samples that show the shapes of the network's signals."""
    if batch is not None:
        x = placed(batch, like)
        if shape is not None and tuple(x.shape[1:]) != sample_shape("input_shape", shape):
            raise ConversionError(f"convert: input_shape={shape!r}, but the data have samples of {tuple(x.shape[1:])}")
        return x[:2] if len(x) > 1 else x.repeat(2, *(1,) * (x.ndim - 1))
    if shape is None:
        raise ConversionError("convert: neither data nor input_shape; pass batches of inputs")
    return like.new_zeros((2, *sample_shape("input_shape", shape)))


def _histograms(
    graph: OperationGraph, module: Reading, batches: Optional[Iterable[Any]], per: Per
) -> Dict[str, Histogram]:
    """The sizes of the activations on the data, by node; without data, of none, if all have learned thresholds."""
    sought = [node for node in graph.activations() if batches is not None or node.does.learned is None]
    if batches is None and sought:
        places = ", ".join(node.place for node in sought)
        raise ConversionError(f"convert: no data to find thresholds by; pass batches of inputs. {places} needs them")
    channels = {node.name: node.shape[0] if per == "channel" and len(node.shape) > 1 else 1 for node in sought}
    histograms = {name: Histogram(count) for name, count in channels.items()}
    like = next(module.parameters(), torch.zeros(0))

    def seen(name: str, values: torch.Tensor) -> None:
        if name in histograms:
            histograms[name].add(values)

    for batch in batches or ():
        observe(module, placed(batch, like), seen)
    return histograms


def _thresholds(
    graph: OperationGraph, histograms: Dict[str, Histogram], method: Method
) -> Dict[str, Tuple[Any, float]]:
    """The thresholds (channels,) or (1,) of each activation, and the share of its values above them, by node."""
    found = {}
    for node in graph.activations():
        if node.name not in histograms:
            found[node.name] = np.array([node.does.learned]), 0.0
            continue
        values, clipped = per_channel(histograms[node.name], method)
        if not (values > 0.0).all():
            raise ConversionError(
                f"{node.place}: all its activations are 0 on these data, so that it has no threshold; give data "
                "like those of the training, or remove the layer"
            )
        found[node.name] = values, clipped
    return found


def _load(model: Model, built: Built) -> None:
    """Give the model its weights."""
    state = model.state()
    state["params"] = {
        name: built.params[name].reshape(like.shape).astype(like.dtype) for name, like in state["params"].items()
    }
    model.load_state(state)
