"""What ``Model.fit`` refuses of plasticity, and what the message says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

import spikecore as sc
from spikecore.plasticity import (
    STDP,
    AdaptiveThreshold,
    Bounds,
    ClassReward,
    InhibitorySTDP,
    Normalize,
    Plasticity,
    PowerLawSTDP,
    RewardSTDP,
    TripletSTDP,
    VoltageSTDP,
    Votes,
    votes_of,
)
from spikecore.samples import Loader
from tests.learning.test_plasticity_training import ONE, differ, small, spikes


@dataclass(frozen=True)
class Nameless(sc.base.Neuron):
    """Its membrane has another name."""

    state: ClassVar[Tuple[str, ...]] = ("u",)

    def step(self, engine, params, state, x):
        return engine.spike(state.u + x - params.threshold, self.surrogate), sc.base.State(u=0.9 * state.u + x)


def fitted(plasticity, network=None, **options):
    made = sc.Model(network or sc.Sequential(sc.Linear(5, 4), sc.Leaky()), seed=0, input_shape=(5,))
    return made.fit(np.ones((4, 5)), learning=plasticity, num_steps=3, progress=False, **options)


def fitted_to(data, learning=None, **options):
    made = sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky()), seed=0, input_shape=(5,))
    return made.fit(data, learning=learning or Plasticity({"0": STDP()}), progress=False, **options)


class Squared(sc.Linear):
    """Its weights do not see its inputs."""

    def apply(self, engine, params, buffers, x, *, train, key):
        return super().apply(engine, params, buffers, x * x, train=train, key=key)


LINEAR, LEAKY = sc.Linear(5, 5), sc.Leaky()
REFUSED = {
    "must be a dict of rules by layer": lambda: Plasticity({}),
    r"rules\['0'\] has 0.1, expected one of STDP, Triplet": lambda: Plasticity({"0": 0.1}),
    r"learning=STDP\(\) must be one of bptt.*Plasticity": lambda: fitted(STDP()),
    "unknown reduction 'max'": lambda: Plasticity(ONE, reduction="max"),
    "no rule takes one: use RewardSTDP": lambda: Plasticity(ONE, reward=lambda out, targets: 1.0),
    "RewardSTDP needs a reward: Plasticity": lambda: fitted(Plasticity({"0": RewardSTDP()})),
    "unknown layer '7'": lambda: fitted(Plasticity({"7": STDP()})),
    "layer 0 is a Squared, but STDP is for": lambda: fitted(Plasticity(ONE), sc.Sequential(Squared(5, 5), LEAKY)),
    "layer 1 is a Leaky, but STDP is for": lambda: fitted(Plasticity({"1": STDP()})),
    "AdaptiveThreshold is for a neuron, by itself": lambda: fitted(Plasticity({"0": AdaptiveThreshold()})),
    r"has no parameter '1.threshold'.*learned": lambda: fitted(Plasticity({"1": AdaptiveThreshold()})),
    "has no rule that changes the parameter": lambda: fitted(Plasticity({"0": Bounds()})),
    "layer 2, a Delay, is between layer 3 and the spikes": lambda: fitted(
        Plasticity({"3": STDP()}), sc.Sequential(LINEAR, LEAKY, sc.Delay(2.0), LINEAR, LEAKY)),
    "reward=5.0 is for RewardSTDP, and there is no such rule": lambda: sc.Model(
        sc.Sequential(LINEAR, LEAKY), input_shape=(5,)).stream(learning=Plasticity(ONE)).step(np.ones((1, 5)), 5.0),
    "Leaky, which has no connection '1.connection'": lambda: fitted(Plasticity({"1.connection": STDP()})),
    "a Linear follows layer 0": lambda: fitted(Plasticity(ONE), sc.Sequential(LINEAR, LINEAR, LEAKY)),
    "nothing follows layer 0": lambda: fitted(Plasticity(ONE), sc.Sequential(LINEAR)),
    "plasticity takes stacks of layers": lambda: fitted(Plasticity(ONE), sc.Sequential(sc.Residual(LINEAR), LEAKY)),
    r"whose layer is not Linear\(5, 4\)": lambda: fitted(Plasticity({"0": STDP(sc.Linear(3, 4))})),
    "but layer 1 has the states u$": lambda: fitted(
        Plasticity({"0": VoltageSTDP()}), sc.Sequential(LINEAR, Nameless())),
    "a LI follows layer 0": lambda: fitted(Plasticity(ONE), sc.Sequential(LINEAR, sc.LI())),
    r"lengths are not for plasticity.*Loader\(..., lengths=False": lambda: fitted_to(
        Loader([np.ones((7, 5)), np.ones((6, 5))]), time_axis=1),
    "its rules have the learning rates": lambda: fitted(Plasticity(ONE), optimizer=sc.SGD(lr=0.1)),
    "compile=True is for training steps": lambda: fitted(Plasticity(ONE), compute=sc.Compute(compile=True)),
    "ClassReward: wrong=inf must be a finite number": lambda: ClassReward(wrong=float("inf")),
    "ClassReward needs class labels, and there are no targets": lambda: fitted(
        Plasticity({"0": RewardSTDP()}, reward=ClassReward())),
    r"ClassReward: targets of shape \(2, 2\) for spikes of shape \(3, 2, 4\)": lambda: fitted_to(
        [(np.ones((2, 5)), [[0, 1], [1, 0]])], Plasticity({"0": RewardSTDP()}, reward=ClassReward()), num_steps=3),
    "dtype float32, expected integer class indices": lambda: fitted_to(
        [(np.ones((2, 5)), [0.5, 1.0])], Plasticity({"0": RewardSTDP()}, reward=ClassReward()), num_steps=3),
    r"targets\[1\] = 9 is out of range: the last layer has 4 classes": lambda: fitted_to(
        [(np.ones((2, 5)), [0, 9])], Plasticity({"0": RewardSTDP()}, reward=ClassReward()), num_steps=3),
    r"targets\[0\] = -1 must be >= 0": lambda: votes_of(small(), np.ones((2, 5)), [0, 1], num_steps=3)(
        small()(np.ones((2, 5)), num_steps=3), [-1, 1]),
    "Votes: shares hold NaN": lambda: Votes([0], [[float("nan"), 1.0]]),
    "votes_of needs the classes of the samples": lambda: votes_of(
        small(), Loader(np.ones((4, 5))), num_steps=3),
    "each='step' counts the updates of an optimiser, and plasticity has none": lambda: fitted(
        Plasticity(ONE, keep_zeros=True), callbacks=(sc.compression.Pruning(each="step"),)),
    r"connections come back: Plasticity\(..., keep_zeros=True\)": lambda: fitted(
        Plasticity(ONE), callbacks=(sc.compression.Rewiring(),)),
    "unknown argument 'window'": lambda: Plasticity(ONE, window=2),
    "accumulate=2 makes one update": lambda: fitted(Plasticity(ONE), compute=sc.Compute(accumulate=2)),
    "pass mem, shaped like the post spikes": lambda: VoltageSTDP().run(
        np.ones((2, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2))),
    r"mem of shape \(1, 3\), post spikes of \(1, 2\)": lambda: VoltageSTDP().run(
        np.ones((2, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2)), mem=np.ones((4, 1, 3))),
    "not that of a dense layer: pass layer=": lambda: STDP().run(
        np.ones((2, 3, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2))),
    r"state has \{'pre': \(1, 3\).*expected 'r1' of shape \(1, 3\): what the last call": lambda: TripletSTDP().run(
        np.ones((2, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2)),
        STDP().run(np.ones((2, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2)))[1]),
    r"expected 'pre' of shape \(5, 3\): what the last call": lambda: STDP().run(
        np.ones((2, 3)), np.ones((4, 5, 3)), np.ones((4, 5, 2)),
        STDP().run(np.ones((2, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2)))[1]),
    "have no steps or no samples": lambda: STDP().run(np.ones((2, 3)), np.ones((0, 1, 3)), np.ones((0, 1, 2))),
    r"shape \(4, 0, 3\) have no steps or no samples": lambda: RewardSTDP().run(
        np.ones((2, 3)), np.ones((4, 0, 3)), np.ones((4, 0, 2))),
    "a2_plus=-1 must be >= 0": lambda: TripletSTDP(a2_plus=-1),
    "tau_y=0.5 must be >= 1 step": lambda: TripletSTDP(tau_y=0.5),
    "rate=2 must be in": lambda: InhibitorySTDP(rate=2),
    "w_max=0 must be > 0": lambda: PowerLawSTDP(w_max=0),
    "target=0 must be > 0": lambda: VoltageSTDP(target=0),
    "low=1 must be below high=1": lambda: Bounds(1, 1),
    r"rules\['0'\] has no rule": lambda: Plasticity({"0": []}),
    "total=0 must be a finite number > 0": lambda: Normalize(0),
    r"threshold of shape \(3,\) for neurons of shape \(2,\)": lambda: AdaptiveThreshold().run(
        np.ones(3), np.ones((4, 1, 2))),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message):
    with pytest.raises((ValueError, TypeError), match=message):
        REFUSED[message]()


def test_weights_that_are_not_finite():
    made = sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky(threshold=0.1)), seed=0, engine="numpy")
    broken = Plasticity({"0": STDP(f_post=lambda w: float("nan"))})
    with pytest.raises(
        sc.errors.DivergedError, match=r"0.weight holds NaN or infinity.*rates of the rules, or with .*Bounds"
    ):
        made.fit(np.ones((4, 5)), learning=broken, num_steps=3, progress=False)


def test_a_refused_reward_changes_nothing():
    made = sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky(threshold=0.1)), seed=0, input_shape=(5,))
    before = made.params()
    with pytest.raises(sc.errors.ShapeError, match="reward of shape"):
        made.fit(
            [(spikes(4, 2, 5), [0, 1])],
            learning=Plasticity({"0": RewardSTDP()}, reward=lambda out, targets: np.ones(3)),
            progress=False,
        )
    assert differ(before, made.params()) == 0.0


def test_an_engine_that_keeps_its_weights_is_refused():
    pytest.importorskip("torch", reason="the simulated IPU needs torch")
    made = sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky()), engine="ipu", simulate=True, input_shape=(5,))
    refusal = "engine 'ipu' keeps weights on the device, where rules cannot change them: use numpy, torch"
    with pytest.raises(NotImplementedError, match=refusal):
        made.fit(np.ones((4, 5)), learning=Plasticity(ONE), num_steps=3, progress=False)
    with pytest.raises(NotImplementedError, match=refusal):
        made.stream(learning=Plasticity(ONE))
