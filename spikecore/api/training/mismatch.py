"""``mismatch``: a model whose neurons differ from each other, as those of an analogue chip do."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Dict, Mapping, Set, Tuple

from spikecore.api.core.host import float64, host, to_numpy
from spikecore.api.core.initialisers import normals
from spikecore.api.core.layer import Key, Layer, Params, Shape, shapes_of
from spikecore.api.core.messages import unknown
from spikecore.api.layers.containers import Container, walk, with_children
from spikecore.api.neurons.base import Neuron
from spikecore.api.neurons.quantized import QuantizedNeuron
from spikecore.api.training.rebuilding import with_network
from spikecore.api.training.visitor import weights_of
from spikecore.arguments import checked

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

WEIGHT = "weight"
SMALLEST = 1e-3  # of its value: what must be above zero keeps so much


@checked
def mismatch(model: Model, sizes: Mapping[str, float], seed: int = 0) -> Model:
    """A model whose parameters deviate from neuron to neuron and from connection to connection.

        v' = v (1 + size xi)          xi normal, drawn once for each neuron or connection

    The result computes on any engine, exports and trains: its weights learn on, while parameters of neurons with a
    mismatch are constants. To see what a network stands, evaluate it for some seeds; each is another chip.

    Args:
        model: a model with weights; it does not change.
        sizes: the relative standard deviation, >= 0, of each parameter by name: fields of neurons, e.g. "beta" and
            "threshold", and "weight" for all weights of connections, recurrent ones included.
        seed: of the deviations, an int; default 0.

    Returns:
        a ``Model`` on the same engine. Decays and other parameters with bounds stay within them; what must be positive
        keeps a thousandth of its value at least.

    Raises:
        TypeError: an argument is something else.
        ValueError: the model has no weights yet; a size is negative or not finite; no layer has a parameter of a name.

    Source: Pelgrom et al., Matching properties of MOS transistors, IEEE Journal of Solid-State Circuits 24(5), 1989;
    Büchel et al., Supervised training of spiking neural networks for robust deployment on mixed-signal neuromorphic
    processors, Scientific Reports 11, 2021.

    Example:
        >>> chip = sc.compression.mismatch(model, {"beta": 0.05, "threshold": 0.1, "weight": 0.1}, seed=1)
    """
    if model.input_shape is None:
        raise ValueError("mismatch: the model has no weights yet: call it on data, or pass input_shape=")
    if not sizes:
        raise ValueError('mismatch: sizes={} changes nothing: give a size by name, e.g. {"threshold": 0.1}')
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0.0 <= size < float("inf"):
            raise ValueError(f"mismatch: sizes[{name!r}]={size!r} must be finite and >= 0")
    params, buffers = weights_of(model, host())
    deviate = _Deviate(sizes, seed)
    network, params = deviate.layer("", model.network, params, model.input_shape)
    known = sorted({WEIGHT, *(name for _, layer in walk(model.network) for name in _field_names(layer))})
    for name in sizes:
        if name not in deviate.found:
            raise ValueError(f"mismatch: sizes: {unknown('parameter', name, known)}")
    return with_network(model, network, params, buffers)


def _parts(layer: Any) -> Dict[str, Any]:
    """The layers among a layer's fields, by name."""
    named = {f.name: getattr(layer, f.name) for f in fields(layer)} if is_dataclass(layer) else {}
    return {name: part for name, part in named.items() if isinstance(part, Layer)}


def _field_names(layer: Any) -> Tuple[str, ...]:
    """The parameters of a layer that is a neuron, and of the layers inside it."""
    layer = getattr(layer, "recurrent", layer)
    own = layer.parameter_names() if isinstance(layer, Neuron) else ()
    return (*own, *(name for part in _parts(layer).values() for name in _field_names(part)))


class _Deviate:
    """Draws the deviations of a network, layer by layer; ``found`` collects the names that it has met."""

    def __init__(self, sizes: Mapping[str, float], seed: int) -> None:
        self.sizes, self.key = sizes, Key((seed, "mismatch"))
        self.found: Set[str] = set()

    def layer(self, path: str, layer: Any, params: Any, shape: Shape) -> Tuple[Any, Params]:
        """A layer for samples of ``shape``, and its parameters."""
        spelled = getattr(layer, "recurrent", layer)
        if isinstance(layer, Container):
            inside: Dict[str, Any] = dict(layer.children())
            shapes = layer.entering_shapes(shape)
        else:
            inside = {name: part for name, part in _parts(spelled).items() if name in params}
            shapes = dict.fromkeys(inside, shape)
        if not inside:
            return self.leaf(path, layer, params, shape)
        made = {
            name: self.layer(f"{path}.{name}" if path else name, part, params[name], shapes[name])
            for name, part in inside.items()
        }
        below = params.replace(**{name: part for name, (_, part) in made.items()})
        children = {name: part for name, (part, _) in made.items()}
        if all(part is inside[name] for name, part in children.items()):
            return layer, below
        if isinstance(layer, Container):
            return with_children(layer, children), below
        if spelled is not layer:  # RLeaky and RSynaptic have the fields of the neuron inside
            neuron, names = children["neuron"], spelled.neuron.parameter_names()
            return replace(layer, **{name: getattr(neuron, name) for name in names}), below
        return replace(layer, **children), below

    def leaf(self, path: str, layer: Any, params: Any, shape: Shape) -> Tuple[Any, Params]:
        """A layer whose parameters are not those of layers inside it."""
        if isinstance(layer, QuantizedNeuron):
            neuron, params = self.leaf(path, layer.neuron, params, shape)
            return replace(layer, neuron=neuron), params
        for name in layer.connections:
            if WEIGHT in self.sizes and name in params:
                params = params.replace(**{name: self.deviating(path, name, WEIGHT, params[name])})
        if not isinstance(layer, Neuron):
            return layer, params
        neurons, ready, changed = shapes_of(layer, shape).shape, layer.prepare(host(), params), {}
        for name in layer.parameter_names():
            if name in self.sizes:
                low, high = layer.bounds.get(name, (-float("inf"), float("inf")))
                whole = host().xp.broadcast_to(float64(ready[name]), neurons)
                smallest = to_numpy(SMALLEST * abs(whole)) if low > 0.0 else low  # float32 has no 1e-300
                changed[name] = self.deviating(path, name, name, whole).clip(smallest, high)
        kept = Params({name: value for name, value in params.items() if name not in changed})
        return (replace(layer, **changed) if changed else layer), kept

    def deviating(self, path: str, name: str, of: str, values: Any) -> Any:
        """Values, each with a deviation of its own."""
        self.found.add(of)
        values = float64(values)
        xi = normals(self.key.child(path, name), values.shape)
        return to_numpy(values * (1.0 + self.sizes[of] * xi))
