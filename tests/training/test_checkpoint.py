"""Checkpoints: whole or not at all, damage is found, nothing in a file is executed."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.parameters import FixedArray
from spikecore.api.surrogate import Surrogate
from spikecore.api.training import checkpoint
from tests import ROOT


def small(**options):
    return sc.Model(sc.Sequential(sc.Linear(2, 2), sc.Leaky(beta=sc.learn(0.5))), "numpy", **options)


@pytest.fixture
def saved(tmp_path):
    model = small()
    model.fit([(np.ones((2, 2)), [0, 1])], num_steps=2, optimizer=sc.Adam())
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_notes_stay_a_dict_whatever_stands_in_them(tmp_path):
    model = small(input_shape=(2,))
    model.notes = {"number": "inf"}  # so does a file hold an infinity
    model.save(tmp_path / "model")
    assert sc.load(tmp_path / "model").notes == model.notes


# ---- whole or not at all -------------------------------------------------------------------------------------------


def test_a_failing_write_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()
    for broken in ("fsync", "replace", "chmod"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, lambda *a: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk full"):
                small(seed=1).save(saved)
        assert saved.read_bytes() == before
        assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_a_process_killed_while_writing_leaves_the_old_file(saved):
    """It dies between writing the bytes and putting them in place."""
    before = saved.read_bytes()
    script = (
        "import os, signal, spikecore as sc\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"sc.Model(sc.Linear(2, 2), 'numpy', seed=9).save({str(saved)!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    assert killed.returncode != 0
    assert saved.read_bytes() == before
    sc.load(saved, engine="numpy")
    small(seed=1).save(saved)
    assert sc.load(saved, engine="numpy").seed == 1


def test_folders_are_made_and_the_file_has_the_mode_of_any_other(tmp_path):
    small().save(tmp_path / "new" / "folder" / "model")
    (tmp_path / "any").write_bytes(b"")
    assert (tmp_path / "new" / "folder" / "model").stat().st_mode == (tmp_path / "any").stat().st_mode
    small().save(str(tmp_path / "text"))


# ---- damage --------------------------------------------------------------------------------------------------------


def load_bytes(path, data):
    damaged = path.with_name("damaged")
    damaged.write_bytes(data)
    return sc.load(damaged, engine="numpy")


def test_truncated_files_are_refused(saved):
    data = saved.read_bytes()
    for length in (*range(0, 40), len(data) // 2, len(data) - 1):
        with pytest.raises(sc.errors.CheckpointError, match="damaged"):
            load_bytes(saved, data[:length])


def test_any_flipped_bit_is_found(saved):
    """Every byte of the file, in the header and in the arrays, one bit each."""
    data = saved.read_bytes()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(sc.errors.CheckpointError):
            load_bytes(saved, bytes(flipped))


def test_foreign_files_are_refused(saved):
    from safetensors.numpy import save

    for data in (b"", b"PK\x03\x04 not a model", b"\x80\x04}q\x00.", np.random.default_rng(0).bytes(1000)):
        with pytest.raises(sc.errors.CheckpointError, match="damaged or not a spikecore model"):
            load_bytes(saved, data)
    with pytest.raises(sc.errors.CheckpointError, match="not one that spikecore wrote"):
        load_bytes(saved, save({"weight": np.ones(3)}))
    with pytest.raises(FileNotFoundError):
        sc.load(saved.with_name("nowhere"))


def rewritten(saved, **changes):
    """The file with other JSON, and a digest that fits it."""
    from safetensors.numpy import save

    about, arrays = checkpoint.content_of(saved)
    text = json.dumps({**about, **changes})
    return save(arrays, {"spikecore": text, "digest": checkpoint.digest_of(text, arrays)})


def test_a_newer_format_is_refused(saved):
    with pytest.raises(sc.errors.CheckpointError, match="format 99 is newer"):
        load_bytes(saved, rewritten(saved, format=99))


def test_unknown_classes_are_refused_by_name(saved):
    with pytest.raises(
        sc.errors.CheckpointError, match=r"unknown class 'Leeky'; did you mean 'Leaky'.*classes=\[Leeky\]"
    ):
        load_bytes(saved, rewritten(saved, network={"class": "Leeky"}))


def test_fields_that_do_not_fit_are_refused(saved):
    for network in ({"class": "Leaky", "beta": 7.0}, {"class": "Linear", "colour": "red"}):
        with pytest.raises(sc.errors.CheckpointError, match="refuses the fields in the file"):
            load_bytes(saved, rewritten(saved, network=network))
    for optimizer in ({"class": "RMSprop", "weight_decay": 2**63}, {"class": "Adam", "lr": -(10**30)}):
        with pytest.raises(sc.errors.CheckpointError, match="does not fit into 64 bits"):
            load_bytes(saved, rewritten(saved, optimizer=optimizer))
    other = checkpoint.describe(sc.Sequential(sc.Linear(2, 2), sc.Leaky()))
    with pytest.raises(sc.errors.CheckpointError, match=r"do not belong together.*unknown \['1\.beta'\]"):
        load_bytes(saved, rewritten(saved, network=other))


# ---- nothing is executed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "Model", "Layer", "subprocess.Popen"])
def test_loading_executes_no_code(saved, name):
    """A file can only name layers, surrogates and optimisers; anything else is an unknown class."""
    with pytest.raises(sc.errors.CheckpointError, match="unknown class"):
        load_bytes(saved, rewritten(saved, network={"class": name, "command": "touch hacked"}))


def test_no_pickle_anywhere():
    for path in (ROOT / "spikecore" / "api").rglob("*.py"):
        assert "pickle.load" not in path.read_text()
        assert "torch.load" not in path.read_text()


# ---- classes of one's own, and the description ---------------------------------------------------------------------


@dataclass(frozen=True)
class boxcar(Surrogate):  # noqa: N801
    width: float = 1.0

    def derivative(self, xp, u):
        return xp.astype(abs(u) < self.width / 2, "float32") / self.width


@dataclass(frozen=True)
class Twice(sc.Leaky):
    gain: float = 2.0


def test_classes_of_ones_own(tmp_path):
    model = sc.Model(sc.Sequential(sc.Linear(2, 2), Twice(surrogate=boxcar(width=0.5), gain=3.0)), "numpy")
    model.save(tmp_path / "model")
    with pytest.raises(sc.errors.CheckpointError, match="A class of your own"):
        sc.load(tmp_path / "model")
    assert sc.load(tmp_path / "model", engine="numpy", classes=[Twice, boxcar]).network == model.network


NUMBERS = st.floats(-1e6, 1e6)
VALUES = st.one_of(NUMBERS, st.lists(NUMBERS, min_size=1, max_size=3).map(FixedArray), NUMBERS.map(sc.learn))
NEURONS = st.builds(
    sc.Leaky,
    beta=st.floats(0, 1), threshold=VALUES, graded_spikes_factor=VALUES,
    reset_mechanism=st.sampled_from(["subtract", "zero", "none"]), reset_delay=st.booleans(),
    surrogate=st.builds(sc.surrogate.atan, alpha=st.floats(1e-3, 1e3)),
)  # fmt: skip
LAYERS = st.recursive(
    st.one_of(
        NEURONS, st.builds(sc.Linear, st.integers(1, 9), st.integers(1, 9), bias=st.booleans()), st.builds(sc.Flatten)
    ),
    lambda below: st.one_of(
        st.lists(below, max_size=3).map(lambda layers: sc.Sequential(*layers)),
        st.builds(sc.Residual, below, st.none() | below, st.sampled_from(["add", "and", "iand"])),
        st.lists(below, min_size=1, max_size=2).map(lambda each: sc.Multiply(*each)),
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(LAYERS)
def test_any_architecture_survives_json(layer):
    text = json.dumps(checkpoint.describe(layer))
    again = checkpoint.build(json.loads(text), checkpoint.known_classes())
    assert again == layer
    assert hash(again) == hash(layer)


def test_the_librarys_classes_are_looked_up_once(monkeypatch):
    """Each save and each export asks for them: by name, among all names of two dozen modules."""
    seen, whole = [], inspect.isabstract
    monkeypatch.setattr(inspect, "isabstract", lambda kind: seen.append(kind) or whole(kind))
    first = checkpoint.known_classes()
    once = len(seen)
    assert checkpoint.describe(sc.Leaky(beta=0.9))["class"] == "Leaky"
    assert checkpoint.known_classes() == first
    assert len(seen) == once


def test_what_has_no_description_is_refused():
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        checkpoint.describe(object())
