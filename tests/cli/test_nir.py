"""The commands about files of NIR: ``spikecore nir check`` and ``spikecore nir convert``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w", "nir"):
    pytest.importorskip(package)
import nir  # noqa: E402

if "v_reset" not in nir.LIF.__dataclass_fields__:
    pytest.skip("nir is older than 1.0.6: its neurons have no reset potential", allow_module_level=True)

from tests import ROOT  # noqa: E402
from tests.nir.test_readers import EXACT, paper_lif  # noqa: E402


@pytest.fixture
def lif(tmp_path):
    """The file and the input of the NIR paper's LIF, in the current folder."""
    graph, x = paper_lif()
    nir.write("lif.nir", graph)
    np.save("pulses.npy", x)
    return "lif.nir", "--input", "pulses.npy", "--dt", "1e-4"


def test_check_shows_both_spike_trains_and_the_rules(spikecore, lif):
    code, said, error = spikecore("nir", "check", *lif, "--as", "sinabs-paper")
    assert code == 1, error
    assert re.search(r"NIR +460 510 710 760\n +reader +450 500 710 760\n", said)
    assert "node 1: the first step that differs is 450" in said
    assert re.search(r"node 1 \(LIF\) +input +gain dt / tau = 0.04 +gain r \(1 - decay\) = 0.0392106 +step 450", said)
    assert "lif_sim_sinabs.ipynb" in said
    assert "hand: " not in said
    assert spikecore("nir", "check", *lif, "--as", "sinabs")[1].endswith("by hand: sinabs-paper\n")


def test_check_as_json_and_as_a_picture(spikecore, lif):
    code, said, error = spikecore("nir", "check", *lif, "--as", "norse", "--json", "--picture", "both.svg")
    assert code == 0, error
    told = json.loads(said)
    assert told["nodes"]["1"] == {"nir": EXACT, "reader": EXACT, "first_difference": None}
    assert [each["part"] for each in told["departures"]] == ["decay", "within"]
    assert Path("both.svg").read_text(encoding="utf-8").count("<svg") == 1


@pytest.mark.parametrize("given", ["constant", "step:0.2"])
def test_an_input_is_made(spikecore, lif, given):
    code, said, _ = spikecore("nir", "check", lif[0], "--as", "spikingjelly", "--input", given, "--steps", "50")
    assert code in (0, 1)
    assert "50 steps of dt = 0.0001" in said


def test_a_file_has_its_own_number_of_steps(spikecore, lif):
    code, _, error = spikecore("nir", "check", *lif, "--as", "norse", "--steps", "50")
    assert code == 2
    assert "--steps 50: pulses.npy has its own number of steps" in error


def test_convert_writes_a_file_for_another_reader(spikecore, lif):
    code, said, error = spikecore(
        "nir", "convert", lif[0], "out.nir", "--from", "nir", "--to", "sinabs", "--dt", "1e-4"
    )
    assert code == 0, error
    assert "a step is 1" in said
    assert "v_threshold is subtracted" in said
    code, said, _ = spikecore("nir", "check", "out.nir", "--as", "sinabs", "--input", "pulses.npy", "--json")
    assert json.loads(said)["nodes"]["1"]["reader"] == EXACT
    h5py = pytest.importorskip("h5py")
    with h5py.File("out.nir") as file:
        assert "v_reset" not in file["node/nodes/1"]
    code, _, error = spikecore("nir", "convert", lif[0], "out.nir", "--from", "nir", "--to", "sinabs")
    assert code == 2
    assert "out.nir already exists" in error


def test_convert_says_where_the_steps_are_the_same(spikecore, lif):
    command = ("nir", "convert", lif[0], "norse.nir", "--from", "snntorch", "--to", "norse", "--to-dt", "0.001")
    code, said, _ = spikecore(*command)
    assert (code, said.splitlines()[-1]) == (0, "the steps are the same")


MISTAKES = {
    "a reader": (("nir", "check", "lif.nir", "--as", "brian"), 2, "unknown reader 'brian'"),
    "a target": (("nir", "convert", "lif.nir", "o.nir", "--from", "norse", "--to", "sinab"), 2, "'sinabs'"),
    "a file": (("nir", "check", "no.nir", "--as", "norse"), 3, "no.nir: no such file"),
    "not NIR": (("nir", "check", "pulses.npy", "--as", "norse"), 3, "pulses.npy"),
    "a node": (
        ("nir", "check", "lif.nir", "--as", "rockpool"),
        1,
        r"node 1 \(LIF\): Rockpool .* asks a LIF for tau_mem",
    ),
    "an input": (("nir", "check", "lif.nir", "--as", "norse", "--input", "ramp"), 2, "--input ramp: must be"),
    "a current": (("nir", "check", "lif.nir", "--as", "norse", "--input", "step:x"), 2, "'x' is no number"),
    "a picture": (("nir", "check", "lif.nir", "--as", "norse", "--picture", "a.txt"), 2, "must end in .png"),
    "a command": (("nir", "chek"), 2, "chek"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(spikecore, lif, name):
    command, code, message = MISTAKES[name]
    got, _, error = spikecore(*command)
    assert (got, bool(re.search(message, error))) == (code, True), error
    assert "Traceback" not in error


@pytest.mark.skipif(not (ROOT / "docs" / "index.md").is_file(), reason="docs/ is not part of this tree")
@pytest.mark.parametrize("command", ["", "check", "convert"])
def test_help_teaches(spikecore, command):
    code, said, error = spikecore("nir", *([command] if command else []), "--help")
    assert code == 0, error
    assert not re.search(r"<\w.*?>|\b(list|dict|tuple)\[|\b(TEXT|INTEGER|FLOAT|FILENAME|RANGE)\b", said)
    assert "Examples:" in said
    title = (ROOT / "docs" / "nir.md").read_text(encoding="utf-8").splitlines()[0]
    assert f"“{title[2:]}” (docs/nir.md)" in " ".join(said.split())
