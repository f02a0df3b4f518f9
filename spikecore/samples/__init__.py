"""Labelled samples as NumPy arrays, and minibatches of them in a reproducible order."""

from spikecore.samples.dataset import Dataset as Dataset
from spikecore.samples.errors import DataError as DataError
from spikecore.samples.errors import checked as checked
from spikecore.samples.loader import Loader as Loader
from spikecore.samples.order import halves as halves
from spikecore.samples.order import permutation as permutation
from spikecore.samples.source import Samples as Samples
from spikecore.samples.source import stacked as stacked
