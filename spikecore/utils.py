"""Helpers: the states of networks of ``spikecore.nn`` modules, parts of data sets, and the memory of a process.

The functions on states change only the network that you pass, and need the extra ``torch``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Protocol, Tuple, TypeVar

import numpy as np

from spikecore.arguments import checked

if TYPE_CHECKING:
    from torch.nn import Module


class Labelled(Protocol):
    """A data set with ``data`` and ``targets`` that can be sliced, such as torchvision's MNIST."""

    data: Any
    targets: Any

    def __len__(self) -> int: ...


Parts = TypeVar("Parts", bound=Labelled)


def _states() -> Any:
    from spikecore.engines.torch.nn import state

    return state


def reset(net: Module) -> None:
    """Reset the states of all neurons of ``net`` to rest. Nested neurons and ``net`` itself are included.

    Args:
        net: an ``nn.Module``.
    """
    _states().reset(net)


def detach(net: Module) -> None:
    """Detach the states of all neurons of ``net`` from autograd's graph, for truncated BPTT.

    Args:
        net: an ``nn.Module``.
    """
    _states().detach(net)


def get_state(net: Module) -> Dict[str, Any]:
    """The states of all neurons of ``net``, as tensors by name, e.g. ``"lif1.mem"``.

    An empty tensor or None is a state at rest.

    Args:
        net: an ``nn.Module``.
    """
    states: Dict[str, Any] = _states().get_state(net)
    return states


@checked
def set_state(net: Any, state: Mapping[str, Any]) -> None:
    """Set the states of all neurons of ``net``.

    Args:
        net: an ``nn.Module``.
        state: a dict from ``get_state``.

    Raises:
        KeyError: a name is unknown or missing; no state is changed then.
    """
    _states().set_state(net, state)


def keep_memory() -> bool:
    """Make this process keep the memory that it frees, and use it again. Call this at the start of a training program.

    Training on a CPU allocates and frees arrays of many megabytes at each step. By default the C library returns such
    memory to the system, and the system fills every page with zeros before it gives it out again. ``spikecore bench
    tutorial6`` with and without ``--keep-memory`` shows how much time this takes. The command ``spikecore`` calls this
    function, except for ``bench``. The memory of the process then never shrinks.

    Returns:
        True if the C library is glibc, as on most Linux systems; otherwise False, and nothing is changed.
    """
    from spikecore.kernels.runtime.allocator import keep

    return keep()


def _check_parts(owner: str, name: str, dataset: Any) -> None:
    if not (hasattr(dataset, "data") and hasattr(dataset, "targets")):
        raise TypeError(
            f"{owner}: {name} is a {type(dataset).__name__} without data and targets, which torchvision's MNIST has; "
            "for other data sets use torch.utils.data.Subset, or dataset[:n] of spikecore.datasets"
        )


@checked
def data_subset(dataset: Parts, subset: int, idx: int = 0) -> Parts:
    """Reduce a data set to one of ``subset`` equal parts, in place.

    Args:
        dataset: any object whose attributes ``data`` and ``targets`` can be sliced.
        subset: number of parts, in [1, N]; each has N // subset of the N samples. 1 keeps all samples.
        idx: number of the part to keep, in [0, subset). Default 0.

    Returns:
        The same data set.

    Raises:
        TypeError: the data set has no ``data`` and ``targets``.
        ValueError: ``subset`` or ``idx`` is out of range.
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
def valid_split(ds_train: Parts, ds_val: Parts, split: float, seed: int = 0) -> Tuple[Parts, Parts]:
    """Move a random part of a training set to a validation set, in place.

    Args:
        ds_train: a data set with ``data`` and ``targets`` (arrays or tensors); keeps n - int(n split) random samples.
        ds_val: a data set of the same kind; its samples are replaced by the others, in their order.
        split: fraction of the validation set, in (0, 1).
        seed: of the random choice; the same seed chooses the same samples in snnTorch.

    Returns:
        Both data sets.

    Raises:
        TypeError: a data set has no ``data`` and ``targets``.
        ValueError: ``split`` is out of range.
    """
    for name, dataset in (("ds_train", ds_train), ("ds_val", ds_val)):
        _check_parts("valid_split", name, dataset)
    if not 0.0 < split < 1.0:
        raise ValueError(f"valid_split: split={split!r} must be in (0, 1)")
    count = len(ds_train)
    training = np.random.default_rng(seed=seed).choice(count, size=count - int(count * split), replace=False)
    validation = np.setdiff1d(np.arange(count), training)
    ds_val.data, ds_val.targets = ds_train.data[validation], ds_train.targets[validation]
    ds_train.data, ds_train.targets = ds_train.data[training], ds_train.targets[training]
    return ds_train, ds_val
