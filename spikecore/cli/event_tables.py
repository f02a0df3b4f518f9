"""Tables ``[data]`` of recordings: events and sound, and the transforms that make arrays of them."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Optional, Tuple

from pydantic import Field
from typing_extensions import Literal

from spikecore import datasets
from spikecore.cli.data_keys import Data, Datasets
from spikecore.cli.schema import named, tagged
from spikecore.datasets import transforms
from spikecore.datasets.limits import MOST_BYTES
from spikecore.datasets.transforms.base import RandomTransform, Transform

AnyTransform: Any = tagged({name: kind for name, kind in named(Transform, transforms).items() if name != "Compose"})


class RecordingsTable(Data):
    """Keys of every table of recordings."""

    judged: ClassVar[int] = 1  # frames take more memory than images: batches for evaluation are those of training

    transforms: List[AnyTransform] = Field(  # type: ignore[valid-type]
        min_length=1,
        description="what makes arrays of recordings, one after another, such as {kind = 'ToFrames', steps = 25}; "
        "random ones act on what is trained on alone",
    )
    lengths: bool = Field(
        False, description="whether steps that fill up the shorter recordings of a batch are left out of the loss"
    )
    in_memory: bool = Field(
        False, description="read all recordings once, and apply transforms before the first random one then"
    )
    cache: Optional[str] = Field(
        None, description="a folder that keeps recordings after the transforms before the first random one"
    )

    def recordings(self) -> Datasets:
        """Training and test recordings, as events."""
        raise NotImplementedError

    def load(self, seed: int) -> Datasets:
        train, test = self.recordings()
        return self._kept(train), self._kept(test)

    def trained_on(self, data: Any) -> Any:
        rest = self._steps()[1]
        return data.map(*rest) if rest else data

    def judged_by(self, data: Any) -> Any:
        rest = [step for step in self._steps()[1] if not isinstance(step, RandomTransform)]
        return data.map(*rest) if rest else data

    def for_all(self) -> Dict[str, Any]:
        return {**super().for_all(), "lengths": self.lengths}

    @property
    def sequences(self) -> bool:
        return all(step.timed for steps in self._steps() for step in steps)

    def _steps(self) -> Tuple[List[Any], List[Any]]:
        """The transforms before the first random one, and the rest."""
        steps = [step.make() for step in self.transforms]  # type: ignore[attr-defined]
        first = next((i for i, step in enumerate(steps) if isinstance(step, RandomTransform)), len(steps))
        return steps[:first], steps[first:]

    def _kept(self, part: Any) -> Any:
        fixed = self._steps()[0]
        part = part.map(*fixed) if fixed else part
        part = part if self.cache is None else datasets.Cached(part, self.cache)
        return part.in_memory() if self.in_memory else part


class _Folder(RecordingsTable):
    """Recordings in a folder, as their publishers give them out."""

    path: str = Field(description="the folder of the files, or the folder above it")
    download: bool = Field(False, description="fetch what is not in the folder from the internet")


class NMnist(_Folder):
    """N-MNIST: the digits of MNIST before an event camera."""

    name: Literal["nmnist"] = "nmnist"

    def recordings(self) -> Datasets:
        return datasets.nmnist(self.path, download=self.download)


class DvsGesture(_Folder):
    """DVS-Gesture: hand and arm gestures before an event camera."""

    name: Literal["dvs_gesture"] = "dvs_gesture"

    def recordings(self) -> Datasets:
        return datasets.dvs_gesture(self.path, download=self.download)


class Cifar10Dvs(_Folder):
    """CIFAR10-DVS: images of CIFAR-10 before an event camera."""

    name: Literal["cifar10_dvs"] = "cifar10_dvs"
    test: Literal["first", "last"] = Field(
        "first", description="which tenth of each class is the test set: numbers 0 to 99, or the last ones by name"
    )

    def recordings(self) -> Datasets:
        return datasets.cifar10_dvs(self.path, test=self.test, download=self.download)


class DvsLip(_Folder):
    """DVS-Lip: words, read from the lips of speakers before an event camera."""

    name: Literal["dvs_lip"] = "dvs_lip"

    def recordings(self) -> Datasets:
        return datasets.dvs_lip(self.path, download=self.download)


class Shd(_Folder):
    """Spiking Heidelberg Digits: spoken digits as spikes of a cochlea."""

    name: Literal["shd"] = "shd"

    def recordings(self) -> Datasets:
        return datasets.shd(self.path, download=self.download)


class Ssc(_Folder):
    """Spiking Speech Commands: spoken words as spikes of a cochlea."""

    name: Literal["ssc"] = "ssc"
    judge: Literal["test", "valid"] = Field(
        "test", description="which part is the test set; use the other one while you choose settings"
    )

    def recordings(self) -> Datasets:
        train, valid, test = datasets.ssc(self.path, download=self.download)
        return train, test if self.judge == "test" else valid


class WavFolder(RecordingsTable):
    """Sound in WAV files in a folder per class, such as Google's Speech Commands."""

    name: Literal["wav_folder"] = "wav_folder"
    path: str = Field(description="the folder of the classes' folders")
    judge: Literal["test", "valid"] = Field(
        "test", description="which part is the test set; use the other one while you choose settings"
    )
    split: Literal["lists", "speakers", "files"] = Field(
        "lists",
        description="which recordings are for the test: those in the folder's lists, those of some speakers, or a "
        "share of the files of each class",
    )
    rate: int = Field(16_000, ge=1, description="samples per second that every recording is resampled to")
    seconds: float = Field(1.0, gt=0, description="duration that every recording is cut or filled up to")

    def recordings(self) -> Datasets:
        parts = datasets.wav_folder(self.path, split=self.split, rate=self.rate, seconds=self.seconds)
        return parts[0], parts[2] if self.judge == "test" else parts[1]


class EventNpz(RecordingsTable):
    """Your own recordings in one or two NumPy archives, as ``save_event_npz`` writes them."""

    name: Literal["event_npz"] = "event_npz"
    path: str = Field(description="the archive with the training recordings, or with all recordings")
    test_path: Optional[str] = Field(
        None, description="the archive with the test recordings; default: the last ones of path"
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="without test_path: fraction of the recordings, from their end, for the test"
    )
    sensor: List[int] = Field(min_length=2, max_length=2, description="width and height in pixels")
    max_bytes: int = Field(
        MOST_BYTES, ge=1, description="upper limit, in bytes, for the memory that the events of an archive take"
    )

    def recordings(self) -> Datasets:
        width, height = self.sensor
        train = datasets.event_npz(self.path, (width, height), max_bytes=self.max_bytes)
        if self.test_path is None:
            return train.split(1.0 - self.test_fraction)
        return train, datasets.event_npz(self.test_path, (width, height), max_bytes=self.max_bytes)
