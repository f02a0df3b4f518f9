"""A simulation of PopTorch on the CPU: its calls, its rules, its silent traps; no IPU and no Graphcore code anywhere.

It offers those names of PopTorch 3.4 that the IPU engine uses, with the same signatures (a test compares them with
facts about the real source), and keeps the rules that decide whether a program is right: options freeze, axis 0 is
divided over device iterations, replicas and accumulation steps, shapes are fixed at the first call, weights live "on
the device" until they are copied, exactly one loss is differentiated, and what PopTorch silently drops is dropped. It
says nothing about memory, compile time or speed.
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
