"""The exact gradient by torch's autograd, independent of ``layer_adjoint.py``, whose results are checked by it.

The membrane is written as a sum over events instead of a course from event to event,

    V(t) = sum_j w_j eps(t - t_j) - threshold sum_k exp(-(t - t_k) / tau_mem)

with the response eps to one input spike. A spike time t solves V(t) = threshold; one step of Newton's method from the
solution, t - (V(t) - threshold) / V'(t) with t and V'(t) constant, does not change it and has the right derivative.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import torch

from spikecore import get_engine
from spikecore.eventprop.losses import EventLoss
from spikecore.eventprop.network import Arrays, Network, Run
from spikecore.eventprop.spikes import Spikes


def _response(t: Any, tau_mem: Any, tau_syn: Any) -> Any:
    """The membrane a time t >= 0 after one input spike of weight 1."""
    if float(abs(tau_mem - tau_syn).detach()) > 1e-3 * float(tau_mem.detach()):
        return tau_syn / (tau_mem - tau_syn) * (torch.exp(-t / tau_mem) - torch.exp(-t / tau_syn))
    z = t * (1.0 / tau_syn - 1.0 / tau_mem)  # of almost equal time constants: the first terms of (e^z - 1) / z
    series = 1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0 * (1.0 + z / 5.0 * (1.0 + z / 6.0))))
    return t / tau_mem * torch.exp(-t / tau_syn) * series


def _membrane(t: Any, own: Dict[str, Any], neuron: int, arrivals: Any, sources: List[int], fired: List[Any]) -> Any:
    """V(t) of one neuron, after all arrivals before t and the spikes ``fired`` so far."""
    tau_mem, tau_syn = _of(own["tau_mem"], neuron), _of(own["tau_syn"], neuron)
    now = float(t.detach())
    before = [place for place, at in enumerate(arrivals.detach().tolist()) if at <= now]
    total = torch.zeros((), dtype=torch.float64)
    if before:
        weights = own["weight"][neuron, [sources[place] for place in before]]
        total = (weights * _response(t - arrivals[before], tau_mem, tau_syn)).sum()
    for at in fired:
        total = total - _of(own["threshold"], neuron) * torch.exp(-(t - at) / tau_mem)
    return total


def _of(value: Any, neuron: int) -> Any:
    return value if value.ndim == 0 else value[neuron]


def _solved(t: float, own: Dict[str, Any], neuron: int, arrivals: Any, sources: List[int], fired: List[Any]) -> Any:
    """A spike time as a differentiable number."""
    at = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    constants = {name: value.detach() for name, value in own.items()}
    frozen = _membrane(at, constants, neuron, arrivals.detach(), sources, [each.detach() for each in fired])
    (slope,) = torch.autograd.grad(frozen, at)
    at = at.detach()
    return at - (_membrane(at, own, neuron, arrivals, sources, fired) - _of(own["threshold"], neuron)) / slope


def gradients(
    network: Network, layers: List[Arrays], spikes: Spikes, run: Run, loss: EventLoss, targets: Any
) -> Tuple[Arrays, np.ndarray]:
    """The derivatives of the mean loss by parameters, by name, and by the input's times.

    Which spikes there are is taken from ``run``; their times are solved for again.
    """
    params = [{name: torch.tensor(value, requires_grad=True) for name, value in own.items()} for own in layers]
    entering = torch.tensor(np.where(spikes.present, spikes.times, network.duration), requires_grad=True)
    engine = get_engine("torch", dtype="float64", device="cpu")
    rows = [_sample(network, params, entering[row], spikes, run, row, loss) for row in range(len(spikes.times))]
    code = torch.tensor(loss.code(targets, len(rows), network.layers[-1].out_features))
    total = loss.per_sample(engine, torch.stack(rows), code).mean()
    leaves = [value for own in params for value in own.values()] + [entering]
    if total.requires_grad:
        *by_params, by_inputs = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    else:  # nothing fires
        *by_params, by_inputs = (torch.zeros_like(leaf) for leaf in leaves)
    names = [f"{number}.{name}" for number, own in enumerate(params) for name in own]
    return {name: each.numpy() for name, each in zip(names, by_params)}, by_inputs.numpy()


def _sample(
    network: Network, params: List[Dict[str, Any]], entering: Any, spikes: Spikes, run: Run, row: int, loss: EventLoss
) -> Any:
    """The value that the loss reads of one sample, (neurons,)."""
    count = int(spikes.present[row].sum())
    times, sources = entering[:count], spikes.sources[row, :count].tolist()
    duration = torch.tensor(network.duration, dtype=torch.float64)
    for number, own in enumerate(params):
        arrivals = times + own["delay"][sources] if "delay" in own and sources else times
        record = run.records[number]
        if network.layers[number].threshold is None:
            if loss.reads == "means":
                return _means(own, arrivals, sources, duration)
            return _maxima(own, arrivals, sources, record, row, float(duration))
        fired: List[List[Any]] = [[] for _ in range(network.layers[number].out_features)]
        ordered, places = [], []
        for at, neuron in zip(record.spikes.times[row].tolist(), record.spikes.sources[row].tolist()):
            if np.isfinite(at):
                fired[neuron].append(_solved(at, own, neuron, arrivals, sources, fired[neuron]))
                ordered.append(fired[neuron][-1])
                places.append(neuron)
        times, sources = (torch.stack(ordered) if ordered else torch.zeros(0, dtype=torch.float64)), places
    if loss.reads == "counts":
        engine = get_engine("torch", dtype="float64", device="cpu")
        return torch.stack([sum((loss.share(engine, duration - at) for at in each), 0.0 * duration) for each in fired])
    return torch.stack([each[0] if each else duration for each in fired])


def _means(own: Dict[str, Any], arrivals: Any, sources: List[int], duration: Any) -> Any:
    """The mean membrane of each neuron of a layer that does not fire: the integral of the sum over events."""
    left, neurons = torch.clamp(duration - arrivals, min=0.0)[None], len(own["weight"])
    tau_mem, tau_syn = (torch.broadcast_to(own[name], (neurons,))[:, None] for name in ("tau_mem", "tau_syn"))
    responses = [_response(left[0], tau_mem[n, 0], tau_syn[n, 0]) for n in range(neurons)]
    each = tau_syn * (1.0 - torch.exp(-left / tau_syn)) - tau_mem * torch.stack(responses)
    return (own["weight"][:, sources] * each).sum(1) / duration


def _maxima(own: Dict[str, Any], arrivals: Any, sources: List[int], record: Any, row: int, duration: float) -> Any:
    """The highest membrane of each neuron of a layer that does not fire."""
    found = []
    ends = np.append(np.minimum(record.arrivals.spikes.times[row], duration), duration)
    order = np.argsort(arrivals.detach().numpy(), kind="stable")
    for neuron in range(len(own["weight"])):
        event, after = int(record.highest[row, neuron]), float(record.highest_after[row, neuron])
        if event < 0:  # at rest
            found.append(torch.zeros((), dtype=torch.float64))
            continue
        at = torch.tensor(ends[event] + after, dtype=torch.float64)
        if ends[event] + after >= ends[event + 1] - 1e-12 and event + 1 < len(order) and ends[event + 1] < duration:
            at = arrivals[order[event + 1]]  # highest when the next spike arrives
        found.append(_membrane(at, own, neuron, arrivals, sources, []))
    return torch.stack(found)
