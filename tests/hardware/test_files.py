"""Chip files, their mistakes, and chips on the command line."""

from __future__ import annotations

import json
import re

import pytest

import spikecore as sc
from spikecore import hardware
from tests import ROOT
from tests.hardware.hardware_rig import SOURCES, small, written


def test_a_chip_of_ones_own(tmp_path):
    limits = 'fan_in = { value = 5, source = "here", note = "measured" }'
    path = written(tmp_path, limits, 'neurons = { value = ["Leaky"], source = "here" }')
    report = sc.hardware.check(small(), path)
    assert [(one.layer, one.what) for one in report.objections] == [("1", "fan-in")]
    assert hardware.chip(path).limits["fan_in"] == (5, "here", "measured")
    assert sc.hardware.check(small(), hardware.chip(str(path))) == report


@pytest.mark.parametrize(
    ("limits", "supports", "message"),
    [
        ("fan_inn = 3", "", "limits: unknown key 'fan_inn'; did you mean 'fan_in'?"),
        ("fan_in = 3", "", 'limits.fan_in = 3: must be { value = ..., source = "a key of [sources]" }'),
        ('fan_in = { value = -3, source = "here" }', "", "limits.fan_in = -3: must be a whole number >= 1"),
        ('fan_in = { value = 3.5, source = "here" }', "", "limits.fan_in = 3.5: must be a whole number >= 1"),
        ('fan_in = { value = true, source = "here" }', "", "limits.fan_in = True: must be a whole number >= 1"),
        ('fan_in = { value = 3, source = "there" }', "", "limits.fan_in.source: unknown source 'there'"),
        ('fan_in = { value = 3, source = "here", why = "" }', "", "limits.fan_in: unknown key 'why'"),
        ('fan_in = { value = 3, source = "here", note = 4 }', "", "limits.fan_in.note = 4: must be a text"),
        ('strides = { value = 2, source = "here" }', "", "limits.strides = 2: must be a list of whole numbers >= 1"),
        (
            "",
            'neurons = { value = ["Leeky"], source = "here" }',
            "supports.neurons: unknown neuron 'Leeky'; did you mean",
        ),
        ("", 'layers = { value = "Linear", source = "here" }', "supports.layers = 'Linear': must be a list of names"),
        ("", 'resets = { value = ["half"], source = "here" }', "supports.resets: unknown reset 'half'"),
        ("", 'recurrence = { value = 1, source = "here" }', "supports.recurrence = 1: must be true or false"),
        ("", 'neurons = { value = ["RLeaky"], source = "here" }', "supports.neurons: unknown neuron 'RLeaky'"),
        ("", 'layers = { value = ["Quantized"], source = "here" }', "supports.layers: unknown layer 'Quantized'"),
        (
            'fan_in = { value = 3, source = ["here"] }',
            "",
            "limits.fan_in.source = ['here']: must be a key of [sources]",
        ),
        (
            'weight_bits = { value = 65, source = "here" }',
            "",
            "limits.weight_bits = 65: must be a whole number of bits",
        ),
        ('ram = { value = 65, source = "here" }', "", "limits.ram is of a processor, and limits.flash says"),
    ],
)
def test_mistakes_in_a_chip_file_are_named(tmp_path, limits, supports, message):
    path = written(tmp_path, limits, supports)
    with pytest.raises(hardware.ChipFileError, match=re.escape(f"{path}: {message}")):
        hardware.chip(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Invalid value"),
        ("", "name is missing: must be a text"),
        ("name = 3", "name = 3: must be a text"),
        ("colour = 3", "unknown key 'colour'"),
        ("notes = 3", "notes = 3: must be a list of texts"),
        ("limits = 3", r"limits = 3: must be a table, \[limits\]"),
        ("[sources]\nhere = 3", "sources.here = 3: must be a text: authors"),
        ("[energy]\nneuron_update = 3", "energy.conditions is missing"),
        ('[energy]\nconditions = 3\nneuron_update = {value = 3.0, source = "x"}', "must be joules, > 0 and < 1e-3"),
    ],
)
def test_mistakes_in_the_rest_of_a_chip_file_are_named(tmp_path, text, message):
    with pytest.raises(hardware.ChipFileError, match=message):
        hardware.chip(written(tmp_path, text=text))


def test_all_mistakes_are_listed_at_once(tmp_path):
    path = written(tmp_path, "fan_inn = 3\nflash = 4", "colour = 5")
    with pytest.raises(hardware.ChipFileError) as caught:
        hardware.chip(path)
    assert len(str(caught.value).splitlines()) == 3
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(hardware.ChipFileError, match="not a text file in UTF-8"):
        hardware.chip(path)


def test_a_folder_is_no_chip_file(tmp_path):
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(hardware.ChipFileError, match=r"mine\.toml: cannot be read: "):
        hardware.chip(tmp_path / "mine.toml")


def test_a_chip_of_which_nothing_is_known(tmp_path):
    path = written(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as an editor of Windows writes it
    assert repr(hardware.chip(path)) == f"Test (nobody): a chip for tests\nhere: {SOURCES['here']}"
    assert sc.hardware.check(small(), path).ok


PAGE = ROOT / "docs" / "hardware.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")
def test_the_page_has_every_chip_and_a_file_that_is_right(tmp_path):
    text = PAGE.read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| [A-Za-z]", text, re.MULTILINE)) >= set(hardware.chips())
    found = hardware.chip(written(tmp_path, text=text.partition("```toml")[2].partition("```")[0]))
    assert found.limit("cores") == 16
    assert not sc.hardware.check(small(), found).objections[1:], "weights are not on its levels"


# ---- the command line -----------------------------------------------------------------------------------------------

RUN = """
[data]
name = "digits"
[encoder]
kind = "rate"
num_steps = 4
[network]
layers = [
  { kind = "Linear", in_features = 64, out_features = 10 },
  { kind = "Leaky", reset_mechanism = "zero", reset_delay = false },
]
"""


@pytest.fixture
def spikecore(tmp_path, monkeypatch, capsys):
    """Calls the command line: exit code, stdout, stderr."""
    pytest.importorskip("typer", reason="the command line is an extra")
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    from spikecore.cli.command import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.toml").write_text(RUN)

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(one) for one in arguments])
        told = capsys.readouterr()
        return left.value.code, told.out, told.err

    return call


def test_the_command(spikecore, tmp_path):
    code, out, _ = spikecore("check", "digits.toml", "--for", "loihi", "--samples", "2")
    assert code == 0
    assert "fits Loihi, as far as its public numbers tell" in out
    assert "energy per sample: " in out
    code, out, _ = spikecore("check", "digits.toml", "--for", "xylo", "--samples", "0", "--json")
    assert code == 1
    report = json.loads(out)
    assert report["ok"] is False
    assert report["energy"] is None
    assert {"neuron", "inputs", "outputs"} <= {one["what"] for one in report["objections"]}
    path = written(tmp_path, 'fan_in = { value = 63, source = "here" }')
    code, out, _ = spikecore("check", "digits.toml", "--for", path)
    assert code == 1
    assert "layer 1: fan-in: a neuron has 64 inputs, the chip allows 63" in out


def test_mistakes_of_the_command(spikecore, tmp_path):
    code, _, err = spikecore("check", "digits.toml", "--for", "loihi3")
    assert code == 2
    assert "--for loihi3: unknown target 'loihi3'; did you mean 'loihi" in err
    code, _, err = spikecore("check", "digits.toml", "--for", written(tmp_path, "fan_in = 3"))
    assert code == 2
    assert "limits.fan_in = 3: must be" in err
    code, _, err = spikecore("check", "digits.toml", "--samples", "3")
    assert code == 2
    assert "--samples 3: is for chips" in err
