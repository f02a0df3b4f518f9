"""The keys of every table ``[data]`` of a run file, and what they mean for a Loader."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Optional, Tuple

from pydantic import AfterValidator, Field
from typing_extensions import Annotated, Literal

from spikecore.cli.schema import Section

Datasets = Tuple[Any, Any]


def _validation(value: Any) -> Any:
    fraction = isinstance(value, float) and 0.0 < value < 1.0
    if value not in ("test", "none") and not fraction:
        raise ValueError("must be 'test', 'none', or a fraction of the training samples in (0, 1)")
    return value


class Data(Section):
    """Keys of every ``[data]`` table."""

    judged: ClassVar[int] = 256  # least number of samples in a batch that is only evaluated

    batch_size: int = Field(64, ge=1, description="samples per batch")
    shuffle: bool = Field(True, description="draw a new order of the training samples from the seed in each epoch")
    drop_last: bool = Field(False, description="leave out the last training batch if it is smaller than the others")
    validation: Annotated[Any, AfterValidator(_validation)] = Field(
        "test",
        description="what to evaluate after each epoch: 'test' for the test set, 'none', or a fraction in (0, 1): this "
        "fraction of the training samples, taken from their end, is not trained on",
    )
    weights: Optional[Literal["balanced"]] = Field(
        None, description="'balanced' draws training samples with replacement, from all classes equally often"
    )
    bucket: Optional[int] = Field(
        None, ge=1, description="sort the samples of so many batches by length, so that batches have less padding"
    )
    workers: int = Field(0, ge=0, description="processes that load batches ahead; results do not depend on it")
    prefetch: int = Field(2, ge=1, description="batches that each worker loads ahead")

    def load(self, seed: int) -> Datasets:
        """Load training and test set.

        Args:
            seed: of the split into training and test samples, where it is random.

        Raises:
            DataError: the data are absent or damaged, or the package that contains them is missing.
        """
        raise NotImplementedError

    def trained_on(self, data: Any) -> Any:
        """The training samples without those held back for validation."""
        return data

    def judged_by(self, data: Any) -> Any:
        """The samples for validation, on which the network is not trained."""
        return data

    def for_training(self) -> Dict[str, Any]:
        """Options of a Loader for training."""
        return {
            **{"batch_size": self.batch_size, "shuffle": self.shuffle, "drop_last": self.drop_last},
            **{"weights": self.weights, "bucket": self.bucket},
            **self.for_all(),
        }

    def for_judging(self) -> Dict[str, Any]:
        """Options of a Loader for evaluation: all samples, in order."""
        return {"batch_size": max(self.judged, self.batch_size), "shuffle": False, **self.for_all()}

    def for_all(self) -> Dict[str, Any]:
        """Options of a Loader that hold for any samples of the run."""
        return {"workers": self.workers, "prefetch": self.prefetch}

    @property
    def sequences(self) -> bool:
        """Whether batches begin with an axis of time, so that nothing is left to encode."""
        return False
