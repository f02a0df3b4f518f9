"""Help for learning rules, which is read when a rule runs: ``single_steps.py``."""

from __future__ import annotations

from typing import Any

from spikecore.api.core.extras import StepwiseLearning


class Stepwise(StepwiseLearning):
    """Gives the engine that runs a rule ``StepDerivatives``."""

    instead_of = ("__init__", "value_and_grad", "products")  # as of ``StepDerivatives``

    def stepwise(self, engine: Any, plain: Any) -> Any:
        from spikecore.engines.single_steps import StepDerivatives

        return StepDerivatives().stepwise(engine, plain)
