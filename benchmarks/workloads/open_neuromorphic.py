"""The workload of Open Neuromorphic's comparison of libraries: a Linear layer and a LIF layer, 500 steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks import data
from benchmarks.differentiate import backward_run, layer_call, leaf
from benchmarks.peers import norse, sinabs, snntorch, spikingjelly, spyx
from benchmarks.plan import Group, Run, Settings, Side, Workload
from benchmarks.rates import rate

TEXT = """\
A `Linear` and a LIF layer of n neurons, batch 16, 500 steps of spikes, as in Open Neuromorphic's comparison of 2023.
Unlike there, the clock waits for the device, the `Linear` is called once for all steps and samples (except in Spyx,
whose loop runs whole networks), and this library is compared with every peer in the peer's own neuron model: the
default reset of snnTorch; the zero reset of SpikingJelly and Sinabs; the immediate, differentiated reset of Norse,
with its surrogate; the LIF of Spyx, which fires a step later. Gradients are with respect to the weight. Norse's step
divides the current by tau, so its weights are 16 times ours."""

DYADIC = 0.9375
Call = Callable[[Any], Any]


class Task:
    """Data and weights for n neurons."""

    def __init__(self, settings: Settings, n: int) -> None:
        draw = data.rng()
        self.device, self.n = settings.device, n
        shape = settings.size(500, 8), settings.samples(16, 2), n
        self.x = (draw.random(shape) < 0.1).astype("float32")
        self.upstream = draw.random(shape, dtype="float32")
        self.weight = data.affine(draw, (n, n), gain=1.5)["weight"]

    def through(
        self, spiking: Call, backward: bool, scale: float = 1.0, batch_first: bool = False, linear: Any = None
    ) -> Run:
        """A run of a Linear, called once for all steps and samples, and of the neuron ``spiking`` after it.

        Args:
            spiking: the neuron, a function of the current.
            backward: whether to run backward, too.
            scale: factor of the weights.
            batch_first: pass sequences as (batch, time, ...).
            linear: a function of input and weight; None is torch's.
        """
        import torch

        linear = linear or torch.nn.functional.linear
        weight = leaf(self.weight * scale, self.device)
        x, upstream = (torch.as_tensor(array, device=self.device) for array in (self.x, self.upstream))
        if batch_first:
            x, upstream = (tensor.transpose(0, 1).contiguous() for tensor in (x, upstream))
        run = backward_run(lambda: spiking(linear(x, weight)), upstream if backward else None, {"weight": weight})
        return _rescaled(run, scale, batch_first)

    def ours(self, layer: Any, backward: bool, fused: Any = "auto", device: Optional[str] = None) -> Run:
        """A run on the torch engine."""
        engine = sc.get_engine("torch", device=device or self.device, fused=fused)
        linear = sc.Linear(self.n, self.n, bias=False)
        return self.through(
            layer_call(layer, engine),
            backward,
            linear=lambda x, weight: layer_call(linear, engine, sc.base.Params({"weight": weight}))(x),
        )

    def spyx(self, backward: bool) -> Run:
        """A run of Spyx with everything in one jit."""
        import jax
        import jax.numpy as jnp

        params, call = spyx.network([(self.weight, None), spyx.lif(self.n, DYADIC)])
        x, upstream = jnp.asarray(self.x), jnp.asarray(self.upstream)
        if not backward:
            forward = jax.jit(call)
            return _jax_run(lambda: (forward(params, x), {}))

        def both(params: Any, inputs: Any, weights: Any) -> Any:
            spikes, pull = jax.vjp(lambda p: call(p, inputs), params)
            return spikes, pull(weights)[0]

        compiled = jax.jit(both)
        return _jax_run(lambda: compiled(params, x, upstream))


def _rescaled(run: Run, scale: float, batch_first: bool) -> Run:
    """The same run, with its evidence converted to time first and to the gradient of the unscaled weight."""

    def converted(evidence: Dict[str, Any]) -> Dict[str, Any]:
        spikes = evidence["spikes"]
        evidence = {**evidence, "spikes": spikes.swapaxes(0, 1) if batch_first else spikes}
        if "weight" in evidence:
            evidence["weight"] = evidence["weight"] * scale
        return evidence

    def rescaled() -> Any:
        evidence_of = run()
        return lambda: converted(evidence_of())

    return rescaled


def _jax_run(compute: Callable[[], Tuple[Any, Any]]) -> Run:
    def run() -> Any:
        import jax

        spikes, grads = jax.block_until_ready(compute())
        weight = {"weight": spyx.named(grads)["0.weight"]} if grads else {}
        return lambda: {"spikes": np.asarray(spikes), **weight}

    return run


def models(task: Task) -> Iterable[Tuple[str, Any, Tuple[Tuple[str, str, Callable[[bool], Run]], ...]]]:
    """(model, our layer, peers as (name, key, backward -> run))."""
    device = task.device

    def snn(backward: bool) -> Run:
        return task.through(snntorch.unrolled(snntorch.neuron("Leaky", beta=DYADIC).to(device)), backward)

    def jelly(backward: bool) -> Run:
        neuron = spikingjelly.lif(DYADIC)
        return task.through(lambda x: spikingjelly.afresh(neuron, x), backward)

    zero = sc.Leaky(beta=DYADIC, reset_mechanism="zero")
    immediate = replace(zero, reset_delay=False, surrogate=sc.surrogate.fast_sigmoid(slope=1.0))
    yield "Leaky", sc.Leaky(beta=DYADIC), (("snnTorch", "snntorch", snn),)
    yield (
        "Leaky, zero",
        zero,
        (
            ("SpikingJelly m", "spikingjelly", jelly),
            ("Sinabs", "sinabs", lambda b: task.through(sinabs.lif(DYADIC, device), b, batch_first=True)),
        ),
    )
    yield (
        "Norse's box",
        immediate,
        (("Norse", "norse", lambda b: task.through(norse.box(DYADIC, device), b, scale=1.0 / (1.0 - DYADIC))),),
    )
    yield "Spyx's LIF", spyx.SpyxLIF(beta=DYADIC), (("Spyx", "spyx", task.spyx),)


def groups(settings: Settings) -> Iterable[Group]:
    """For both sizes and each model, a group of forward, and a group of forward and backward."""
    for n in settings.size((512, 2048), (16,)):
        task = Task(settings, n)
        for model, layer, peers in models(task):
            for backward in (False, True):
                yield _group(task, model, layer, peers, backward)


def _group(task: Task, model: str, layer: Any, peers: Any, backward: bool) -> Group:
    sides = [Side("torch engine", lambda: task.ours(layer, backward), engine="torch")]
    sides += [Side(name, lambda make=make: make(backward), peer=key) for name, key, make in peers]  # type: ignore[misc]
    phase = "forward and backward" if backward else "forward"
    return Group(
        f"{model}, n={task.n}, {phase}",
        tuple(sides),
        lambda: task.ours(layer, backward, fused=False, device="cpu"),
        rounds=7,
        warmup=1,
        rates=lambda: {"input": rate(task.x)},
        memory=backward,
    )


WORKLOAD = Workload("open-neuromorphic", "Open Neuromorphic's workload", TEXT, groups)
