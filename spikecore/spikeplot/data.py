"""Arrays of any engine as NumPy arrays for drawing, and checks of their shapes."""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, Sequence, Union

import numpy as np


def host(values: Any) -> np.ndarray:
    """Convert an array of any engine to NumPy, without importing that engine."""
    if hasattr(values, "detach"):  # torch; to double, because NumPy has no bfloat16
        values = values.detach().cpu().double()
    elif hasattr(values, "get") and hasattr(values, "__cuda_array_interface__"):  # cupy
        values = values.get()
    return np.asarray(values)


def neurons_of(name: str, values: Any, batch_index: Optional[int]) -> np.ndarray:
    """One sample as (time, neurons); `values` is (time,), (time, neurons), or with `batch_index` (time, batch, ...)."""
    array = host(values)
    if batch_index is None:
        if array.ndim not in (1, 2):
            raise ValueError(
                f"{name} has shape {array.shape}: need (time, neurons), "
                "or batch_index to choose a sample of (time, batch, *features)"
            )
        return array[:, None] if array.ndim == 1 else array
    sample = sample_of(name, array, batch_index)
    return sample.reshape(len(sample), int(np.prod(sample.shape[1:])))


def fired(name: str, values: np.ndarray, graded: bool) -> np.ndarray:
    """The spikes as booleans; unless they are `graded`, values other than 0, 1 and -1 are refused."""
    spikes: np.ndarray = values != 0
    odd = spikes & (np.abs(values) != 1)
    if not graded and odd.any():
        at = tuple(int(i) for i in np.argwhere(odd)[0])
        raise ValueError(
            f"{name}: {int(odd.sum())} of {odd.size} values are no spikes, which are 0 or 1, or -1; the first one, at "
            f"{at}, is {values[at]:.4g}. If these are membrane potentials, give the spikes, such as out.spikes; for "
            "spikes of several sizes and for counts pass graded=True"
        )
    return spikes


def sample_of(name: str, array: np.ndarray, batch_index: int) -> np.ndarray:
    """One sample (time, *features) of an array (time, batch, *features)."""
    if array.ndim < 2 or not -array.shape[1] <= batch_index < array.shape[1]:
        raise ValueError(
            f"batch_index={batch_index}: {name} has shape {array.shape}: need (time, batch, *features), with a batch "
            "that has this sample"
        )
    return array[:, batch_index]


def per_neuron(threshold: Any, neurons: int) -> np.ndarray:
    """An array (neurons,) of thresholds, from one number or one per neuron."""
    level = host(threshold).reshape(-1)
    if level.size not in (1, neurons):
        raise ValueError(f"threshold has {level.size} values: need one, or one for each of {neurons} neurons")
    return np.broadcast_to(level, (neurons,))


def chosen(name: str, wanted: Union[int, Sequence[int]], available: int, what: str, most: int) -> List[int]:
    """Indices of the items to draw, at most `most`; `wanted` is a number of items, from the first, or their indices."""
    if isinstance(wanted, (int, np.integer)):
        shown = list(range(min(int(wanted), available)))
    else:
        shown = [int(index) for index in wanted]
    if not shown or len(shown) > most or not all(0 <= index < available for index in shown):
        raise ValueError(
            f"{name}={wanted!r}: need a count or indices of 1 to {most} of the {available} {what} (from 0)"
        )
    return shown


def names_of(name: str, given: Iterable[Any], neurons: int) -> List[str]:
    """Names of all neurons as text."""
    names = [str(each) for each in given]
    if len(names) != neurons:
        raise ValueError(f"{name} has {len(names)} names: need one for each of {neurons} neurons")
    return names


def first_steps(array: np.ndarray, num_steps: Any) -> np.ndarray:
    """The first `num_steps` of axis 0; False, None and 0 mean all."""
    if not len(array):
        raise ValueError(f"there is no time step to show in an array of shape {array.shape}")
    steps = int(num_steps or len(array))
    if not 1 <= steps <= len(array):
        raise ValueError(f"num_steps={num_steps!r}: need 1 to {len(array)}, the number of time steps")
    return array[:steps]
