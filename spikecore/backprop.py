"""Learning through time; see docs/learning.md.

For a ``Model`` on any engine: ``bptt`` (with ``window=`` truncated), ``online`` (e-prop, OTTT) and ``rtrl`` give
gradients, ``learned`` gives that of any rule, and ``model.fit(learning=...)`` trains; ``sc.BPTT``, ``sc.EProp``,
``sc.OSTL``, ``sc.OTTT``, ``sc.NDOT``, ``sc.SLTT``, ``sc.DECOLLE`` and ``sc.RTRL`` are the rules with their options, and
``Learning`` and ``LearningRule`` the bases of your own. For networks of ``spikecore.nn``
modules: ``BPTT``, ``TBPTT`` and ``RTRL`` train one epoch, with snnTorch's signatures; they need the extra ``torch``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

from spikecore.api.core.messages import no_such as _no_such
from spikecore.api.learning.gradients import bptt as bptt
from spikecore.api.learning.gradients import learned as learned
from spikecore.api.learning.gradients import online as online
from spikecore.api.learning.gradients import rtrl as rtrl
from spikecore.api.learning.learning import NAMES as _NAMES
from spikecore.api.learning.learning import Learning as Learning
from spikecore.api.learning.learning import way as _way
from spikecore.api.learning.learning_rules import LearningRule as LearningRule
from spikecore.api.learning.steps import per_step as per_step

if TYPE_CHECKING:
    from spikecore.engines.torch.nn.backprop import BPTT as BPTT
    from spikecore.engines.torch.nn.backprop import RTRL as RTRL
    from spikecore.engines.torch.nn.backprop import TBPTT as TBPTT

MODULES = ("BPTT", "RTRL", "TBPTT")  # those of spikecore.nn, imported on first use


if not TYPE_CHECKING:  # a type checker that saw it would take any name

    def __getattr__(name: str) -> Any:
        if name in MODULES:
            return getattr(importlib.import_module("spikecore.engines.torch.nn.backprop"), name)
        if name in _NAMES:  # the rules of gradients are ``sc.EProp()`` and others
            raise AttributeError(f"module 'spikecore.backprop' has no {name!r}: write sc.{_way(name).__name__}(...)")
        raise _no_such("way of learning", name, globals(), MODULES)


def __dir__() -> List[str]:
    return sorted({*globals(), *MODULES})
