"""Help for learning rules, which is read when a rule runs: ``single_steps.py``."""

from __future__ import annotations

from typing import Any

from spikecore.api.core.extras import StepwiseLearning


class Stepwise(StepwiseLearning):
    """Gives the engine that runs a rule the derivatives of single steps, if kernels are not switched off. A subclass of
    an engine that overrides how it differentiates does not get them (``instead_of``): its own derivatives are used.
    """

    instead_of = ("__init__", "value_and_grad", "products")  # a constructor may change words, e.g. that of spikes

    def stepwise(self, engine: Any, plain: Any) -> Any:
        help_for_steps = self.derivatives(engine.fused)
        for one in (plain, getattr(plain, "full", plain)):  # in half precision, the engine of steps is another one
            one.extras = (help_for_steps, *one.extras)
        return plain

    def derivatives(self, compiles: Any) -> StepwiseLearning:
        """The derivatives of single steps for an engine with this ``fused``."""
        from spikecore.engines.single_steps import StepDerivatives

        return StepDerivatives(compiles)
