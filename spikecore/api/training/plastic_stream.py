"""``PlasticStream``: a stream whose network learns by local rules while it runs."""

from __future__ import annotations

from typing import Any, Dict, Optional

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Layer, Shape
from spikecore.api.core.tree import Tree
from spikecore.api.layers.network import record_option
from spikecore.api.learning.plastic_network import Plasticity
from spikecore.api.learning.plastic_run import PlasticRun, check_carries
from spikecore.api.training.stream import StepwiseStream, copied
from spikecore.arguments import Numbers, shown

REASON = "its weights change at each step"


class PlasticStream(StepwiseStream):
    """A stream that changes its parameters after each step by local rules; ``Model.stream(learning=...)`` makes one.

    The parameters are copies: the model keeps its own. To continue with those of the stream, give them to a model:
    ``model.load_state({**model.state(), "params": stream.params()})``.

    Args:
        network, engine, executor, shape, batch_size, record: as for ``StepwiseStream``; ``executor`` is copied.
        plasticity: the rules.

    Raises:
        TypeError: ``plasticity`` is something else.
        NotImplementedError: the engine keeps weights on the device.
        ValueError: the rules do not fit the network.
    """

    def __init__(
        self,
        network: Layer,
        engine: Engine,
        executor: Executor,
        shape: Shape,
        batch_size: int,
        record: Any,
        plasticity: Plasticity,
    ) -> None:
        if not isinstance(plasticity, Plasticity):
            raise TypeError(
                f"learning={shown(plasticity)} must be a plasticity.Plasticity, the rules of a stream, or None"
            )
        check_carries(executor)
        own = copied(network, engine, executor, shape)
        super().__init__(network, engine, own, shape, batch_size, record_option(network, record), REASON)
        self._run = PlasticRun(plasticity, own, record)

    @isolated
    def step(self, x: Any, reward: Optional[Numbers] = None) -> Any:
        """Run one time step, and let the rules change the parameters.

        Args:
            x: the input of this step, (batch_size, *features).
            reward: for ``RewardSTDP``, which needs it at each step: a number, 0 where there is no reward, or one per
                sample (batch_size,). None, the default, is for other rules.

        Returns:
            the output of the last layer, (batch_size, *features).

        Raises:
            ShapeError: input or reward has another shape.
            TypeError, ValueError: the input is no array of finite numbers, a rule needs a reward, or no rule takes
                one. Nothing has changed.
        """
        self._run.check_reward(reward, self.batch_size)
        y = self._stepped(x, self._run.feed)
        self._run.update(reward=reward)
        return y

    def reset(self, state: Optional[Tree] = None) -> None:
        """Begin a new sequence, with traces at rest; the parameters stay as they are. See ``Stream.reset``."""
        super().reset(state)
        self._run.reset()

    def params(self) -> Dict[str, Any]:
        """Copies of the parameters after the last step, as NumPy arrays by name."""
        return self._executor.weights()
