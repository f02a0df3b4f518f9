"""The JAX engine of spikecore. spikecore finds it by its entry point; nothing here imports JAX before its first use."""

from spikecore.api.core.engines import EngineEntry

ENGINE = EngineEntry(
    "spikecore_jax.engine:JaxEngine",
    needs=("jax",),
    install='pip install "jax>=0.8", or "jax[cuda13]>=0.8" for NVIDIA GPUs, "jax[tpu]>=0.8" for TPUs',
    modules=("jax", "jaxlib"),
    of="spikecore_jax.engine:engine_of",
)
