"""Helpers: the states of networks of ``spikecore.nn`` modules, and parts of data sets.

Everything acts on the network given, and on no other.
The functions on states need the extra ``torch``.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

import numpy as np

from spikecore.arguments import checked


def _states() -> Any:
    from spikecore.engines.torch.nn import state

    return state


def reset(net: Any) -> None:
    """Put the states of all neurons of ``net`` to rest, nested ones and ``net`` itself included.

    Args:
        net: an ``nn.Module``.
    """
    _states().reset(net)


def detach(net: Any) -> None:
    """Cut the states of all neurons of ``net`` from the graphs that made them, for truncated BPTT."""
    _states().detach(net)


def get_state(net: Any) -> Dict[str, Any]:
    """The states of all neurons, as tensors by name, e.g. ``"lif1.mem"``; empty tensors (or None) are at rest."""
    found: Dict[str, Any] = _states().get_state(net)
    return found


@checked
def set_state(net: Any, state: Mapping[str, Any]) -> None:
    """Set the states of all neurons from a dict as ``get_state`` returns it.

    Raises:
        KeyError: names that the network does not have, or that are missing; nothing is changed then.
    """
    _states().set_state(net, state)


def keep_memory() -> bool:
    """Let this process keep the memory that it frees and use it again, for as long as it lives.

    Training on a CPU makes and frees arrays of many megabytes at each step. By default the C library returns such
    memory to the system, which has to zero every page before it hands it out again; how much time that takes,
    ``spikecore bench tutorial6`` with and without ``--keep-memory`` shows. Call this once at the start of a program
    that trains; the command ``spikecore`` does, except for ``bench``. The process then stays as large as it once was.

    Returns:
        Whether it could be set: with glibc, as on most Linux systems. Elsewhere nothing happens.
    """
    from spikecore.kernels.runtime.allocator import keep

    return keep()


def _check_parts(owner: str, name: str, dataset: Any) -> None:
    if not (hasattr(dataset, "data") and hasattr(dataset, "targets")):
        raise TypeError(
            f"{owner}: {name} is a {type(dataset).__name__} without data and targets, as torchvision's MNIST has them; "
            "of others take a part with torch.utils.data.Subset, or dataset[:n] of spikecore.datasets"
        )


@checked
def data_subset(dataset: Any, subset: int, idx: int = 0) -> Any:
    """Keep one of ``subset`` equal parts of a data set with ``data`` and ``targets``, in place.

    Args:
        dataset: anything with ``data`` and ``targets`` that can be sliced.
        subset: number of parts of N // subset samples each; 1 keeps everything.
        idx: which part, from 0.

    Returns:
        The data set.

    Raises:
        TypeError: a data set without ``data`` and ``targets``.
        ValueError: ``subset`` or ``idx`` out of range.
    """
    _check_parts("data_subset", "dataset", dataset)
    count = len(dataset.data)
    if not 1 <= subset <= max(count, 1):
        raise ValueError(f"data_subset: subset={subset!r} must be in [1, {count}], the number of samples")
    if not 0 <= idx < subset:
        raise ValueError(f"data_subset: idx={idx!r} must be in [0, {subset})")
    if subset > 1:
        step = count // subset
        part = slice(step * idx, step * (idx + 1))
        dataset.data, dataset.targets = dataset.data[part], dataset.targets[part]
    return dataset


@checked
def valid_split(ds_train: Any, ds_val: Any, split: float, seed: int = 0) -> Tuple[Any, Any]:
    """Share the samples of a data set between training and validation, in place.

    Args:
        ds_train: a data set with ``data`` and ``targets`` (arrays or tensors); keeps n - int(n split) drawn samples.
        ds_val: a data set of the same kind; gets the others, in order.
        split: share of the validation set, in (0, 1).
        seed: names the draw; equal seeds draw as snnTorch does.

    Returns:
        Both data sets.

    Raises:
        ValueError: ``split`` out of range.
    """
    for name, one in (("ds_train", ds_train), ("ds_val", ds_val)):
        _check_parts("valid_split", name, one)
    if not 0.0 < split < 1.0:
        raise ValueError(f"valid_split: split={split!r} must be in (0, 1)")
    count = len(ds_train)
    drawn = np.random.default_rng(seed=seed).choice(count, size=count - int(count * split), replace=False)
    left = np.setdiff1d(np.arange(count), drawn)
    ds_val.data, ds_val.targets = ds_train.data[left], ds_train.targets[left]
    ds_train.data, ds_train.targets = ds_train.data[drawn], ds_train.targets[drawn]
    return ds_train, ds_val
