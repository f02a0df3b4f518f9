"""Six small networks whose training steps are counted on the pretended device."""

from __future__ import annotations

import ctypes

import spikecore as sc
from spikecore.kernels.triton import SequenceTriton
from tests.engines.cuda_rig.device import note

STEPS, BATCH, CLASSES = 25, 64, 10

PIXELS = (2, 8, 8)


def block():
    return sc.Sequential(sc.Conv2d(8, 8, 3, padding=1), sc.BatchNorm2d(8), sc.Leaky(beta=0.9))


NETWORKS = {
    "leaky": ((20,), lambda: sc.Sequential(sc.Linear(20, 32), sc.Leaky(beta=0.9), *ends(32))),
    "synaptic": ((20,), lambda: sc.Sequential(sc.Linear(20, 32), sc.Synaptic(alpha=0.8, beta=0.9), *ends(32))),
    "learned": (
        (20,),
        lambda: sc.Sequential(sc.Linear(20, 32), sc.Leaky(beta=sc.learn(0.9)), sc.Dropout(0.2), *ends(32)),
    ),
    "recurrent": ((20,), lambda: sc.Sequential(sc.Linear(20, 32), sc.RLeaky(beta=0.9, linear_features=32), *ends(32))),
    "maps": (
        PIXELS,
        lambda: sc.Sequential(sc.Conv2d(2, 8, 3), sc.Leaky(beta=0.9), sc.MaxPool2d(2), sc.Flatten(), *ends(72)),
    ),
    "residual": (
        PIXELS,
        lambda: sc.Sequential(
            sc.Conv2d(2, 8, 3, padding=1), sc.Leaky(beta=0.9), sc.Residual(block()), sc.Flatten(), *ends(512)
        ),
    ),
}


def ends(features):
    return sc.Linear(features, CLASSES), sc.Leaky(beta=0.9)


def kernels_that_are_only_counted():
    """Let Triton's kernels be launches that write nothing: its interpreter copies arrays, which would be counted, too.

    New arrays hold zeros, unseen by the log: what lies in fresh memory might be no number.
    """
    empty = SequenceTriton.empty

    def zeros(self, *options):
        array = empty(self, *options)
        ctypes.memset(array.data_ptr(), 0, array.numel() * array.element_size())
        return array

    SequenceTriton.empty, SequenceTriton.missing = zeros, classmethod(lambda cls: "")
    SequenceTriton.start = lambda self, kernel, *options: note(f"launch triton.{kernel.name} ")
