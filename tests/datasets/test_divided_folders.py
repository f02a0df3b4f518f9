"""Folders of classes that are divided already, into folders such as train and test."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataError, DataFileError
from spikecore.datasets.class_folders import class_files, parts_of

COUNT = 3  # files of a class


def divided(root, *parts, classes=("cat", "dog")):
    """Files PART/CLASS/0.npy, ...; what is in a file says where it lies."""
    for number, part in enumerate(parts):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for file in range(COUNT):
                np.save(root / part / name / f"{file}.npy", np.array([[number, classes.index(name), 0, 0]]))
    return root


def read(path):
    t, x, y, p = np.load(path).T
    return datasets.Events(t, x, y, p, sensor=(2, 1))


def contents(part):
    """The number of the folder of each recording, after a check that labels are those of the folders."""
    for recording, label in part:
        assert recording.x[0] == label
    return {int(recording.t[0]) for recording, _ in part}


@pytest.mark.parametrize(
    ("parts", "test"), [(("train", "test"), 1), (("Train", "Val"), 1), (("training", "valid", "testing"), 2)]
)
def test_parts_are_those_of_the_folders(tmp_path, parts, test):
    found = datasets.recording_folder(divided(tmp_path, *parts), read, [".npy"])
    assert [contents(part) for part in found] == [{0}, {test}]
    assert [len(part) for part in found] == [2 * COUNT, 2 * COUNT]
    assert found[0].classes == ("cat", "dog")
    assert [label for _, label in found[0]][:2] == [0, 1], "the first are of all classes"


@pytest.mark.parametrize("parts", [("train", "cats"), ("val", "test"), ("train",), ("test", "testing", "train")])
def test_other_names_are_classes(tmp_path, parts):
    assert parts_of(divided(tmp_path, *parts)) == {}


def test_classes_may_be_called_train_and_test(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        for file in range(COUNT):
            (tmp_path / name / f"{file}.npy").touch()
        (tmp_path / name / "thumbs").mkdir()
    names, files, part = class_files(tmp_path, "recordings", [".npy"])
    assert (names, len(files), part) == (("test", "train"), 2 * COUNT, {})


def test_a_part_may_lack_a_class_but_has_no_other(tmp_path):
    divided(tmp_path, "train")
    divided(tmp_path, "test", classes=("dog",))
    assert {label for _, label in datasets.recording_folder(tmp_path, read, [".npy"])[1]} == {1}
    divided(tmp_path, "val", classes=("bird",))
    with pytest.raises(DataFileError, match="has the class 'bird', of which there is nothing to train on"):
        datasets.recording_folder(tmp_path, read, [".npy"])


def test_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, shade in (("train", 0), ("test", 255)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            image.fromarray(np.full((3, 2), shade, np.uint8)).save(tmp_path / part / name / "1.png")
    train, test = datasets.image_folder(tmp_path)
    assert (train.inputs == 0.0).all()
    assert (test.inputs == 1.0).all()
    assert train.targets.tolist() == test.targets.tolist() == [0, 1]


def test_sounds_without_a_folder_to_validate_keep_some_of_those_to_train(tmp_path):
    divided(tmp_path, "train", "test")
    for file in list(tmp_path.glob("*/*/*.npy")):
        file.rename(file.with_suffix(".wav"))
    parts = datasets.wav_folder(tmp_path)
    files = [sorted(part.source.files) for part in parts]
    assert [len(each) for each in files] == [2 * COUNT - 2, 2, 2 * COUNT]
    assert all(file.startswith("train/") for file in files[0] + files[1])
    assert all(file.startswith("test/") for file in files[2])
    assert {part.source.files[row].split("/")[1] for part in parts for row in part.rows} == {"cat", "dog"}
    with pytest.raises(DataError, match="split='files': .* is divided already, into folders: leave split out"):
        datasets.wav_folder(tmp_path, split="files")
