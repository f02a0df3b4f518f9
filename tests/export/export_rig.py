"""What each target of ``sc.export`` is tried with, and how what it gives is compared with the network."""

import numpy as np

import spikecore as sc
from spikecore.conformance import cases, word_cases

CASES = [*cases.NEURONS, *cases.VARIANTS, *cases.LAYERS, *cases.DELAYS, *cases.NETWORKS]
_SEQUENCES = "PSN", "MaskedPSN-partly", "BatchNormTT", "TemporalEffectiveBatchNorm"  # how their names begin
WHOLE = [case for case in CASES if case.name.startswith(_SEQUENCES)]  # they need whole sequences
BY_STEPS = [case for case in CASES if case not in WHOLE]

#: Arrays of flags and of whole numbers, and words that take parts of an array.
FLAGS, NUMBERS = word_cases.MASK, np.arange(-3, 9).reshape(3, 4)
_ROWS = np.arange(24, dtype="float32").reshape(2, 3, 4)
_PARTS = [
    *(slice(None, None, -1), slice(None, None, -2), slice(-2, None), 1, -1, None, ..., (0, 1), (0, 1, 2), (..., -1)),
    *((slice(None), None, 0), (slice(None), slice(2, 0, -1)), (..., slice(-1, None, -3), None)),
]
KEYS = [word_cases.WordCase("take_slice", (_ROWS, part), {}, None) for part in _PARTS]


def model_of(case):
    """A model of a case on the engine that the targets are to equal."""
    return sc.Model(case.layer, sc.get_engine("numpy", fused=False), input_shape=case.shape)


def assert_outputs(found, expected, close):
    """Compare outputs with those of the network, which are broadcast over time where they are constant.

    Args:
        found: what the target gives.
        expected: what the network gives. Spikes and counts, all of them whole numbers, must be equal; among graded
            spikes, one that is missing is too far off to be close.
        close: how near other numbers must be, arguments of ``assert_allclose``.
    """
    expected = np.broadcast_to(expected, np.shape(found))
    if np.array_equal(expected, np.rint(expected)):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, **close)
