"""The tables of a new run file by ``sc.recipe``: for arrays and tables of the user's own."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Optional

import numpy as np

from spikecore.api.layers.containers import Listed
from spikecore.cli.schema import plain
from spikecore.cli.starts import Start
from spikecore.cli.toml_text import toml_text
from spikecore.recipes import Recipe, look, of_facts
from spikecore.recipes.rules import Choice, cosine

LOOKED = 4096  # samples that are looked at
KEPT = 2**30  # bytes of recordings that are read once, and not in each epoch
WHOLE = {"kind": "WholeSample"}
WINDOWS = [{"kind": "ToFrames", "steps": 4}, WHOLE]  # of recordings of a camera: so many images are channels of one
WARP = {"kind": "Warp"}  # before them, in training
WIDTH = 108  # characters of a line


def recipe_for(train: Any, start: Start, time_axis: Optional[int]) -> Optional[Recipe]:
    """The recipe for training samples; None if there is none for samples of such axes.

    Raises:
        DataError: the samples cannot be learned from.
    """
    shape = np.shape(train[0][0])
    series = time_axis == 1 and len(shape) == 2
    if time_axis is not None and not series:
        return None
    rows = np.linspace(0, len(train) - 1, min(LOOKED, len(train))).astype(int)
    x = np.stack([np.asarray(train[row][0]) for row in rows])
    lengths = None if train.lengths is None or not series else np.asarray(train.lengths)[rows]
    if not series and len(shape) != 3:
        x = x.reshape(len(x), -1)
    targets = np.asarray(train.targets)[rows]
    facts = look(x, targets if start.classes else targets.astype(np.float64), lengths)
    known: Any = {"classes": start.classes, "outputs": start.classes} if start.classes else {}
    if "horizon" in start.data:  # windows of series: the targets need not show that they continue them
        known["ahead"] = start.data["horizon"]
    return of_facts(replace(facts, samples=len(train), **known))


def warped(recipe: Recipe) -> Recipe:
    """The recipe where recordings are turned and stretched anew in each epoch: it takes twice as many epochs."""
    epochs = 2 * recipe.training["epochs"]
    rates, how_rates = cosine(epochs)
    changed = {
        "schedule": how_rates,
        "epochs": Choice("epochs", f"{epochs}", "twice those of other samples: no two epochs see the same ones"),
    }
    choices = (
        Choice("samples", "Warp()", "turned, stretched and slanted a little: as if there were more of them"),
        *(changed.get(choice.what, choice) for choice in recipe.choices),
    )
    return replace(recipe, training={**recipe.training, "epochs": epochs, "schedule": rates}, choices=choices)


def data_keys(recipe: Recipe, start: Start, train: Any) -> Dict[str, Any]:
    """The keys of ``[data]`` that say which samples. The network scales them itself."""
    keys = {key: value for key, value in start.data.items() if key != "scale"}
    if start.recorded:
        if WHOLE not in keys["transforms"]:
            keys["transforms"] = [*keys["transforms"], WHOLE]
        keys["in_memory"] = len(train) * np.asarray(train[0][0]).nbytes <= KEPT
    return keys


def train_keys(recipe: Recipe) -> Dict[str, Any]:
    """The keys of ``[train]``."""
    chosen = recipe.training
    keys = ("loss", "metric", "optimizer", "schedule", "learning")
    found = {"epochs": chosen["epochs"], **{key: plain(chosen[key]) for key in keys if key in chosen}}
    if "learning" in found:
        found["learning"]["kind"] = found["learning"]["kind"].lower()  # ways of learning have names in lower case
    return found


def network_lines(recipe: Recipe, flatten: bool) -> List[str]:
    """The table ``[network]``, with the choices and their reasons."""
    first, width = "#   ", max(len(choice.what) for choice in recipe.choices)
    reasons = [
        line
        for choice in recipe.choices
        for line in textwrap.wrap(
            f"{choice.what:<{width}}  {choice.value}: {choice.why}",
            WIDTH,
            initial_indent=first,
            subsequent_indent=first + " " * (width + 2),
        )
    ]
    return [
        "[network]",
        "# Chosen by sc.recipe, from the sizes and time scales of the training samples:",
        *reasons,
        "layers = [",
        *(['    "Flatten", # what has several axes becomes a vector'] if flatten else []),
        *_lines(recipe.network, "    "),
        "]",
    ]


def _lines(container: Any, indent: str) -> Iterator[str]:
    for layer in container.layers:
        if isinstance(layer, Listed):
            others = {key: value for key, value in plain(layer).items() if key != "layers"}
            yield f"{indent}{{ {toml_text(others)[2:-2]}, layers = ["
            yield from _lines(layer, indent + "  ")
            yield f"{indent}] }},"
        else:
            yield f"{indent}{toml_text(plain(layer))},"
