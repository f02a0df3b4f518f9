"""``PlasticRun``: runs a network and lets its rules change it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from spikecore.api.core.layer import layer_name
from spikecore.api.core.tree import State, at, flatten, rebuild
from spikecore.api.layers.network import Output, RecordedStates, record_option
from spikecore.api.learning.homeostasis import TINY, AdaptiveThreshold
from spikecore.api.learning.plasticity import reward_on
from spikecore.arguments import shown

if TYPE_CHECKING:
    from spikecore.api.learning.plastic_network import Plasticity, Site


def check_carries(executor: Any) -> None:
    """Refuse an executor whose weights rules cannot change.

    Raises:
        NotImplementedError: the engine keeps weights on the device.
    """
    if executor.gradients is None:
        raise NotImplementedError(
            f"engine {executor.engine.name!r} keeps weights on the device, where rules cannot change them: use numpy, "
            "torch"
        )


class PlasticRun:
    """Runs a network and lets its rules change it.

    Args:
        plasticity: the rules.
        executor: what runs the network, and holds its parameters.
        record: whose states the outputs are to have, as for ``Executor.run``.

    Raises:
        NotImplementedError: see ``check_carries``.
        ValueError: the rules do not fit the network.
    """

    def __init__(self, plasticity: Plasticity, executor: Any, record: Any = ()) -> None:
        check_carries(executor)
        self.plasticity, self.executor = plasticity, executor
        self.sites = plasticity.sites(executor.network)
        known = flatten(executor.params)
        for site in self.sites:
            if site.parameter not in known:
                raise ValueError(
                    f"Plasticity: the network has no parameter {site.parameter!r}: a threshold changes if it is "
                    'learned, e.g. threshold=sc.learn(1.0, per="neuron")'
                )
        self.wanted = record_option(executor.network, record)
        needed = [name for site in self.sites for name in (site.neuron, site.source) if name is not None]
        self.record = True if self.wanted is True else tuple(dict.fromkeys((*(self.wanted or ()), *needed)))
        self.reset()

    def reset(self) -> None:
        """Forget the traces: a new sequence begins."""
        self.traces: Dict[Tuple[str, int], State] = {}
        self.seen: Any = None

    def feed(self, x: Any, state: Any = None, steps: Optional[int] = None) -> Output:
        """Run a piece (time, batch, *features), or (1, batch, *features) with ``steps``, from ``state``."""
        out: Output = self.executor.run(x, state, steps=steps, record=self.record)
        self.seen = x, state, out
        if self.wanted is True:
            return out
        return replace(out, states=RecordedStates({n: s for n, s in out.states.items() if n in (self.wanted or ())}))

    def check_reward(self, reward: Any, samples: int) -> None:
        """Refuse a reward that is missing, that no rule takes, not finite, or not one number or one per sample.

        Raises:
            ValueError, ShapeError: says what is allowed.
        """
        if not self.plasticity.rewarded:
            if reward is not None:
                raise ValueError(f"reward={shown(reward)} is for RewardSTDP, and there is no such rule: leave it out")
            return
        if reward is None:
            raise ValueError(
                "RewardSTDP needs a reward: Plasticity(..., reward=function) in fit, step(x, reward=...) in a stream"
            )
        engine = self.executor.engine
        if not bool(engine.to_numpy(engine.xp.all(engine.xp.isfinite(reward_on(engine, reward, samples))))):
            raise ValueError(f"reward={shown(reward)} must be finite")

    def update(self, lr: float = 1.0, reward: Any = None) -> None:
        """Let the rules change the parameters after a piece; ``lr`` is a factor of all changes.

        Raises:
            ValueError, ShapeError: a rule needs a reward, and there is none, or it does not fit.
        """
        samples = int(self.seen[2].spikes.shape[1])
        self.check_reward(reward, samples)
        params = {name: self.executor.engine.stop_gradient(x) for name, x in flatten(self.executor.params).items()}
        factor = lr / samples if self.plasticity.reduction == "mean" else lr
        for site in self.sites:
            change = self._change(site, params[site.parameter], reward)
            changed = params[site.parameter] + factor * change
            for limit in site.limits:
                changed = limit.apply(changed)
            keeps = self.plasticity.keep_zeros and site.connects
            params[site.parameter] = self._connected(params[site.parameter], changed) if keeps else changed
        self.executor.gradients.assign(rebuild(self.executor.params, iter(params.values())))

    def _connected(self, before: Any, after: Any) -> Any:
        """The weights of the connections that exist; those of all others stay zero."""
        xp = self.executor.engine.xp
        zero = xp.zeros_like(before)
        return xp.where(before == zero, zero, xp.where(after == zero, zero + TINY, after))

    def _change(self, site: Site, parameter: Any, reward: Any) -> Any:
        """The sum of the changes of a site's rules."""
        _, _, out = self.seen
        neuron, total = out.states[site.neuron], 0.0
        post = neuron.spikes
        if isinstance(site.rules[0], AdaptiveThreshold):
            return sum((rule.run(parameter, post) for rule in site.rules[1:]), site.rules[0].run(parameter, post))
        pre = self._pre(site, post)
        for i, rule in enumerate(site.rules):
            given: Dict[str, Any] = {"reward": reward} if rule.rewarded else {}
            if rule.reads_membrane:
                given["mem"] = self._membrane(site, rule, neuron)
            key = site.parameter, i
            change, self.traces[key] = rule.run(parameter, pre, post, self.traces.get(key), **given)
            total = total + change
        return total

    def _membrane(self, site: Site, rule: Any, neuron: State) -> Any:
        if "mem" not in neuron or tuple(neuron.mem.shape) != tuple(neuron.spikes.shape):
            raise ValueError(
                f"{layer_name(rule)} reads a membrane for each neuron, but layer {site.neuron} has the states "
                f"{', '.join(n for n in neuron if n != 'spikes')}"
            )
        return neuron.mem

    def _pre(self, site: Site, post: Any) -> Any:
        """The input of the layer at each step: (time, batch, *inputs)."""
        x, state, out = self.seen
        xp, steps = self.executor.engine.xp, int(post.shape[0])
        if site.recurrent:
            first = xp.zeros_like(post[:1, ...])
            if state is not None:
                first = xp.expand_dims(at(state, site.neuron).spk, axis=0)
            return xp.concat([first, post[:-1, ...]], axis=0)
        x = x if site.source is None else out.states[site.source].spikes
        for path, layer in site.between:
            params, buffers = at(self.executor.params, path), at(self.executor.buffers, path)
            x, _ = layer.apply(self.executor.engine, params, buffers, x, train=False, key=None)
        return x if x.shape[0] == steps else xp.broadcast_to(x, (steps, *x.shape[1:]))
