"""A simulation of PopTorch on the CPU, with its functions, its rules and its silent traps. It has no Graphcore code.

It has those names of PopTorch 3.4 that the IPU engine uses, with the same signatures; a test compares them with facts
about the real source. It follows the rules that decide whether a program is right: options are frozen when a model is
made, axis 0 is divided over device iterations, replicas and accumulation steps, the first call fixes all shapes,
weights stay "on the device" until they are copied, exactly one loss is differentiated, and what PopTorch silently
drops is dropped here as well. The simulation says nothing about memory, compile time or speed.
"""

from spikecore.engines.ipu.simulation import optim
from spikecore.engines.ipu.simulation.executor import PoplarExecutor, inferenceModel, trainingModel
from spikecore.engines.ipu.simulation.ops import (
    Block,
    Error,
    for_loop,
    identity_loss,
    isRunningOnIpu,
    recomputationCheckpoint,
)
from spikecore.engines.ipu.simulation.options import ConnectionType, Options, OutputMode, ReductionType

__all__ = [
    "Block",
    "ConnectionType",
    "Error",
    "Options",
    "OutputMode",
    "PoplarExecutor",
    "ReductionType",
    "for_loop",
    "identity_loss",
    "inferenceModel",
    "isRunningOnIpu",
    "optim",
    "recomputationCheckpoint",
    "trainingModel",
]
