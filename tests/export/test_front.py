"""Where ``sc.export`` writes to: the target that a path means, folders and files in the way."""

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

import spikecore as sc
from spikecore.export.front import target_of

NET = sc.Sequential(sc.Linear(3, 2), sc.Leaky())


@pytest.fixture
def model():
    return sc.Model(NET, "numpy", input_shape=(3,), seed=0)


@pytest.mark.parametrize(
    ("path", "target"),
    [("net", "c"), ("a/net.h", "c"), ("net.onnx", "onnx"), ("NET.ONNX", "onnx"), ("net.pt2", "torch"), ("n.h5", "nir"),
     ("net.v2", "c")],
)  # fmt: skip
def test_the_ending_says_the_target(path, target):
    assert target_of(path) == target_of(path, target) == target_of(Path(path)) == target


@pytest.mark.parametrize(
    ("path", "to", "remedy"),
    [
        ("net.pt2", "onnx", "pass to='torch' or path='net.onnx'"),
        ("net.onnx", "c", "pass to='onnx' or path='net'"),
        ("a.b/net.c", "nir", "pass to='c' or path='a.b/net.nir'"),
    ],
)
def test_the_ending_of_another_target_is_refused(model, tmp_path, path, to, remedy):
    with pytest.raises(ValueError, match=f"ends as files of .*{remedy}"):
        target_of(path, to)
    with pytest.raises(ValueError, match="ends as files of"):
        sc.export(model, tmp_path / path, to)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "C99"}, "to='C99': unknown target 'C99'. Known: c, nir, onnx, torch"),
        ({"example": "no"}, "example='no' must be True or False"),
    ],
)
def test_wrong_options_are_refused_by_name(model, tmp_path, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sc.export(model, tmp_path / "net", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["firmware/", ".", "..", "/", "", "firmware/.."])
def test_a_folder_alone_is_refused(path):
    with pytest.raises(ValueError, match="is a folder: add the stem of the files"):
        target_of(path)


class Picking(sc.Leaky):
    """A neuron that exchanges its inputs by their numbers."""

    def step(self, engine, params, state, x):
        return x[:, np.array([1, 0])], state


@pytest.mark.parametrize("to", ["c", "onnx"])
def test_a_key_with_numbers_is_refused_by_layer(to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
    model = sc.Model(sc.Sequential(sc.Linear(3, 2), Picking()), "numpy", input_shape=(3,))
    with pytest.raises(sc.errors.ExportError, match=r"layer 1 \(Picking\): .* select by a mask and where instead"):
        sc.export(model, tmp_path / "net", to)
    assert not list(tmp_path.iterdir())


def test_a_single_file_is_called_as_it_is_said(model, tmp_path):
    pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
    with pytest.warns(sc.nir.NirLoss):
        assert sc.export(model, tmp_path / "net.h5").files == (tmp_path / "net.h5",)


def test_a_folder_in_the_way_leaves_everything_as_it_was(model, tmp_path):
    (tmp_path / "net.h").mkdir()
    (tmp_path / "net.c").write_text("mine")
    with pytest.raises(IsADirectoryError, match="net.h is a folder, and the file goes there"):
        sc.export(model, tmp_path / "net")
    assert (tmp_path / "net.c").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_in_the_place_of_the_folder_stays(model, tmp_path):
    (tmp_path / "build").write_text("mine")
    with pytest.raises(NotADirectoryError, match="build is a file, and the files go into a folder"):
        sc.export(model, tmp_path / "build" / "net")
    assert (tmp_path / "build").read_text() == "mine"


def test_an_interrupted_export_leaves_everything_as_it_was(model, tmp_path, monkeypatch):
    (tmp_path / "net.c").write_text("mine")

    def interrupted(handle):
        calls.append(handle)
        if len(calls) == 3:
            raise KeyboardInterrupt

    calls = []
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sc.export(model, tmp_path / "net")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("net.c", "mine")]


def test_files_are_replaced_as_a_checkpoint_is(model, tmp_path):
    """A private file stays private, a link stays, and what reads a pipe gets the file."""
    (tmp_path / "build").mkdir()
    (tmp_path / "net.c").write_text("old")
    (tmp_path / "net.c").chmod(0o600)
    (tmp_path / "net.h").symlink_to(tmp_path / "build" / "real.h")
    os.mkfifo(tmp_path / "net.md")
    text = []
    reader = threading.Thread(target=lambda: text.append((tmp_path / "net.md").read_text()), daemon=True)
    reader.start()
    files = sc.export(model, tmp_path / "net").files
    reader.join(30)
    assert tmp_path / "net.md" in files
    assert "flash" in text[0]
    assert stat.S_ISFIFO((tmp_path / "net.md").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "net.c").stat().st_mode) == 0o600
    assert (tmp_path / "net.c").read_text() != "old"
    assert (tmp_path / "net.h").is_symlink()
    assert (tmp_path / "build" / "real.h").read_text() == (tmp_path / "net.h").read_text()


def test_a_write_protected_file_leaves_everything_as_it_was(model, tmp_path, monkeypatch):
    for name in ("net.c", "net.h"):
        (tmp_path / name).write_text("mine")
    protected = tmp_path / "net.h"
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (protected, os.W_OK))  # root may always
    with pytest.raises(PermissionError, match="write-protected.*net.h"):
        sc.export(model, tmp_path / "net")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"net.c": "mine", "net.h": "mine"}
