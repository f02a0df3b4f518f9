"""Images in a folder per class: their pixels, the parts, and messages."""

from __future__ import annotations

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from spikecore import datasets  # noqa: E402
from spikecore.datasets.image_folder import sizes_of  # noqa: E402

RNG = np.random.default_rng(0)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Ten images each of cats, which are dark, and of dogs, which are light; and what is no class."""
    for number in range(10):
        save(tmp_path / "dog" / f"{number}.png", RNG.integers(128, 256, (6, 4), np.uint8))
        save(tmp_path / "cat" / f"{number}.PNG", RNG.integers(0, 128, (6, 4), np.uint8))
    (tmp_path / "_drafts").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_shades_are_those_of_the_files_and_each_class_has_its_share_in_the_test(folder):
    train, test = datasets.image_folder(folder)
    assert (train.inputs.shape, test.inputs.shape) == ((16, 1, 6, 4), (4, 1, 6, 4))
    assert train.inputs.dtype == np.float32
    assert train.classes == test.classes == ("cat", "dog")
    for part, each in ((train, 8), (test, 2)):
        assert np.bincount(part.targets).tolist() == [each, each]
        assert ((part.inputs.max((1, 2, 3)) > 0.5) == part.targets).all()
    stored = {np.asarray(Image.open(file)).tobytes() for file in folder.glob("*/*.[pP]*")}
    both = np.concatenate([train.inputs, test.inputs])
    assert {np.rint(255 * image).astype(np.uint8).tobytes() for image in both} == stored


def test_the_parts_stay_as_they_are_and_follow_the_share(folder):
    first, again = datasets.image_folder(folder), datasets.image_folder(str(folder))
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one.inputs, other.inputs)
    assert len(datasets.image_folder(folder, test_share=0.5)[1]) == 10
    assert len(datasets.image_folder(folder, test_share=0.001)[1]) == 2, "one of each class"


def test_colours_sixteen_bits_and_sizes(tmp_path):
    red = np.zeros((5, 5, 3), np.uint8)
    red[..., 0] = 255
    for name in ("a", "b"):
        for number in (1, 2):
            save(tmp_path / name / f"{number}.png", red)
    image = datasets.image_folder(tmp_path, colour=True)[0].inputs[0]
    assert [channel.tolist() for channel in image] == [[[float(on)] * 5] * 5 for on in (1, 0, 0)]
    assert sizes_of(tmp_path) == ([(5, 5)], True)
    deep = np.full((8, 2), 32768, np.uint16)
    save(tmp_path / "a" / "3.png", deep)
    assert sizes_of(tmp_path)[0] == [(5, 5), (8, 2)]
    with pytest.raises(datasets.DataFileError, match=r"pixels, and the first image .*: pass size=\(height, width\)"):
        datasets.image_folder(tmp_path)
    parts = datasets.image_folder(tmp_path, size=(4, 3), colour=True)
    both = np.concatenate([part.inputs for part in parts])
    assert both.shape == (5, 3, 4, 3)
    grey = both[np.ptp(both, axis=(1, 2, 3)) == 0]
    np.testing.assert_allclose(grey, 32768 / 65535, rtol=1e-5)
    assert len(grey) == 1


def test_what_cannot_be_read_is_named(folder):
    (folder / "dog" / "bad.jpg").write_bytes(b"\xff\xd8 no more")
    with pytest.raises(datasets.DataFileError, match=r"bad\.jpg: cannot be read as an image"):
        datasets.image_folder(folder)
    whole = (folder / "dog" / "1.png").read_bytes()
    (folder / "dog" / "bad.jpg").unlink()
    (folder / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(datasets.DataFileError, match=r"cut\.png: cannot be read as an image"):
        datasets.image_folder(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_share": 0.0}, "test_share=0.0 must be > 0"),
        ({"test_share": 0.99}, "class 'cat' has 10 files"),
        ({"size": (0, 4)}, r"size=\(0, 4\)"),
        ({"max_bytes": 100}, "bytes"),
        ({"path": "nowhere"}, "nowhere: no such folder"),
        ({"path": "empty"}, "empty: has no folders; need one for each class, with images"),
    ],
)
def test_arguments_out_of_range_are_refused(folder, monkeypatch, options, message):
    monkeypatch.chdir(folder / "cat")
    options = {"path": "..", **options}
    (folder / "cat" / "empty").mkdir()
    with pytest.raises(datasets.DataError, match=message):
        datasets.image_folder(**options)
