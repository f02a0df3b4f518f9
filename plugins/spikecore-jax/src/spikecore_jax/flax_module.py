"""A network as a module of Flax, so that it stands within a model of Flax."""

from __future__ import annotations

from typing import Any

from flax import linen

from spikecore.api.layers.network import Output
from spikecore_jax.pure import PureNetwork


class FlaxNetwork(linen.Module):
    """A network as a ``flax.linen.Module``. ``flax.nnx.bridge.ToNNX`` makes a module of ``flax.nnx`` of it.

    Its weights are the collection "params", running statistics are "batch_stats", as those of Flax's own modules;
    dropout draws from the stream of keys "dropout".

    Args:
        network: the network.

    Example:
        >>> module = FlaxNetwork(PureNetwork(net, (64,), num_steps=25))
        >>> variables = module.init(jax.random.key(0), x)
        >>> out = module.apply(variables, x)
    """

    network: PureNetwork

    @linen.compact
    def __call__(self, x: Any, *, train: bool = False, state: Any = None, record: Any = "last") -> Output:
        """Run the network.

        Args:
            x, state, record: see ``PureNetwork.apply``.
            train: whether dropout draws and running statistics move: pass ``rngs={"dropout": key}`` and
                ``mutable=["batch_stats"]`` to ``apply``.
        """
        network = self.network
        drawn = network.init(self.make_rng("params")) if self.is_initializing() else network.blank
        params = {name: self.param(name, lambda _, found=drawn[name]: found) for name in drawn}
        first = network.buffers()
        kept = {name: self.variable("batch_stats", name, lambda found=first[name]: found) for name in first}
        buffers = {name: held.value for name, held in kept.items()}
        if not train:
            return network.apply(params, x, state=state, buffers=buffers, record=record)
        key = self.make_rng("dropout") if self.has_rng("dropout") else None
        out, moved = network.train(params, x, key, state=state, buffers=buffers, record=record)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            for name, held in kept.items():
                held.value = moved[name]
        return out
