"""snnTorch's tutorial 5: a training step of a fully connected network 784-1000-10."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterable, Tuple

import numpy as np

import spikecore as sc
from benchmarks import data, rates, training
from benchmarks.peers import jax, snntorch, spikingjelly, spyx
from benchmarks.plan import Bar, Group, Run, Settings, Side, Workload

TEXT = """\
784-1000-10, T=25, batch 128, an input that is constant in time, cross-entropy of the membrane summed over time, Adam.
Times are those of a whole training step: forward, loss, backward, update. All torch sides use the fused Adam and call
the loss once for all steps and samples. This library runs the first `Linear` once, because its input is constant in
time; "hoisted" marks a peer for which this was done by hand. SpikingJelly and Spyx do not have snnTorch's neuron. This
library is compared with them in their own neuron model, with a leaky integrator as readout, because neither returns the
membrane before its reset. JAX rounds beta U + I once, the others round twice. Therefore a few hidden spikes in millions
may differ and change a gradient by 1e-4."""

BETA = 0.95
DYADIC = 0.9375  # 1 - 1/16: v - v/16 and 0.9375 v round alike


@dataclass(frozen=True)
class Problem:
    """Sizes, data and initial weights."""

    steps: int
    x: np.ndarray
    y: np.ndarray
    weights: Dict[str, np.ndarray]
    device: str

    @property
    def sizes(self) -> Any:
        """Number of inputs, of hidden neurons and of classes."""
        return self.x.shape[1], self.weights["0.bias"].size, self.weights["2.bias"].size


def problem(settings: Settings, steps: int = 25) -> Problem:
    """The tutorial's sizes, or tiny ones."""
    draw, (inputs, hidden) = data.rng(), settings.size((784, 1000), (24, 32))
    batch, steps = settings.samples(128, 4), settings.size(steps, 4)
    weights = data.network_weights(draw, l0=(hidden, inputs), l2=(10, hidden))
    return Problem(steps, data.images(draw, (batch, inputs)), draw.integers(0, 10, batch), weights, settings.device)


def network(task: Problem, hidden: Any, readout: Any) -> Any:
    """The network with two given neurons."""
    inputs, width, classes = task.sizes
    return sc.Sequential(sc.Linear(inputs, width), hidden, sc.Linear(width, classes), readout)


def rates_of(task: Problem, hidden: Any, readout: Any) -> rates.Rates:
    """The rates of the two neurons with the initial weights."""
    engine = sc.get_engine("torch", fused=False)
    return rates.of_layers(engine, network(task, hidden, readout), task.weights, task.x[None], task.steps)


def ours(task: Problem, name: str, hidden: Any, readout: Any, **options: Any) -> Callable[[], Run]:
    """A training step on an engine of this library: ``name`` is the engine, ``options`` are its options."""

    def make() -> Run:
        place = {"device": task.device} if name == "torch" else {}
        engine = sc.get_engine(name, **{**place, **options})
        net, loss = network(task, hidden, readout), training.SumOverTime()
        return training.executor_run(engine, net, task.weights, loss, task.x, task.y, task.steps)

    return make


def linears(task: Problem) -> Any:
    """The two Linear layers in torch, their parameters by name, the input, and the labels."""
    import torch

    inputs, width, classes = task.sizes
    layers = torch.nn.Linear(inputs, width), torch.nn.Linear(width, classes)
    leaves = training.load(layers, ("0", "2"), task.weights, task.device)
    return layers, leaves, *(torch.as_tensor(array, device=task.device) for array in (task.x, task.y))


def face(task: Problem) -> Run:
    """A training step with ``snn.run`` on a network of modules."""
    import torch

    import spikecore.nn as snn

    (first, last), leaves, x, y = linears(task)
    hidden, readout = snn.Leaky(beta=BETA, init_hidden=True), snn.Leaky(beta=BETA, init_hidden=True, output=True)
    net = torch.nn.Sequential(first, hidden, last, readout).to(task.device)
    return training.torch_run(lambda: training.summed_over_time(snn.run(net, x, num_steps=task.steps)[1], y), leaves)


def with_snntorch(task: Problem, hoisted: bool) -> Run:
    """A training step with the loop of the tutorial in snnTorch."""
    import torch

    (first, last), leaves, x, y = linears(task)
    hidden, readout = (snntorch.neuron("Leaky", beta=BETA).to(task.device) for _ in range(2))

    def loss() -> Any:
        (mem1,), (mem2,), mems = snntorch.at_rest(hidden), snntorch.at_rest(readout), []
        once = first(x) if hoisted else None
        for _ in range(task.steps):
            spikes, mem1 = hidden(once if hoisted else first(x), mem1)
            _, mem2 = readout(last(spikes), mem2)
            mems.append(mem2)
        return training.summed_over_time(torch.stack(mems), y)

    return training.torch_run(loss, leaves)


def with_spikingjelly(task: Problem, hoisted: bool) -> Run:
    """A training step of SpikingJelly in multi-step mode. The threshold of the readout is too high to be reached."""
    (first, last), leaves, x, y = linears(task)
    hidden = spikingjelly.lif(DYADIC)
    readout = spikingjelly.lif(DYADIC, v_threshold=1e9, store_v_seq=True)

    def loss() -> Any:
        steps, batch = task.steps, x.shape[0]
        if hoisted:
            current = first(x).unsqueeze(0).expand(steps, -1, -1)
        else:
            current = first(x.repeat(steps, 1)).view(steps, batch, -1)
        spikes = spikingjelly.afresh(hidden, current)
        spikingjelly.afresh(readout, last(spikes.flatten(0, 1)).view(steps, batch, -1))
        return training.summed_over_time(readout.v_seq, y)

    return training.torch_run(loss, leaves)


def with_jax(task: Problem, hoisted: bool) -> Run:
    """A training step in plain JAX."""
    loss = jax.two_layers(BETA, task.steps, hoisted)
    return jax.trained(loss, task.weights, (task.x, task.y), training.LR)


def with_spyx(task: Problem, hoisted: bool) -> Run:
    """A training step of Spyx's LIF and LI in one jit."""
    import jax as jaxlib
    import jax.numpy as jnp

    _, width, classes = task.sizes
    dense = [(task.weights[f"{i}.weight"], task.weights[f"{i}.bias"]) for i in (0, 2)]
    params, call = spyx.network(
        [dense[0], spyx.lif(width, DYADIC), dense[1], spyx.li(classes, DYADIC)], hoisted, task.steps
    )

    def loss(params: Any, x: Any, y: Any) -> Any:
        logs = jaxlib.nn.log_softmax(call(params, x))
        return -jnp.take_along_axis(logs, y[None, :, None], axis=-1).sum() / x.shape[0]

    return jax.trained(loss, params, (task.x, task.y), training.LR, spyx.named)


def default_sides(task: Problem) -> Tuple[Side, ...]:
    """The sides that have snnTorch's default neuron."""
    leaky = sc.Leaky(beta=BETA)
    return (
        Side("torch engine", ours(task, "torch", leaky, leaky), engine="torch"),
        Side("torch, snn.run", lambda: face(task), engine="torch"),
        Side("numpy engine", ours(task, "numpy", leaky, leaky), engine="numpy"),
        Side("snnTorch", lambda: with_snntorch(task, False), peer="snntorch"),
        Side("snnTorch, hoisted", lambda: with_snntorch(task, True), peer="snntorch"),
        Side("JAX by hand", lambda: with_jax(task, False), peer="jax"),
        Side("JAX by hand, hoisted", lambda: with_jax(task, True), peer="jax"),
    )


def spikingjelly_sides(task: Problem) -> Tuple[Side, ...]:
    """The sides that have SpikingJelly's neuron, and an integrator as readout."""
    zero, readout = sc.Leaky(beta=DYADIC, reset_mechanism="zero"), sc.LI(beta=DYADIC)
    return (
        Side("torch engine", ours(task, "torch", zero, readout), engine="torch"),
        Side("SpikingJelly m", lambda: with_spikingjelly(task, False), peer="spikingjelly"),
        Side("SpikingJelly m, hoisted", lambda: with_spikingjelly(task, True), peer="spikingjelly"),
    )


SIDES = {"Leaky": default_sides, "Leaky, zero; LI": spikingjelly_sides}  # by the neuron model, for peak.py


def groups(settings: Settings) -> Iterable[Group]:
    """A group for each neuron model: that of snnTorch, of SpikingJelly, and of Spyx."""
    task = problem(settings)
    leaky, zero = sc.Leaky(beta=BETA), sc.Leaky(beta=DYADIC, reset_mechanism="zero")
    loop = {"fused": False, "device": "cpu"}
    yield Group(
        "Leaky",
        default_sides(task),
        ours(task, "torch", leaky, leaky, **loop),
        (Bar("numpy engine", "torch engine", 1.5),),
        rates=partial(rates_of, task, leaky, leaky),
        memory=True,
    )
    readout = sc.LI(beta=DYADIC)
    yield Group(
        "Leaky, zero; LI",
        spikingjelly_sides(task),
        ours(task, "torch", zero, readout, **loop),
        rates=partial(rates_of, task, zero, readout),
        memory=True,
    )
    learned = spyx.SpyxLIF(beta=sc.learn(DYADIC)), sc.LI(beta=sc.learn(DYADIC))
    yield Group(
        "Spyx's LIF; LI",
        (
            Side("torch engine", ours(task, "torch", *learned), engine="torch"),
            Side("Spyx", lambda: with_spyx(task, False), peer="spyx"),
            Side("Spyx, hoisted", lambda: with_spyx(task, True), peer="spyx"),
        ),
        ours(task, "torch", *learned, **loop),
        rates=partial(rates_of, task, *learned),
        memory=True,
    )


WORKLOAD = Workload("tutorial5", "A training step: tutorial 5", TEXT, groups)
