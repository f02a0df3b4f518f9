"""``sc.recipe``: what it gives."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike
from spikecore.base import Layer
from spikecore.recipes import labels, rules
from spikecore.recipes.look import Facts, look
from spikecore.recipes.rules import Choice
from spikecore.samples import checked, stacked

WIDTH = 118


@dataclass(frozen=True, repr=False)
class Recipe:
    """A network and the arguments of its training. ``print(recipe)`` shows each choice with its reason.

    Args:
        network: for ``sc.Model``.
        training: keyword arguments for ``model.fit``; replace the entries that you want otherwise.
        feed: those of them that say how samples become sequences, for ``predict``, ``evaluate`` and the model itself.
        choices: what was chosen, and why.
        facts: what was read off the data.
    """

    network: Layer
    training: Dict[str, Any]
    feed: Dict[str, Any]
    choices: Tuple[Choice, ...]
    facts: Facts

    def padded(self, x: Any) -> Any:
        """Series of unequal length as an array (n, steps, features), if the network sees series whole.

        Zeros are added at the end, up to the longest series of the training data; longer series are cut. Anything else
        comes back as it is.

        Args:
            x: a list of series (steps, features), or whatever else ``recipe`` takes.
        """
        whole = self.facts.steps and "num_steps" in self.feed
        return stacked([np.asarray(one) for one in x], self.facts.shape[0], time_axis=1) if whole else x

    def __repr__(self) -> str:
        columns = [max(len(choice[i]) for choice in self.choices) for i in (0, 1)]
        lines = []
        for what, value, why in self.choices:
            start = f"{what:<{columns[0]}}  {value:<{columns[1]}}  "
            wrapped = textwrap.wrap(why, max(40, WIDTH - len(start)))
            lines += [start + wrapped[0], *(" " * len(start) + line for line in wrapped[1:])]
        return "\n".join(lines)


@checked
def recipe(x: Any, y: Union[ArrayLike, Sequence[ArrayLike]], lengths: Optional[ArrayLike] = None) -> Recipe:
    """A network and a training to begin with, chosen by rules from the sizes and time scales of the training data.

    Nothing is trained or searched, so it takes milliseconds. The page "What it learns" has the rules, and how well they
    do on everyday data.

    Args:
        x: the training samples: a table (n, features), series (n, steps, features), a list of series (steps, features)
            of unequal length, or images (n, channels, height, width). Any scale will do. Train on ``recipe.padded(x)``
            if series differ in length.
        y: their classes (n,), integers from 0; a class for each step of series, (n, steps) or a list of arrays
            (steps,), where steps of class -1 do not count; or numbers of a float dtype, (n,) or (n, k), in any unit:
            the loss has their mean and deviation, and ``predict`` answers in their unit.
        lengths: how many steps of each series count, (n,), if ``x`` is padded at the end; None, the default: all.

    Returns:
        a ``Recipe``: ``network``, for ``sc.Model``; ``training``, a dict with keyword arguments for ``model.fit``, of
        which you can replace entries; ``feed``, those of them that say how samples become sequences, for ``predict``,
        ``evaluate`` and the model itself; ``choices``, each with ``what``, ``value`` and ``why``, which
        ``print(recipe)`` shows.

    Raises:
        DataError: the data have NaNs, text, one class or too few samples; the message names the remedy.

    Example:
        >>> recipe = sc.recipe(x, y)
        >>> print(recipe)
        >>> model = sc.Model(recipe.network, engine="numpy")
        >>> model.fit(x, y, **recipe.training)
        >>> model.predict(x_test, **recipe.feed)
    """
    return of_facts(look(x, y, lengths))


def of_facts(facts: Facts) -> Recipe:
    """The recipe for data of which these facts are known."""
    by = labels if facts.by_step else rules
    layers, chosen = by.network(facts)
    arguments, feed, others = by.training(facts)
    return Recipe(layers, arguments, feed, (*chosen, *others), facts)
