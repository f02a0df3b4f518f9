"""``eventprop.model_bias``: the surrogate gradient of a ``Model`` against the exact gradient of the same network."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Union

import numpy as np

from spikecore.api.core.foreign import model_of
from spikecore.api.core.host import host
from spikecore.api.core.layer import Key
from spikecore.api.core.sizes import is_whole
from spikecore.api.training.batching import Encoder, Feed
from spikecore.arguments import ArrayLike, Size, checked
from spikecore.eventprop.bias import SurrogateBias, compare, in_list, surrogates_of
from spikecore.eventprop.from_model import OWNER, spikes_of_counts, translate
from spikecore.surrogate import Surrogate


@checked
def model_bias(
    model: Any,
    x: ArrayLike,
    targets: ArrayLike,
    surrogates: Union[None, Surrogate, Sequence[Surrogate]] = None,
    *,
    substeps: Union[Size, Sequence[int]] = (1, 10),
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
) -> SurrogateBias:
    """Compare a model's surrogate gradient with the exact gradient of the same network, loss and batch.

    The exact gradient is EventProp's, of the network in continuous time with the model's weights and constants. The
    loss is the cross-entropy of the highest membranes: ``ce_max_membrane_loss`` in time steps. The model's own time
    step is compared, and finer ones: what disappears as the step goes to 0 is due to the step, and what stays to the
    surrogate. The gradient of the last layer's weights passes no spike of its own; there only the step matters. Both
    are computed in NumPy and in float64, on whichever engine the model is.

    Args:
        model: a ``Model`` of ``Linear(..., bias=False)`` and ``Synaptic`` neurons, which reset to zero; those of the
            last layer do not reset (reset_mechanism="none"). At least two layers of neurons. Its weights are not
            changed.
        x: the inputs of one batch, as for ``fit``: numbers of spikes (0, 1, 2, ...) per step and input, or what
            ``encoder`` makes such of.
        targets: class labels (batch,).
        surrogates: one or several to compare; None, the default: that of the model.
        substeps: into how many parts to divide each time step, >= 1, or several such numbers; default (1, 10).
        num_steps, encoder, time_axis: as in ``fit``.

    Returns:
        ``SurrogateBias``: print it for a table of cosines and norm ratios by parameter (weights, and the decays and
        thresholds that the model learns), surrogate and time step, and of the samples in which the runs in time steps
        and in continuous time do not fire the same spikes.

    Raises:
        TypeError: ``model`` is something else.
        ShapeError, ValueError: bad input; the network has something that EventProp cannot model (the message says
            what, and what to do); a surrogate is stochastic.

    Source: Wunderlich & Pehle, Event-based backpropagation can compute exact gradients for spiking neural networks,
    2021.
    """
    divided = in_list("substeps", substeps, "a whole number >= 1", lambda n: is_whole(n, 1))
    given = None if surrogates is None else surrogates_of("surrogates", surrogates)
    feed = Feed(num_steps, encoder, time_axis)
    model = model_of(model, tuple(x.shape[1 if feed.static else 2 :]) if hasattr(x, "shape") else None)
    model = model.to_engine(host())
    values, constant = feed(model.engine, x, model.input_shape, Key((model.seed, OWNER, "encoder")))
    model.build(tuple(values.shape[2:]))
    steps = int(values.shape[0]) if constant is None else constant
    counts = np.asarray(model.engine.to_numpy(values))
    counts = np.broadcast_to(counts.reshape(*counts.shape[:2], -1), (steps, counts.shape[1], counts[0, 0].size))
    translated = translate(model, steps)
    return compare(
        translated.network,
        translated.params,
        spikes_of_counts(counts),
        targets,
        [1.0 / n for n in divided],
        _shared(translated.surrogates) if given is None else given,
        translated.reset_delay,
        translated.pull,
    )


def _shared(own: List[Surrogate]) -> List[Surrogate]:
    """The surrogate of all layers that fire."""
    if any(each != own[0] for each in own):
        raise ValueError(f"{OWNER}: the model's layers have different surrogates, {own!r}: name those to compare")
    return surrogates_of("the model's surrogate", own[0])
