"""The devices of an engine: one, or several that share the samples of a batch."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from spikecore.api.core.sizes import is_whole

BATCH = "batch"  # the axis of the mesh


def chosen(device: str | None, devices: int) -> list[Any]:
    """The JAX devices that an engine computes on.

    Args:
        device: a platform of JAX ("cpu", "gpu", "cuda", "tpu"), with ":n" for its n-th device; None: JAX's default.
        devices: how many, beginning with that one.

    Raises:
        ValueError: there is no such device, or there are not so many.
    """
    platform, _, place = ("" if device is None else str(device)).partition(":")
    if (device is not None and not platform) or (place and not place.isdigit()):
        raise ValueError(f"device={device!r} must be a platform of JAX, e.g. 'cpu', 'cuda' or 'tpu', or 'cuda:1'")
    try:
        known = jax.devices(platform or None)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r}: JAX has no such platform here ({str(error).splitlines()[0]}); its default is "
            f"device={jax.default_backend()!r}"
        ) from None
    if not is_whole(devices, 1):
        raise ValueError(f"devices={devices!r} must be a number of devices, at least 1")
    first = int(place or 0)
    if first + devices > len(known):
        raise ValueError(
            f"device={device!r}, devices={devices!r}: JAX has {len(known)} device(s) here: "
            f"{', '.join(map(name_of, known))}"
        )
    return list(known[first : first + devices])


def name_of(device: Any) -> str:
    """A JAX device as text, e.g. "cpu" or "cuda:1"; the first of its platform has no number."""
    platform = str(device.platform)
    same = jax.devices(platform)
    return platform if device == same[0] else f"{platform}:{same.index(device)}"


def whole(devices: list[Any]) -> Any:
    """The sharding of an array that each of the devices has whole."""
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0])
    return NamedSharding(Mesh(np.array(devices), (BATCH,)), PartitionSpec())


def divided(place: Any, axis: int, samples: int) -> Any:
    """The sharding of an array whose samples, counted by ``axis``, are divided among the devices of ``place``.

    A batch that cannot be divided evenly is whole on each device.
    """
    if not isinstance(place, NamedSharding) or samples % place.mesh.size:
        return place
    return NamedSharding(place.mesh, PartitionSpec(*(None,) * axis, BATCH))
