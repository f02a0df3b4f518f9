"""Trained networks that come with the library, as models; what is known of each is in ``model.notes``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple, Union

from spikecore import Model, load
from spikecore.api.core.engines import EngineName
from spikecore.api.training.checkpoint import read
from spikecore.arguments import checked, unknown
from spikecore.base import Engine
from spikecore.printing import columns, table

WEIGHTS = Path(__file__).parent / "weights"
HEAD = ("name", "architecture", "data", "inputs", "steps", "test accuracy", "parameters")


class Trained(Dict[str, Mapping[str, Any]]):
    """Notes of trained networks by name; they print as a table."""

    def _rows(self) -> Tuple[Tuple[str, ...], ...]:
        return tuple(
            (
                name,
                notes["architecture"],
                notes["data"],
                notes["inputs"],
                str(notes["num_steps"]),
                f"{notes['accuracy']:.1%} of {notes['test_samples']}",
                f"{notes['parameters']:,}",
            )
            for name, notes in self.items()
        )

    def __repr__(self) -> str:
        return columns([HEAD, *self._rows()], left=4)

    def _repr_html_(self) -> str:
        return table("spikecore.zoo, trained", self._rows(), HEAD)


def list_pretrained() -> Trained:
    """All trained networks; prints as a table.

    Returns:
        a dict of the notes of each network by its name: architecture, data and their licence, inputs, steps, recipe,
        seed, test accuracy, and what ``sc.verify`` said of the gradients.
    """
    return Trained((path.stem, read(path).about["notes"]) for path in _files())


def _files() -> List[Path]:
    return sorted(WEIGHTS.glob("*.safetensors"))


@checked
def pretrained(name: str, engine: Union[None, EngineName, Engine] = None, **options: Any) -> Model:
    """A trained network of the library, ready to predict, to stream or to be trained further.

    Args:
        name: e.g. "fashion_mnist"; ``list_pretrained()`` shows all.
        engine: an Engine or its name; None, the default, means ``$SPIKECORE_ENGINE``, or "numpy" if that is unset.
        **options: passed to the engine if it is given by name.

    Returns:
        the ``Model``. ``model.notes`` has facts about it, e.g. ``model.notes["inputs"]``, the form of a sample,
        and ``model.notes["num_steps"]``, the number of time steps that it was trained with.

    Raises:
        ValueError: there is no such network.

    Example:
        >>> model = zoo.pretrained("digits")
        >>> model.predict(images, num_steps=model.notes["num_steps"])
    """
    paths = {path.stem: path for path in _files()}
    if name not in paths:
        raise ValueError(unknown("trained network", name, paths))
    model: Model = load(paths[name], engine, **options)
    return model
