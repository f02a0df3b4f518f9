"""The options of the IPU engine: checked on any machine, then turned into ``poptorch.Options``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from spikecore.api.core.messages import unknown
from spikecore.engines.ipu.building import build
from spikecore.printing import Concise

PARTIALS = ("half", "float")
SHORT_BATCH = ("drop", "pad")


def unknown_option(name: str, known: Sequence[str]) -> str:
    """The message for an option that does not exist."""
    return unknown("engine option", name, (*known, "simulate", "host_gradients"))


@dataclass(frozen=True)
class IpuOptions(Concise):
    """The options of the IPU engine; ``[engine_options]`` in a run file.

    Args:
        device_iterations: optimiser steps in one call of the device, >= 1; the batch is cut into as many parts.
        gradient_accumulation: parts of a batch whose mean gradient makes one optimiser step, >= 1; with a pipeline of
            n stages >= 2 n - 1.
        replication_factor: copies of the network, >= 1; each gets a part of the batch.
        available_memory_proportion: share of each IPU's memory for temporaries of matmuls and convolutions, in (0, 1];
            None leaves it to PopTorch.
        half: compute the whole network in float16; set ``loss_scaling`` as well.
        loss_scaling: factor of the loss, > 0, so that float16 gradients do not underflow; None is 1.
        partials_type: "half" or "float", the type of partial sums in matmuls and convolutions.
        stochastic_rounding: round float16 results at random instead of to the nearest.
        executable_cache_dir: directory in which PopTorch caches compiled programs; None caches nothing.
        random_seed: seed of the device's generator, >= 0, e.g. for stochastic rounding; spikecore draws on the host.
        pipeline: for each stage, the name of its first top-level layer and the IPU that runs it, e.g. {"0": 0, "2": 1}.
            It begins with the first layer, and IPUs are 0, 1, 2, ...
        recompute: recompute activations in the backward pass instead of keeping them.
        prefetch_depth: number of batches that are fetched ahead, >= 1; None leaves it to PopTorch.
        use_ipu_model: run on Graphcore's emulator, which needs the whole SDK. ``simulate=True`` needs no SDK.
        offline_target: IPU architecture, 1, 2 or 21, to compile for without a device; ``executor.export`` then writes
            the program.
        profile_dir: directory to which PopTorch writes a profile; None writes none.
        short_batch: what happens to a training batch smaller than the first. "drop": its loss is reported, but it is
            not trained on. "pad": samples of weight zero fill it up.
        inference_loop: in inference, run time in one ``poptorch.for_loop`` per layer instead of unrolling it.
        check: run ``check`` before the first compilation, and refuse what PopTorch would refuse or get wrong.
        options: a ``poptorch.Options`` of your own to start from; None starts from PopTorch's defaults.
    """

    device_iterations: int = 1
    gradient_accumulation: int = 1
    replication_factor: int = 1
    available_memory_proportion: Optional[float] = None
    half: bool = False
    loss_scaling: Optional[float] = None
    partials_type: Optional[str] = None
    stochastic_rounding: bool = False
    executable_cache_dir: Optional[str] = None
    random_seed: Optional[int] = None
    pipeline: Optional[Mapping[str, int]] = None
    recompute: bool = False
    prefetch_depth: Optional[int] = None
    use_ipu_model: bool = False
    offline_target: Optional[int] = None
    profile_dir: Optional[str] = None
    short_batch: str = "drop"
    inference_loop: bool = False
    check: bool = True
    options: Any = None

    def __post_init__(self) -> None:
        for name in ("device_iterations", "gradient_accumulation", "replication_factor", "prefetch_depth"):
            self._whole(name, 1)
        self._whole("random_seed", 0)
        for name in ("half", "stochastic_rounding", "recompute", "use_ipu_model", "inference_loop", "check"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, getattr(self, name), "true or false")
        self._number("available_memory_proportion", 1.0)
        self._number("loss_scaling", math.inf)
        self._among("partials_type", (None, *PARTIALS))
        self._among("short_batch", SHORT_BATCH)
        self._among("offline_target", (None, 1, 2, 21))
        for name in ("executable_cache_dir", "profile_dir"):
            if not isinstance(getattr(self, name), (str, type(None))) or getattr(self, name) == "":
                raise _wrong(name, getattr(self, name), "the path of a directory")
        self._combinations()

    def _whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        optional = name in ("prefetch_depth", "random_seed")
        if value is None and optional:
            return
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _wrong(name, value, f"an int >= {least}" + (", or None" if optional else ""))

    def _number(self, name: str, high: float) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not (0 < value <= high and value < math.inf)
        ):
            raise _wrong(name, value, "a finite number > 0" + (f" and <= {high:g}" if high < math.inf else ""))

    def _among(self, name: str, allowed: Sequence[Any]) -> None:
        if getattr(self, name) not in allowed:
            raise _wrong(name, getattr(self, name), f"one of {', '.join(map(repr, allowed))}")

    def _combinations(self) -> None:
        if self.short_batch == "pad" and self.device_iterations > 1:
            raise ValueError(
                "short_batch='pad' needs device_iterations=1: with Adam a step on padding alone changes weights"
            )
        if self.use_ipu_model and self.offline_target is not None:
            raise ValueError("use_ipu_model=True runs programs, offline_target only compiles them; set one of them")
        if self.use_ipu_model and self.executable_cache_dir is not None:
            raise ValueError(
                "use_ipu_model=True cannot use executable_cache_dir: PopTorch does not cache for the IPU Model"
            )
        if self.stochastic_rounding and not self.half:
            raise ValueError("stochastic_rounding=True acts on float16 only; set half=True as well")
        if self.loss_scaling is not None and not self.half:
            raise ValueError("loss_scaling is for float16 gradients; set half=True as well, or leave loss_scaling out")
        if self.pipeline is not None:
            self._check_pipeline()
        if self.inference_loop and self.stages > 1:
            raise ValueError("inference_loop=True with a pipeline is not known to work; leave out one of them")

    def _check_pipeline(self) -> None:
        assert self.pipeline is not None
        stages = list(self.pipeline.values()) if isinstance(self.pipeline, Mapping) else None
        if not stages or stages != list(range(len(stages))) or any(isinstance(i, bool) for i in stages):
            raise _wrong(
                "pipeline",
                self.pipeline,
                "a table of layer names in order with IPUs 0, 1, 2, ..., e.g. {'0': 0, '2': 1}",
            )
        least = 2 * len(stages) - 1
        if len(stages) > 1 and self.gradient_accumulation < least:
            raise ValueError(
                f"pipeline with {len(stages)} stages needs gradient_accumulation >= {least} (2 stages - 1), "
                f"got {self.gradient_accumulation}"
            )

    @property
    def stages(self) -> int:
        """Number of pipeline stages, 1 without a pipeline."""
        return len(self.pipeline) if self.pipeline else 1

    def parts(self, training: bool) -> int:
        """The number of parts into which a batch is cut in one call."""
        if training:
            return self.device_iterations * self.gradient_accumulation * self.replication_factor
        return self.inference_iterations * self.replication_factor

    @property
    def inference_iterations(self) -> int:
        """The device iterations of inference: a pipeline needs one for each stage."""
        return max(self.device_iterations, self.stages)

    def build(self, poptorch: Any, training: bool, buffers: bool) -> Any:
        """The ``poptorch.Options`` of a training or an inference model; see ``building.build``."""
        return build(self, poptorch, training, buffers)


def _wrong(name: str, value: Any, allowed: str) -> ValueError:
    return ValueError(f"engine option {name}={value!r} must be {allowed}")
