"""Rules of learning forward in time, as a user chooses them: for ``Model.fit`` and ``backprop.learned``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Optional, Union, get_args

from spikecore.api.core.layer import Layer, Shape
from spikecore.api.core.messages import unknown
from spikecore.api.core.sizes import is_finite
from spikecore.api.core.tree import leaves
from spikecore.api.layers.containers import readout
from spikecore.api.learning.forward_mode import ForwardMode, SpatialGradient
from spikecore.api.learning.learning import Learner, Learning, SequencePart, steps_of
from spikecore.api.learning.neuronal_dynamics import NeuronalDynamics
from spikecore.api.learning.online import Online
from spikecore.api.learning.rule import READOUT, LearningRun, Rule
from spikecore.api.learning.signals import Aligned, Direct, Local, Symmetric
from spikecore.api.learning.steps import StepLoss, Targets, stepwise

if TYPE_CHECKING:
    from spikecore.api.training.compute import Compute
    from spikecore.api.training.data import DeviceBatch

Feedback = Literal["symmetric", "random", "adaptive", "direct"]
Kappa = Union[float, Literal["readout"]]
Trace = Literal["exact", "factorised"]


class LearningRule(Learning):
    """Base of the rules that learn forward in time; a subclass makes the stepper that runs over a batch.

    Their memory does not depend on the number of steps.
    """

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        """The stepper that runs over the steps of a batch.

        Args:
            network: the layers.
            loss: the loss of one step.
            targets: the targets of the batch.
            steps: number of steps; None: not known.
            updates: how many updates the weights have had.
        """
        raise NotImplementedError

    def check(self, engine: Any, executor: Any, loss: Any, compute: Compute, processes: int = 1) -> None:
        super().check(engine, executor, loss, compute, processes)
        stepwise(loss)

    def check_network(self, executor: Any, loss: Any, shape: Shape) -> None:
        run = _begun(executor, self._rule(executor, loss, Targets(None, False), 1))
        run.rule.prepare(run.engine, run.params, run.engine.xp.zeros((1, *shape)))

    def carried(self, executor: Any, loss: Any, shape: Shape, samples: int) -> Optional[int]:
        """Number of values that a batch carries from step to step: states, traces and sums of gradients.

        It is counted for one and for two samples; more samples add in proportion.
        """
        run = _begun(executor, self._rule(executor, loss, Targets(None, False), 1))
        counts = []
        for few in (1, 2):
            x = run.engine.xp.zeros((few, *shape))
            state = run.rule.rest(run.engine, run.rule.prepare(run.engine, run.params, x), x)
            counts.append(sum(math.prod(value.shape) for _, value in leaves(state)))
        return counts[0] + (counts[1] - counts[0]) * (samples - 1)

    def begin(self, executor: Any, loss: Any, batch: DeviceBatch) -> Learner:
        run: Optional[LearningRun] = None

        def learn(piece: SequencePart) -> Any:
            nonlocal run
            rule = self._rule(executor, loss, batch.targets, piece.length, executor.steps_done)
            run = _begun(executor, rule) if run is None else run
            run.rule = rule
            out = run.feed(piece.x, piece.steps)
            value, grads = run.take()
            executor.gradients.apply(grads)
            run.set_params(executor.params)
            return value, out

        return learn

    def add(self, executor: Any, loss: Any, batch: DeviceBatch, weight: float, whole: Optional[int], last: bool) -> Any:
        self.check_lengths(executor, batch.lengths)
        batch = self.on_engine(executor, loss, batch)
        run = _begun(executor, self._rule(executor, loss, batch.targets, steps_of(batch), executor.steps_done))
        out = run.feed(batch.x, batch.steps)
        value, grads = run.take()
        executor.gradients.add_gradient(grads, weight)
        return value, out

    def _rule(self, executor: Any, loss: Any, targets: Targets, steps: int, updates: int = 0) -> Rule:
        return self.stepper(executor.network, stepwise(loss), targets, steps, updates)


def _begun(executor: Any, rule: Rule) -> LearningRun:
    """A run of the rule with the executor's weights; it returns the membranes that the executor records."""
    watch = readout(executor.network) if executor.record else None
    return LearningRun(rule, executor.engine, executor.params, executor.buffers, watch)


@dataclass(frozen=True)
class _WithFeedback(LearningRule):
    """A rule whose learning signals may come another way than through the derivatives of the later layers."""

    feedback: Feedback = "symmetric"
    decay: float = 0.01
    seed: int = 0
    update_every: Optional[int] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if self.feedback not in get_args(Feedback):
            raise ValueError(f"{name}: " + unknown("feedback", self.feedback, get_args(Feedback)))
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"{name}: decay={self.decay!r} must be from 0 to 1")
        if self.feedback != "adaptive" and self.decay != _WithFeedback.decay:
            raise ValueError(f"{name}: decay={self.decay!r} is for feedback='adaptive', not feedback={self.feedback!r}")

    def way(self, updates: int) -> Symmetric:
        """The way of the learning signals after so many updates of the weights."""
        if self.feedback == "adaptive":
            return Aligned(self.seed, 1.0, (1.0 - self.decay) ** updates)
        return {"symmetric": Symmetric(), "random": Aligned(self.seed), "direct": Direct(self.seed)}[self.feedback]


@dataclass(frozen=True)
class _PerSynapse(_WithFeedback):
    """A rule with traces per synapse, which the decay of a readout may filter."""

    kappa: Kappa = 0.0

    trace: ClassVar[str] = "exact"  # of ``Online``

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kappa != READOUT and not (is_finite(self.kappa) and 0.0 <= float(self.kappa) < 1.0):
            name = type(self).__name__
            raise ValueError(f"{name}: kappa={self.kappa!r} must be a number in [0, 1), or 'readout'")

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        return Online(network, loss, targets, steps, self.trace, self.way(updates), self.kappa)


@dataclass(frozen=True)
class EProp(_PerSynapse):
    """E-prop: one eligibility per synapse and sample, carried forward by the derivatives of the neuron's own step.

        e[t] = J[t] e[t-1] + B[t] z[t]        of weights from inputs z, and of recurrent ones from z = S[t-1]

    A recurrent layer (``RLeaky``, ``RSynaptic``, ``Recurrent`` with a ``Linear`` or a convolution) takes the spikes
    that it feeds back as constants. So e-prop leaves out their effect on other neurons, and ``OSTL`` does not.

    Args:
        feedback: the way of the learning signals to hidden layers. "symmetric", the default: through the true
            derivatives of the later layers. "random": through these layers with random, fixed weights (feedback
            alignment; with one hidden layer, random e-prop). "adaptive": through weights B that begin as W plus random
            ones and follow W, B <- B + dW - decay (B - W) at each update. "direct": from the error of the last
            connection, through one random matrix per layer (direct feedback alignment).
        kappa: the filter of the traces of hidden layers, in [0, 1), for the memory of a leaky readout,
            e'[t] = kappa e'[t-1] + dS[t]/dw. "readout": the decay of the last layer of neurons, which must have one
            state and the same decay for all neurons. Before an ``LI``, the last hidden layer then has the exact
            gradient, except for its own recurrence. 0, the default: no filter.
        decay: decay of the difference between B and W with "adaptive" feedback, per update, in [0, 1]; default 0.01.
            A new optimiser begins with the first difference again.
        seed: names the random weights; default 0.
        update_every: update the weights every so many steps; traces and states continue. None, the default: once per
            batch.

    Raises:
        ValueError: an option has a value that is not listed above.

    Sources: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020;
    Lillicrap et al., Random synaptic feedback weights support error backpropagation for deep learning, 2016; Nøkland,
    Direct feedback alignment provides learning in deep neural networks, 2016; Kolen & Pollack, Backpropagation without
    weight transport, 1994.
    """


@dataclass(frozen=True)
class OSTL(_PerSynapse):
    """OSTL: the exact derivative of each layer of neurons by its own parameters, also through recurrent weights.

        dI[t] = V dS[t-1] + z[t]              by a weight from inputs z; V: the recurrent weights, if there are some
        da[t] = J[t] da[t-1] + B[t] dI[t]     a: the states of the layer's neurons

    The rule leaves out the effect of a layer's earlier spikes on the states of later layers. So the gradient of the
    last layer of neurons is exact, recurrent or not. Earlier layers have an exact gradient if no later layer has a
    memory, or if ``kappa`` is that memory. A layer without recurrent weights learns as by ``EProp``. A recurrent layer
    has a trace for each pair of a parameter and a neuron: n (n m + n n) numbers per sample and state for n neurons with
    m inputs. Each takes n multiplications per step. So the rule is for layers of about a hundred neurons.

    Args:
        feedback, kappa, decay, seed, update_every: as in ``EProp``. With ``kappa="readout"`` before an ``LI``, the last
            hidden layer has the exact gradient, its recurrence included.

    Raises:
        ValueError: an option has a value that ``EProp`` does not list.

    Source: Bohnstingl et al., Online spatio-temporal learning in deep neural networks, IEEE TNNLS 2022.
    """

    trace: ClassVar[str] = "layer"


@dataclass(frozen=True)
class OTTT(_WithFeedback):
    """OTTT: one trace per input and sample, carried forward by the neuron's leak alone.

    All neurons of a layer must have the same linear leak. Recurrent layers have one more trace, of their own spikes.

    Args:
        feedback, decay, seed, update_every: as in ``EProp``.

    Raises:
        ValueError: an option has a value that ``EProp`` does not list.

    Source: Xiao et al., Online training through time for spiking neural networks, 2022.
    """

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        return Online(network, loss, targets, steps, "factorised", self.way(updates))


@dataclass(frozen=True)
class NDOT(_WithFeedback):
    """NDOT: OTTT whose traces decay as the membranes of the neurons that fired, instead of by a constant leak.

        e[t-1] = (U[t] - I[t]) / (U[t-1] - I[t-1])      in [-lambda, lambda], with the leak lambda; lambda for x / 0
        a^[t] = e[t-1] a^[t-1] + S[t]                   one per neuron and sample
        dL/dW += g[t] a^[t]^T                           W: weights behind them; g[t]: of the currents of this step

    The equations are from a summary of the paper. They hold for each kind of reset, because U[t] - I[t] replaces the
    summary's lambda (U[t-1] - theta S[t-1]). The paper's neuron is
    ``Leaky(reset_mechanism="subtract_decayed")``. Inputs of the network have no membranes, and biases no inputs: their
    traces are those of ``OTTT``. Neurons must have a membrane as their only state, fire by it, and share one linear
    leak per layer (``Leaky``, ``IF``, ``LI``); between neurons there may be average pooling.

    Args:
        feedback, decay, seed, update_every: as in ``EProp``.

    Raises:
        ValueError: an option has a value that ``EProp`` does not list.

    Source: Jiang, De Masi, Xiong & Gu, NDOT: Neuronal dynamics-based online training for spiking neural networks, ICML
    2024.
    """

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        return NeuronalDynamics(network, loss, targets, steps, way=self.way(updates))


@dataclass(frozen=True)
class SLTT(LearningRule):
    """SLTT: the gradient of each step's loss with all that was before as a constant; no traces.

    It is that of ``BPTT(window=1)``, in memory that does not depend on the number of steps, and runs on any network
    that runs step by step.

    Args:
        update_every: update the weights every so many steps; traces and states continue. None, the default: once per
            batch.

    Source: Meng et al., Towards memory- and time-efficient backpropagation for training spiking neural networks, 2023.
    """

    update_every: Optional[int] = None

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        return SpatialGradient(network, loss, targets, steps)


@dataclass(frozen=True)
class DECOLLE(LearningRule):
    """Local losses (DECOLLE): each hidden layer learns from the loss of a fixed random readout of its own spikes.

    No signal goes from layer to layer. The readout is a random ``Linear`` from the layer's spikes to the network's
    outputs; the loss takes its output for spikes and membrane. Layers after the last hidden layer learn from the
    network's own loss, which training reports.

    Args:
        trace: "factorised", the default: one trace per input and sample, as in the paper; the neurons of a layer must
            have the same linear leak. "exact": one per synapse, as in ``EProp``.
        seed: names the random weights; default 0.
        update_every: update the weights every so many steps; traces and states continue. None, the default: once per
            batch.

    Raises:
        ValueError: an option has a value that is not listed above.

    Source: Kaiser, Mostafa & Neftci, Synaptic plasticity dynamics for deep continuous local learning, 2020.
    """

    trace: Trace = "factorised"
    seed: int = 0
    update_every: Optional[int] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trace not in get_args(Trace):
            raise ValueError("DECOLLE: " + unknown("trace", self.trace, get_args(Trace)))

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        return Online(network, loss, targets, steps, self.trace, Local(self.seed))


@dataclass(frozen=True)
class RTRL(LearningRule):
    """Real-time recurrent learning, which leaves nothing out: the exact gradient, carried forward.

    Args:
        update_every: update the weights every so many steps; traces and states continue. None, the default: once per
            batch.

    Memory: samples x states x parameters. Source: Williams & Zipser, A learning algorithm for continually running fully
    recurrent neural networks, 1989.
    """

    update_every: Optional[int] = None

    def stepper(self, network: Layer, loss: StepLoss, targets: Targets, steps: Optional[int], updates: int = 0) -> Rule:
        return ForwardMode(network, loss, targets, steps)
