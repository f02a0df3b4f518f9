"""Data as host arrays, and minibatches of it; nothing here knows of engines, and nothing is downloaded."""

from spikecore.datasets.arrays import Dataset as Dataset
from spikecore.datasets.arrays import Loader as Loader
from spikecore.datasets.digits import digits as digits
from spikecore.datasets.errors import DataError as DataError
from spikecore.datasets.errors import DataFileError as DataFileError
from spikecore.datasets.errors import MissingExtraError as MissingExtraError
from spikecore.datasets.idx import fashion_mnist as fashion_mnist
from spikecore.datasets.idx import mnist as mnist
from spikecore.datasets.idx import read_idx as read_idx
from spikecore.datasets.npz import npz as npz
from spikecore.datasets.npz import read_npz as read_npz
