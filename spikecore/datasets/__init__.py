"""Data sets as NumPy arrays or as streams of events, and minibatches of them.

Nothing is downloaded, except by a reader that is called with `download=True`.

Batches are NumPy arrays, so every engine takes them.

Of the core it uses samples and minibatches (`spikecore.samples`), the check of arguments and the writing of files. It
needs no network, no engine and no torch.

Begin with `digits.py`, the smallest data set; for events with `events.py` and `event_dataset.py`, for arrays on
disk with `stored.py`. Each other file reads one format or one data set.
"""

from typing import TYPE_CHECKING

from spikecore.datasets import transforms as transforms
from spikecore.datasets.aedat import read_aedat as read_aedat
from spikecore.datasets.aedat2 import read_aedat2 as read_aedat2
from spikecore.datasets.cache import Cached as Cached
from spikecore.datasets.cifar10_dvs import cifar10_dvs as cifar10_dvs
from spikecore.datasets.csv_table import csv_table as csv_table
from spikecore.datasets.digits import digits as digits
from spikecore.datasets.dvs_lip import dvs_lip as dvs_lip
from spikecore.datasets.dvs_lip import read_dvs_lip as read_dvs_lip
from spikecore.datasets.errors import DataError as DataError
from spikecore.datasets.errors import DataFileError as DataFileError
from spikecore.datasets.errors import MissingExtraError as MissingExtraError
from spikecore.datasets.event_dataset import EventDataset as EventDataset
from spikecore.datasets.event_dataset import Source as Source
from spikecore.datasets.event_npz import event_npz as event_npz
from spikecore.datasets.event_npz import save_event_npz as save_event_npz
from spikecore.datasets.events import Events as Events
from spikecore.datasets.gesture import dvs_gesture as dvs_gesture
from spikecore.datasets.hdf5_arrays import read_hdf5 as read_hdf5
from spikecore.datasets.heidelberg import read_spikes as read_spikes
from spikecore.datasets.heidelberg import shd as shd
from spikecore.datasets.heidelberg import ssc as ssc
from spikecore.datasets.idx import fashion_mnist as fashion_mnist
from spikecore.datasets.idx import mnist as mnist
from spikecore.datasets.idx import read_idx as read_idx
from spikecore.datasets.image_folder import image_folder as image_folder
from spikecore.datasets.memory_tasks import adding as adding
from spikecore.datasets.memory_tasks import delay_recall as delay_recall
from spikecore.datasets.mnist_sample import mnist_sample as mnist_sample
from spikecore.datasets.nmnist import nmnist as nmnist
from spikecore.datasets.nmnist import read_nmnist as read_nmnist
from spikecore.datasets.npy import read_npy as read_npy
from spikecore.datasets.npz import npz as npz
from spikecore.datasets.npz import read_npz as read_npz
from spikecore.datasets.recording_files import RecordingFiles as RecordingFiles
from spikecore.datasets.recording_files import recording_folder as recording_folder
from spikecore.datasets.saccades import saccades as saccades
from spikecore.datasets.sequential_mnist import sequential_mnist as sequential_mnist
from spikecore.datasets.series import Standard as Standard
from spikecore.datasets.series import Windows as Windows
from spikecore.datasets.series import series_csv as series_csv
from spikecore.datasets.series import windows as windows
from spikecore.datasets.shards import Shards as Shards
from spikecore.datasets.sound import Sound as Sound
from spikecore.datasets.stored import StoredArray as StoredArray
from spikecore.datasets.stored import StoredDataset as StoredDataset
from spikecore.datasets.structured import from_structured as from_structured
from spikecore.datasets.structured import to_structured as to_structured
from spikecore.datasets.tonic import from_tonic as from_tonic
from spikecore.datasets.wav import read_wav as read_wav
from spikecore.datasets.wav_folder import wav_folder as wav_folder
from spikecore.datasets.yin_yang import yin_yang as yin_yang
from spikecore.datasets.zarr_arrays import read_zarr as read_zarr
from spikecore.samples import Dataset as Dataset
from spikecore.samples import Loader as Loader

if not TYPE_CHECKING:  # type checkers are to refuse such names

    def __getattr__(name):
        from spikecore.arguments import unknown

        known = [each for each in globals() if not each.startswith("_") and callable(globals()[each])]
        raise AttributeError(f"module {__name__}: {unknown('data set or reader', name, known)}")
