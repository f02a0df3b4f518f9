"""The JAX engine of spikecore. spikecore finds it by its entry point; nothing here imports JAX before its first use."""

from spikecore.api.core.engines import EngineEntry

ENGINE = EngineEntry(
    "spikecore_jax.engine:JaxEngine",
    needs=("jax",),
    install="pip install jax, or jax[cuda13] for NVIDIA GPUs, jax[tpu] for TPUs",
    modules=("jax", "jaxlib"),
)
