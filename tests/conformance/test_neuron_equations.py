"""Neurons by their equations: the suite's cases."""

from spikecore.conformance.test_neuron_equations import *  # noqa: F403
