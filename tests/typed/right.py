"""A user's program in which nothing is wrong: ``make type`` requires that mypy says so, and
tests/house/test_public_types.py runs it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

import numpy as np
import torch

import spikecore as sc
import spikecore.nn as snn
import spikecore.nn.functional as SF
from spikecore import backprop, datasets, functional, init, plasticity, schedule, spikegen, surrogate
from spikecore.api.core.layer import Key
from spikecore.nn.utils import reset


@dataclass(frozen=True)
class Mine(sc.base.Neuron):
    """A neuron of the user's own."""

    beta: sc.base.Param = 0.5
    state: ClassVar[Tuple[str, ...]] = ("mem",)
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": (0.0, 1.0)}

    def step(self, engine: sc.base.Engine, params: Any, state: sc.base.State, x: Any) -> Tuple[Any, sc.base.State]:
        mem = params.beta * state.mem + x
        spikes = engine.spike(mem - params.threshold, self.surrogate)
        return spikes, sc.base.State(mem=mem - spikes * params.threshold)


net = sc.Sequential(
    sc.Conv2d(1, 4, kernel_size=3, padding=(1, 1)),
    sc.MaxPool2d(2),
    sc.Flatten(),
    sc.Linear(16, 10),
    sc.Leaky(beta=0.9, threshold=[1.0] * 10, surrogate=surrogate.fast_sigmoid(slope=25), reset_mechanism="zero"),
    sc.RLeaky(beta=sc.learn(0.9, per="neuron"), linear_features=10),
    sc.Synaptic(alpha=np.full(10, 0.8), beta=torch.full((10,), 0.9)),
    sc.Alpha(alpha=0.9, beta=0.8, state_quant=functional.quant.state_quant(num_bits=8)),
    sc.Recurrent(sc.Leaky(beta=sc.learn_tau([5.0] * 10, dt=0.5)), sc.Linear(10, 10)),
    Mine(beta=0.3),
)
X, LABELS = np.random.default_rng(0).random((4, 1, 4, 4)), np.array([0, 1, 2, 3])
model = sc.Model(net, "torch", seed=3, input_shape=(1, 4, 4), device="cpu")
model.fit(
    [(X, LABELS)],
    loss=functional.ce_rate_loss() + 0.1 * functional.l1_rate_sparsity(),
    optimizer=sc.AdamW(lr=1e-3),
    epochs=2,
    num_steps=3,
    encoder=spikegen.rate,
    validation=[(X, LABELS)],
    schedule=schedule.cosine(),
    callbacks=(sc.EarlyStopping(patience=2, mode="min"), lambda model, row: None),
    metric=["accuracy", functional.accuracy_rate],
    progress=False,
)
model.fit([(X, LABELS)], loss=lambda out, targets: out.spikes.mean(), schedule=lambda epoch, epochs: 0.5, num_steps=2)
model.fit(datasets.Loader(X, LABELS, batch_size=2), num_steps=2, learning="bptt")
local = plasticity.Plasticity({"3": (plasticity.STDP(), plasticity.Bounds()), "5.connection": plasticity.RewardSTDP()})
model.fit(X, learning=plasticity.Plasticity(local.rules, reward=lambda out, targets: 1.0), num_steps=2)
model.fit(
    X,
    LABELS,
    learning=plasticity.Plasticity(local.rules, reward=plasticity.ClassReward(), keep_zeros=True),
    num_steps=2,
)
votes: plasticity.Votes = plasticity.votes_of(model, X, LABELS, num_steps=2)
model.evaluate(X, LABELS, metric={"accuracy": votes}, num_steps=2)
learns = model.stream(learning=local)
learns.step(X[:1], reward=1.0)
print(learns.params()["3.weight"])


class Stop:
    """A callback for steps alone."""

    def after_step(self, model: sc.Model, step: sc.base.Step) -> bool:
        return step.loss < 0.1 and step.batch > 2


drawn = sc.Sequential(
    sc.Linear(16, 6, weight_init=init.orthogonal(0.9), bias_init=init.constant()),
    sc.RLeaky(beta=sc.learn_tau(init.gamma(5.0)), linear_features=6, recurrent_init=init.identity(0.9)),
    sc.Leaky(beta=sc.learn(init.uniform(0.8, 0.9), per="neuron")),
)
own = sc.Model(sc.Sequential(sc.Flatten(), drawn), "numpy", input_shape=(1, 4, 4))
groups = [sc.Group("*.bias", weight_decay=0.0), sc.Group("*.beta", lr=1e-2)]
adam = sc.Adam(lr=1e-3, groups=groups)
own.fit([(X, LABELS)], optimizer=adam, num_steps=2, callbacks=(Stop(),), schedule=schedule.one_cycle(), progress=False)
own.fit([(X, LABELS)], num_steps=2, learning=sc.EProp("random", kappa=0.5, seed=1), progress=False)
own.train_step(X, LABELS, optimizer=sc.SGD(lr=0.1, clip_norm=1.0), num_steps=2, seed=Key((3, "a"), first=4))["loss"]
value, grads = own.value_and_grad(X, LABELS, num_steps=2)
own.apply({name: 0.5 * grad for name, grad in grads.items()}, optimizer=adam)

out = model(X, num_steps=3, record=True)
model(torch.zeros(4, 1, 4, 4), num_steps=3, record=["4", "5"])
model([[[[0.0] * 4] * 4]], num_steps=3)
stream = model.stream(2, record=True)
stream.step(np.zeros((2, 1, 4, 4)))
stream.reset(stream.state)
[state.spikes.shape for state in stream.states.values()]
events = datasets.Events(np.array([0, 5]), np.array([1, 2]), np.array([3, 0]), sensor=(4, 4))
swift = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(16, 3), sc.Leaky()), "numpy", input_shape=(1, 4, 4))
swift.run_events(events, window=1)
swift.run_events([events, events], window=1, num_steps=3, start=0)
swift.run_events(np.zeros((3, 1, 1, 4, 4)))
functional.accuracy_rate(out, LABELS)
functional.accuracy_rate(np.zeros((3, 4, 5)), range(4))
functional.ce_rate_loss(weight=[1.0] * 10, reduction="sum")(out, torch.zeros(4, dtype=torch.int64))
functional.SpikeTime(on_target=[0, 1], off_target=(-1, -1), multi_spike=True)
sc.verify(model, X, LABELS, num_steps=2, loss=functional.mse_membrane_loss(), differences=False)
backprop.bptt(model, X, LABELS, num_steps=2)

spikegen.rate(X.tolist(), num_steps=3, seed=(1, "a"))
spikegen.rate([[0.1, 0.2], [1, 0]], num_steps=3, seed=3)
spikegen.rate([np.zeros(2), np.ones(2)], num_steps=3)
spikegen.latency(torch.rand(3), num_steps=3, normalize=True)
spikegen.delta([0.1, 0.5], threshold=0.1)
spikegen.targets_rate([0, 1], 3, num_steps=5, firing_pattern="poisson")
spikegen.to_one_hot((0, 1), 3)
engine: sc.base.Engine = sc.get_engine("numpy", dtype="float64")
sc.Model(sc.LayerNorm((3, 4)), engine)
assert all(isinstance(status.name, str) for status in sc.engines())

# the name of an engine from an option, and what comes out
name: str = "numpy"
small = sc.Model(sc.Sequential(sc.Linear(16, 3), sc.Leaky()), engine=name, input_shape=16)
labels: "np.ndarray[Any, Any]" = small.predict(np.zeros((2, 16)), num_steps=2)
counts = small.to_engine(name)(np.zeros((2, 16)), num_steps=2).spikes.sum(axis=0)
assert out.spikes.detach().shape == out.spikes.shape
np.asarray(out.membrane)
module = snn.module(sc.Leaky(), init_hidden=True)
spikes: torch.Tensor = snn.run(module, torch.zeros(3, 2, 16))
(spikes, recorded) = snn.run(torch.nn.Sequential(module), torch.zeros(3, 2, 16), record="0")
recorded["0"]["mem"].detach()

# scripts that were written for snnTorch
loss: functional.ce_rate_loss = SF.ce_rate_loss()
reset(torch.nn.Linear(2, 3))
