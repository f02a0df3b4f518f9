"""Comparison of a surrogate gradient with the exact gradient of the same network, loss and batch."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np

from spikecore.api.verification.agreement import Agreement, agreements
from spikecore.arguments import ArrayLike, checked, shown
from spikecore.backprop import bptt
from spikecore.eventprop.gradient import gradient
from spikecore.eventprop.losses import max_membrane_loss
from spikecore.eventprop.network import Arrays, Network, Run
from spikecore.eventprop.spikes import Spikes
from spikecore.eventprop.stepped import frames, gradients_by_network, to_model
from spikecore.functional import ce_max_membrane_loss
from spikecore.printing import columns, shortened
from spikecore.surrogate import Surrogate, fast_sigmoid


class BiasCase(NamedTuple):
    """The gradient of one surrogate at one time step against the exact one.

    Attributes:
        surrogate: the surrogate.
        dt: the time step.
        rows: cosine, norm ratio and difference for each parameter, and a last row, "all", for all together.
        hidden: the names of the weights before the last layer, whose gradients pass the surrogate.
        loss: in time steps.
        spikes: how many the network fires in time steps.
        differing: the samples of which a neuron fires more or less often in time steps than exactly.
        timing: how far a spike in time steps is from the exact one, mean and maximum over the spikes of all other
            samples; NaN if there are none.
    """

    surrogate: Surrogate
    dt: float
    rows: Tuple[Agreement, ...]
    hidden: Tuple[str, ...]
    loss: float
    spikes: int
    differing: Tuple[int, ...]
    timing: Tuple[float, float]

    @property
    def cosine(self) -> Dict[str, float]:
        """The cosine of the angle between both gradients, by name: 1 for the same direction."""
        return {row.name: row.cosine for row in self.rows}

    @property
    def ratio(self) -> Dict[str, float]:
        """The norm of the surrogate gradient divided by that of the exact one, by name."""
        return {row.name: row.ratio for row in self.rows}

    @property
    def hidden_cosine(self) -> float:
        """The mean cosine of the weights before the last layer: those whose gradients pass the surrogate."""
        return sum(self.cosine[name] for name in self.hidden) / len(self.hidden)


@dataclass(frozen=True)
class SurrogateBias:
    """Comparison of surrogate gradients with the exact gradient: print it for a table.

    Attributes:
        cases: one for each time step and surrogate.
        exact_loss: the loss of the exact run.
        exact_spikes: how many spikes it has.
        samples: how many there are.
    """

    cases: Tuple[BiasCase, ...]
    exact_loss: float
    exact_spikes: int
    samples: int

    @property
    def best(self) -> Dict[float, BiasCase]:
        """The closest surrogate by time step: weights before the last layer have the largest mean cosine."""
        found: Dict[float, BiasCase] = {}
        for case in self.cases:
            if case.dt not in found or _nearness(case) > _nearness(found[case.dt]):
                found[case.dt] = case
        return found

    def table(self) -> str:
        """A row for each case and parameter, as a table in plain text."""
        head = ("surrogate", "dt", "parameter", "cosine", "norm ratio")
        rows: List[Tuple[str, ...]] = []
        for case in self.cases:
            named: Tuple[str, ...] = (repr(case.surrogate), f"{case.dt:.4g}")
            for row in case.rows[:-1]:
                rows.append((*named, row.name, _figure(row.cosine, ".3f"), _figure(row.ratio, ".3g")))
                named = ("", "")
        lines = columns([head, *rows], left=3).split("\n")
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])

    def __str__(self) -> str:
        exact = f"exactly: {self.exact_spikes} spikes and loss {self.exact_loss:.4g}"
        if not self.exact_spikes:
            exact += ": nothing fires, so the exact gradient is zero: scale the input up, or lower the thresholds"
        return "\n".join([self.table(), exact, *(line for case in self.best.values() for line in self._about(case))])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _about(self, best: BiasCase) -> List[str]:
        """Lines on one time step: the run, which is the same for every surrogate, and the closest surrogate."""
        step, (mean, most) = f"dt={best.dt:.4g}", best.timing
        apart = "" if math.isnan(mean) else f", {mean:.2g} from their exact times on average, {most:.2g} at most"
        others = f"; not in samples {shortened(best.differing)}" if best.differing else ""
        same = self.samples - len(best.differing)
        run = f"{step}: {best.spikes} spikes and loss {best.loss:.4g}"
        lines = [run, f"{step}: the same spikes in {same} of {self.samples} samples{apart}{others}"]
        if sum(case.dt == best.dt for case in self.cases) > 1:
            mean_cosine = _figure(best.hidden_cosine, ".3f")
            lines.append(f"{step}: closest before the last layer is {best.surrogate!r}, mean cosine {mean_cosine}")
        return lines


def _nearness(case: BiasCase) -> float:
    """The mean cosine before the last layer; a gradient that is zero has none, and is further than any other."""
    return -math.inf if math.isnan(case.hidden_cosine) else case.hidden_cosine


def _figure(x: float, form: str) -> str:
    return "" if math.isnan(x) else format(x, form)


@checked
def surrogate_bias(
    network: Network,
    params: Mapping[str, ArrayLike],
    inputs: Union[Spikes, ArrayLike],
    targets: ArrayLike,
    dt: Union[float, Sequence[float]],
    *,
    surrogate: Union[Surrogate, Sequence[Surrogate]] = fast_sigmoid(),  # noqa: B008  (immutable)
    reset_delay: bool = False,
) -> SurrogateBias:
    """Surrogate gradients against the exact gradient, of the same network, loss and batch.

    The loss is the cross-entropy of the highest membranes, which both forms of the network have: in time steps
    ``ce_max_membrane_loss``, exactly ``max_membrane_loss``. The gradient of the last layer's weights passes no spike of
    its own and differs only by the time step; those of earlier layers show the effect of the surrogate.

    For a ``sc.Model`` there is ``model_bias``.

    Args:
        network: a network whose last layer has threshold=None, without delays, of two layers or more.
        params: arrays by name.
        inputs: as for ``eventprop.gradient``.
        targets: class labels (batch,).
        dt: the time step, > 0, or several. The smaller, the closer the losses and the spikes.
        surrogate: what takes the place of the derivative of a spike, or several; default ``fast_sigmoid()``.
        reset_delay: as for ``eventprop.to_model``; default False.

    Raises:
        ValueError: the network fires in its last layer, has one layer only or has delays, a surrogate is stochastic, or
            an argument does not fit.
    """
    threshold = network.layers[-1].threshold
    if threshold is not None:
        raise ValueError(
            f"eventprop.surrogate_bias: the last layer of network has threshold={threshold}: it must have "
            "threshold=None, since the loss reads its membranes"
        )
    steps = in_list("dt", dt, "a number > 0", lambda x: isinstance(x, (int, float)) and not isinstance(x, bool))
    return compare(network, params, inputs, targets, steps, surrogates_of("surrogate", surrogate), reset_delay)


def in_list(name: str, value: Any, words: str, holds: Callable[[Any], bool]) -> List[Any]:
    """One value, or a list or tuple of several, as a list.

    Raises:
        ValueError: there is none, or one is not what ``words`` says.
    """
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not values or not all(map(holds, values)):
        raise ValueError(f"{name}={shown(value)} must be {words}, or a list of such")
    return values


def surrogates_of(name: str, value: Any) -> List[Surrogate]:
    """One surrogate, or several, as a list.

    Raises:
        ValueError: one is none, or stochastic.
    """
    values = in_list(name, value, "a surrogate, e.g. surrogate.atan()", lambda x: isinstance(x, Surrogate))
    for each in values:
        if each.stochastic:
            raise ValueError(f"{name}={each!r} draws noise, so its gradient is different each time: give another one")
    return values


def compare(
    network: Network,
    params: Mapping[str, ArrayLike],
    inputs: Union[Spikes, ArrayLike],
    targets: ArrayLike,
    steps: Sequence[float],
    surrogates: Sequence[Surrogate],
    reset_delay: bool,
    pull: Optional[Callable[[Arrays], Arrays]] = None,
) -> SurrogateBias:
    """``surrogate_bias`` for lists of time steps and surrogates.

    Args:
        network, params, inputs, targets, reset_delay: see ``surrogate_bias``.
        steps: the time steps.
        surrogates: the surrogates.
        pull: from gradients by the network's parameters to those that the report shall show, weights first; None: the
            same.
    """
    if len(network.layers) < 2:
        raise ValueError(
            "the network has one layer of neurons, which does not fire, so no surrogate is used: add a "
            "layer that fires before it"
        )
    exact = gradient(network, params, inputs, targets, max_membrane_loss())
    shown_as = pull or (lambda grads: grads)
    theirs = shown_as(exact.grads)
    hidden = tuple(name for name in theirs if name.endswith(".weight"))[:-1]
    cases = []
    for dt in steps:
        x = frames(network, inputs, dt)
        for each in surrogates:
            model = to_model(network, params, dt, surrogate=each, reset_delay=reset_delay, learn_constants=True)
            found = bptt(model, x, targets, ce_max_membrane_loss())
            ours = shown_as(gradients_by_network(network, params, dt, found.grads))
            rows = tuple(agreements(ours, theirs))
            apart = _spikes_apart(exact.run, _fired(found), dt)
            cases.append(BiasCase(each, float(dt), rows, hidden, found.loss, *apart))
    count = sum(int(spikes.present.sum()) for spikes in exact.run.spikes)
    return SurrogateBias(tuple(cases), exact.loss, count, len(exact.run.maxima))


def _fired(found: Any) -> List[np.ndarray]:
    """Whether neurons of the layers before the last fire, (steps, batch, neurons)."""
    states = [state.spikes for state in found.out.states.values()]
    return [np.asarray(spikes) > 0.0 for spikes in states[:-1]]


def _spikes_apart(run: Run, fired: Sequence[np.ndarray], dt: float) -> Tuple[int, Tuple[int, ...], Tuple[float, float]]:
    """The number of spikes in time steps, the samples in which a neuron fires more or less often than exactly, and the
    distance of spikes in the others.
    """
    samples = range(len(run.maxima))
    differing: Set[int] = set()
    distances: Dict[int, List[np.ndarray]] = {sample: [] for sample in samples}
    for stepped, exact in zip(fired, run.spikes):
        for sample in samples:
            neurons, step = np.nonzero(stepped[:, sample].T)  # neuron by neuron, each in the order of time
            there = exact.present[sample]
            times, sources = exact.times[sample][there], exact.sources[sample][there]
            order = np.lexsort((times, sources))
            if np.array_equal(sources[order], neurons):
                distances[sample].append(np.abs((step + 1) * dt - times[order]))
            else:
                differing.add(sample)
    same = [each for sample in samples if sample not in differing for each in distances[sample]]
    apart = np.concatenate([np.zeros(0), *same])
    timing = (float(apart.mean()), float(apart.max())) if apart.size else (math.nan, math.nan)
    return sum(int(stepped.sum()) for stepped in fired), tuple(sorted(differing)), timing
