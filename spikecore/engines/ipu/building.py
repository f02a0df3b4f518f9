"""Build ``poptorch.Options`` from the options of the engine."""

from __future__ import annotations

from typing import Any

import torch


def build(settings: Any, poptorch: Any, training: bool, buffers: bool) -> Any:
    """The ``poptorch.Options`` of a training or an inference model.

    Args:
        settings: an ``IpuOptions``.
        poptorch: the module, or the simulation of it.
        training: True for a training model, False for an inference model.
        buffers: whether the network changes buffers (running statistics).
    """
    options = poptorch.Options() if settings.options is None else settings.options.clone()
    options.deviceIterations(settings.device_iterations if training else settings.inference_iterations)
    options.replicationFactor(settings.replication_factor)
    if training:
        options.Training.gradientAccumulation(settings.gradient_accumulation)
    options.outputMode(poptorch.OutputMode.All)  # in training the default returns only the last part of the batch
    if settings.replication_factor > 1 and buffers:
        options.broadcastBuffers(False)
    _memory(settings, options)
    _precision(settings, options)
    _device(settings, options)
    return options


def _memory(settings: Any, options: Any) -> None:
    if settings.available_memory_proportion is not None:
        share = float(settings.available_memory_proportion)
        options.setAvailableMemoryProportion({f"IPU{i}": share for i in range(settings.stages)})
    if settings.recompute:
        kind = 3 if settings.stages > 1 else 1  # values of popart::RecomputationType: 3 is Pipeline, 1 is Standard
        options._Popart.set("autoRecomputation", kind)
    if settings.prefetch_depth is not None:
        options._Popart.set("defaultPrefetchBufferingDepth", settings.prefetch_depth)


def _precision(settings: Any, options: Any) -> None:
    if settings.partials_type is not None:
        options.Precision.setPartialsType({"half": torch.half, "float": torch.float}[settings.partials_type])
    if settings.stochastic_rounding:
        options.Precision.enableStochasticRounding(True)


def _device(settings: Any, options: Any) -> None:
    if settings.random_seed is not None:
        options.randomSeed(settings.random_seed)
    if settings.executable_cache_dir is not None:
        options.enableExecutableCaching(settings.executable_cache_dir)
    if settings.use_ipu_model:
        options.useIpuModel(True)
    if settings.offline_target is not None:
        options.useOfflineIpuTarget(settings.offline_target)
    if settings.profile_dir is not None:
        options.enableProfiling(settings.profile_dir)
    if settings.stages > 1:
        options.autoRoundNumIPUs(True)
