"""The JAX engine of spikecore, and networks as pure functions for programs of JAX.

spikecore finds the engine by its entry point; nothing here imports JAX before its first use.
"""

from typing import TYPE_CHECKING, Any

from spikecore.api.core.engines import EngineEntry

if TYPE_CHECKING:
    from spikecore_jax.flax_module import FlaxNetwork as FlaxNetwork
    from spikecore_jax.pure import PureNetwork as PureNetwork

ENGINE = EngineEntry(
    "spikecore_jax.engine:JaxEngine",
    needs=("jax",),
    install='pip install "jax>=0.8", or "jax[cuda13]>=0.8" for NVIDIA GPUs, "jax[tpu]>=0.8" for TPUs',
    modules=("jax", "jaxlib"),
    of="spikecore_jax.engine:engine_of",
)


def __getattr__(name: str) -> Any:
    if name == "PureNetwork":
        from spikecore_jax.pure import PureNetwork

        return PureNetwork
    if name == "FlaxNetwork":
        from spikecore_jax.flax_module import FlaxNetwork

        return FlaxNetwork
    raise AttributeError(f"spikecore_jax has no {name!r}; it has ENGINE, PureNetwork and FlaxNetwork")
