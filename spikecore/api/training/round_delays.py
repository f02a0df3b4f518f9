"""Delays rounded to whole steps after training: what chips, NIR and cheap programs need."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

from spikecore.api.core.host import float64, host
from spikecore.api.core.layer import Layer, Params, Tree, layer_name
from spikecore.api.layers.containers import Container, with_children
from spikecore.api.layers.taps import Delayed
from spikecore.api.neurons.recurrent import Recurrent
from spikecore.api.training.batching import Encoder, Feed, check_feeds
from spikecore.api.training.rebuilding import with_network
from spikecore.api.training.visitor import weights_of
from spikecore.arguments import ArrayLike, Size, checked
from spikecore.printing import columns

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


class RoundedLayer(NamedTuple):
    """The change of the delays of one layer."""

    name: str
    kind: str
    delays: int  # how many there are
    mean: float  # mean distance, in steps
    largest: float  # largest distance, in steps


@dataclass(frozen=True)
class RoundedDelays:
    """The result of ``round_delays``: print it, and continue with ``model``.

    Attributes:
        model: the ``Model`` with delays of whole steps.
        layers: one row per layer with delays.
        error: change of the outputs, summed over time, as a root mean square relative to that of the sums; NaN without
            a batch.
        changed: share of the samples whose largest output, summed over time, is another one; NaN without a batch.
    """

    model: Model = field(repr=False)
    layers: Tuple[RoundedLayer, ...]
    error: float
    changed: float

    def __str__(self) -> str:
        rows = [("layer", "kind", "delays", "mean shift", "largest shift")]
        for row in self.layers:
            rows.append((row.name, row.kind, f"{row.delays:,}", f"{row.mean:.3f} steps", f"{row.largest:.3f} steps"))
        text = columns(rows, left=2)
        if self.error != self.error:
            return text
        return f"{text}\noutputs change by {self.error:.2%}; {self.changed:.1%} of the samples are decided otherwise"


@checked
def round_delays(
    model: Model,
    x: Optional[ArrayLike] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
) -> RoundedDelays:
    """Round the delays of a trained model to whole time steps, and say what that changes.

    All taps become linear, so that each delayed input is one earlier input, and annealing is over. Delays that are
    learned stay parameters: to train on with these, freeze them, ``groups=(sc.Group("*.delay", frozen=True),)``.

    Args:
        model: a ``Model`` with layers such as ``Delay`` or ``DelayedLinear``, also within ``Recurrent``. It does not
            change.
        x: a batch on which outputs before and after are compared; None, the default: delays only.
        num_steps, encoder: for ``x``, as in ``Model.fit``.

    Returns:
        ``RoundedDelays``, whose ``model`` is another ``Model`` on the same engine; its optimiser starts again.

    Raises:
        RuntimeError: the model has no weights yet.
        ValueError: no layer has delays; ``num_steps`` or ``encoder`` without ``x``.

    Example:
        >>> rounded = sc.compression.round_delays(model, x)
        >>> print(rounded)
        >>> model = rounded.model
    """
    check_feeds("round_delays", x, num_steps, encoder)
    model.trainer.executor  # noqa: B018  (raises without weights)
    params, buffers = weights_of(model, host())
    rows: List[RoundedLayer] = []
    network, params, buffers = _rounded("", model.network, params, buffers, rows)
    if not rows:
        kinds = "Delay, DelayedLinear, DelayedConv1d, DelayedConv2d, and Recurrent around one"
        raise ValueError(f"round_delays: no layer of the network has delays; those that do are {kinds}")
    after = with_network(model, network, params, buffers)
    error = changed = float("nan")
    if x is not None:
        before, sums = (_sums(each, x, num_steps, encoder) for each in (model, after))
        most = float((before**2).mean() ** 0.5)
        error = float(((sums - before) ** 2).mean() ** 0.5) / most if most else 0.0
        changed = float((sums.argmax(axis=-1) != before.argmax(axis=-1)).mean())
    return RoundedDelays(after, tuple(rows), error, changed)


def _sums(model: Any, x: Any, num_steps: Any, encoder: Any) -> Any:
    """The outputs of each sample, summed over time, as a NumPy array (batch, outputs)."""
    out = float64(model.engine.to_numpy(model._run(Feed(num_steps, encoder), x, None, False).spikes))
    return out.sum(axis=0).reshape(out.shape[1], -1)


def _rounded(
    path: str, layer: Layer, params: Params, buffers: Tree, rows: List[RoundedLayer]
) -> Tuple[Layer, Params, Tree]:
    """A layer with rounded delays, its parameters and its buffers; what moved is added to ``rows``."""
    if isinstance(layer, Delayed):
        whole, after = layer.rounded(params)
        shift = abs(layer.delays(params) - whole.delays(after))
        rows.append(RoundedLayer(path, layer_name(layer), shift.size, float(shift.mean()), float(shift.max())))
        return whole, after, Tree()
    if isinstance(layer, Recurrent):
        below = f"{path}.connection" if path else "connection"
        connection, after, _ = _rounded(below, layer.connection, params.connection, Tree(), rows)
        inner: Any = connection  # of the same class
        return replace(layer, connection=inner), params.replace(connection=after), buffers
    if not isinstance(layer, Container):
        return layer, params, buffers
    layers: Dict[str, Layer] = {}
    weights: Dict[str, Any] = {}
    kept: Dict[str, Any] = {}
    for name, child in layer.children():
        below = f"{path}.{name}" if path else name
        layers[name], weights[name], rest = _rounded(below, child, params[name], buffers.get(name, Tree()), rows)
        if len(rest):
            kept[name] = rest
    return with_children(layer, layers), Params(weights), Tree(kept)
