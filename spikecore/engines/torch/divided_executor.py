"""Training with weights, gradients and moments in parts, of which each rank holds one (``parallel="fsdp"``)."""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from spikecore.api.core.executor import Divided
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves
from spikecore.api.layers.network import Output
from spikecore.api.training.together import digest
from spikecore.engines.torch.executor import TorchExecutor
from spikecore.engines.torch.gathering import divided, gathered, join_collectives, lowers, mesh_of, whole
from spikecore.engines.torch.ranks import Reduction


class DividedExecutor(TorchExecutor, Divided):
    """Trains one network whose weights are divided among ranks. See ``TorchExecutor``.

    Leaves of ``params`` are DTensors, so torch's optimisers, its clipping and its scaler work on slices, and an
    operation on a slice that should have been gathered is an error of torch.
    """

    @property
    def divided(self) -> Divided:
        return self

    @property
    def rank(self) -> int:  # type: ignore[override]
        return self.ranks.rank

    def __init__(self, engine: Any, *parts: Any, **options: Any) -> None:
        engine = copy.copy(engine)
        engine.gathers = True
        self.mesh, self.times, self.placed = mesh_of(engine.device), 0, ""
        super().__init__(engine, *parts, **options)

    # ---- weights and moments in parts ----

    def place(self, params: Params, buffers: Tree) -> None:
        self.times += 1
        self.placed = f"{self.times}: {digest({**flatten(params), **flatten(buffers)})}"
        super().place(params, buffers)

    def _on_device(self, params: Params) -> Params:
        return map_leaves(lambda x: divided(self._copied(x), self.mesh), params)  # type: ignore[no-any-return]

    def _reduced(self, weights: List[Any]) -> Optional[Reduction]:
        return None  # gradients are summed within the backward pass

    def load_slots(self, slots: Dict[str, Any]) -> None:
        self.placed += digest({name: self.engine.to_numpy(x) for name, x in slots.items()})
        super().load_slots({name: divided(x, self.mesh) for name, x in slots.items()})

    def slots(self) -> Dict[str, Any]:
        return {name: whole(x) for name, x in super().slots().items()}

    def weights(self) -> Dict[str, Any]:
        return {name: self.engine.to_numpy(whole(x)).copy() for name, x in leaves(self.params)}

    def own_weights(self) -> Dict[str, Any]:
        return {name: self.engine.to_numpy(x.to_local()) for name, x in leaves(self.params)}

    # ---- passes ----

    def used(self) -> Params:
        if lowers(self.network):
            return super().used()
        return map_leaves(gathered, self.params)  # type: ignore[no-any-return]  # one layer: it is all there is

    def join_collectives(self) -> None:
        with torch.no_grad():
            join_collectives(self.engine, self.network, self.params)

    def step(self, *operands: Any, **options: Any) -> Tuple[float, Output]:
        raise NotImplementedError(self._refusal("train_step"))

    def add(
        self,
        inputs: Any,
        targets: Any,
        *,
        weight: float = 1.0,
        whole: Optional[int] = None,
        last: bool = False,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        if whole is None:
            raise NotImplementedError(self._refusal("value_and_grad"))
        options: Any = {"steps": steps, "key": key, "state": state, "lengths": lengths}
        return super().add(inputs, targets, weight=weight, whole=whole, last=last, **options)

    def _read(self, x: Any) -> List[float]:
        return super()._read(whole(x))

    def apply(self, grads: Params) -> None:
        raise NotImplementedError(self._refusal("apply"))

    @staticmethod
    def _refusal(method: str) -> str:
        return (
            f"model.{method}: fit with parallel='fsdp' has divided the weights among processes. Train on with fit, or "
            "take a model with whole weights, model.to_engine('torch'), which all processes must call"
        )
