"""The table ``[train]`` of a run file: how the network learns, and what is measured beside it."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Optional, Tuple

from pydantic import BeforeValidator, Field, field_validator, model_validator
from typing_extensions import Annotated

from spikecore import Compute
from spikecore.api.functional.metrics import OWN, metrics_of
from spikecore.api.learning.learning import UNSUPERVISED
from spikecore.api.learning.steps import stepwise
from spikecore.backprop import LearningRule
from spikecore.cli.learning_table import AnyLearning, is_plasticity
from spikecore.cli.schema import (
    VOTE,
    AnyCompute,
    AnyLoss,
    AnyMetric,
    AnyOptimizer,
    AnyPruning,
    AnyRegulariser,
    AnyRewiring,
    AnySchedule,
    Section,
    Stopping,
)


def _several(value: Any) -> Any:
    """Put a single metric into a list."""
    return [value] if isinstance(value, (str, dict)) else value


def _with_costs(loss: Any, regularisers: List[Any]) -> Any:
    """The sum of a loss and regularisers; without a loss, that of a training that has none."""
    total = UNSUPERVISED if loss is None else loss.make()
    for cost in regularisers:
        total = total + cost.make()
    return total


class Train(Section):
    """The options of training."""

    #: Keys of before, and the tables in which they are now.
    moved: ClassVar[Dict[str, str]] = {
        "clip_norm": "optimizer",
        **dict.fromkeys(("window", "update_every"), "learning"),
        **dict.fromkeys(("accumulate", "parallel", "memory", "compile"), "compute"),
    }

    epochs: int = Field(20, ge=1, description="how often to go through the training samples")
    loss: Optional[AnyLoss] = Field({}, description="what to minimise")
    regularisers: List[AnyRegulariser] = Field([], description="costs of activity that are added to the loss")
    metric: Annotated[Optional[List[AnyMetric]], BeforeValidator(_several)] = Field(
        None, description="what to report beside the loss, one or several; default the loss's own accuracy"
    )
    optimizer: Optional[AnyOptimizer] = Field(
        {"kind": "Adam", "lr": 5e-4}, description="how weights follow their gradients; lr is the learning rate"
    )
    schedule: AnySchedule = Field({}, description="factor of the learning rate by epoch")
    learning: AnyLearning = Field(
        {}, description="rule that computes gradients, back in time or forward; or 'Plasticity', local rules by layer"
    )
    compute: AnyCompute = Field(
        {}, description="with which processes, in how much memory, compiled or not: the arguments of sc.Compute"
    )
    save_within: Optional[float] = Field(
        None, gt=0, description="seconds from SIGTERM to the end of the process, even within a step of training"
    )
    early_stopping: Optional[Stopping] = Field(None, description="when to stop before the last epoch")  # type: ignore[valid-type]
    pruning: Optional[AnyPruning] = Field(  # type: ignore[valid-type]
        None, description="how many connections to take away, and when; with optimizer.keep_zeros = true"
    )
    rewiring: Optional[AnyRewiring] = Field(  # type: ignore[valid-type]
        None, description="a sparse network whose connections move; with optimizer.keep_zeros = true"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_gradients(cls, values: Any) -> Any:
        """Local rules have no optimiser, and a loss is only reported: neither has a default with them."""
        if isinstance(values, dict) and is_plasticity(values.get("learning")):
            return {"loss": None, "optimizer": None, **values}
        return values

    @field_validator("learning")
    @classmethod
    def _forward(cls, value: Any, info: Any) -> Any:
        """Learning forward in time takes only losses that are sums over single steps."""
        if isinstance(value.make(), LearningRule) and "loss" in info.data:
            stepwise(_with_costs(info.data["loss"], info.data.get("regularisers", [])))
        return value

    @model_validator(mode="after")
    def _local(self) -> Train:
        """Refuse keys for gradients with local rules, and keys for these without them."""
        if not self.plastic:
            if self.voting is not None:
                raise ValueError("metric.kind = 'accuracy_vote' is for learning.kind = 'Plasticity'")
            return self
        kinds = [metric.kind for metric in self.metric or ()]
        if kinds.count(VOTE) > 1:
            raise ValueError(f"metric: {VOTE!r} comes twice: name it once")
        if OWN in kinds and self.loss is None:
            raise ValueError(
                f"metric: {OWN!r} decides as the loss does, and there is none: use {VOTE!r}, or name a loss"
            )
        given = [name for name in ("optimizer", "regularisers") if getattr(self, name)]
        usual, compute = Compute(), self.computing
        for name in ("memory", "compile", "accumulate", "cuda_graph"):
            given += [f"compute.{name}"] * (getattr(compute, name) != getattr(usual, name))
        if given:
            keys = "the key" if len(given) == 1 else "these keys"
            raise ValueError(
                f"{', '.join(given)}: for gradients, and learning.kind = 'Plasticity' has none: remove {keys}; the "
                "rules have their own rates, which schedule scales"
            )
        return self

    @model_validator(mode="after")
    def _keeps_zeros(self) -> Train:
        """Refuse pruning and rewiring with an optimiser, or local rules, that bring connections back."""
        place = "learning" if self.plastic else "optimizer"
        for name in ("pruning", "rewiring"):
            if getattr(self, name) is not None and not getattr(self, place).keep_zeros:
                raise ValueError(f"{name} needs {place}.keep_zeros = true, so that connections stay away")
        return self

    @property
    def plastic(self) -> bool:
        """Whether local rules learn, without gradients."""
        return is_plasticity(self.learning)

    @property
    def voting(self) -> Optional[Any]:
        """The metric by which neurons vote for classes; None if there is none."""
        return next((metric for metric in self.metric or () if metric.kind == VOTE), None)

    @property
    def measured(self) -> List[Any]:
        """The metrics that a batch is enough for: all others."""
        return [metric for metric in self.metric or () if metric.kind != VOTE]

    @property
    def columns(self) -> Tuple[List[str], List[str]]:
        """The columns of loss and metrics in a row of the history: those of training, and those of validation."""
        loss = [] if self.loss is None else ["loss"]
        own = (
            [*metrics_of(None, self.objective())] if self.metric is None else [metric.kind for metric in self.measured]
        )
        named = own if self.loss is not None else [metric.kind for metric in self.measured] or ["rate"]
        votes = [] if self.voting is None else [VOTE]
        return [*loss, *named], [f"val_{name}" for name in (*loss, *named, *votes)]

    def update_rule(self) -> Any:
        """The optimiser; None for local rules."""
        return None if self.optimizer is None else self.optimizer.make()

    @property
    def computing(self) -> Compute:
        """The processes, memory and compilation of the training."""
        compute: Compute = self.compute.make()
        return compute

    def objective(self) -> Any:
        """The loss with its regularisers: what training makes small."""
        return _with_costs(self.loss, self.regularisers)
