"""docs/names_spikingjelly.md has every public name of the installed SpikingJelly; every name of ours in it exists."""

from __future__ import annotations

import importlib.util

import pytest

from tests import ROOT

spec = importlib.util.spec_from_file_location("make_names", ROOT / "docs" / "make_names.py")
make_names = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_names)
TABLE = make_names.SPIKINGJELLY
ROWS = TABLE.rows()


def test_every_public_name_is_in_the_table_once():
    pytest.importorskip("torch", reason="SpikingJelly needs torch")
    if importlib.util.find_spec("spikingjelly") is None:
        pytest.skip("SpikingJelly is not installed (extra 'peers')")
    names = [row.theirs for row in ROWS]
    assert sorted(names) == TABLE.public()
    assert len(names) > 600


def test_the_list_of_an_installed_package_is_that_of_its_files(tmp_path, monkeypatch):
    """Classes and functions count; private ones, examples and what a module imports do not."""
    package = tmp_path / "spikingjelly"
    for folder in ("activation_based", "activation_based/examples", "_ops"):
        (package / folder).mkdir(parents=True)
    module = "from torch import nn\nX = 1\nclass Node: ...\nclass _Hidden: ...\ndef step(): ...\n"
    for name in ("activation_based/neuron", "activation_based/examples/lif", "_ops/lif", "activation_based/_parts"):
        (package / f"{name}.py").write_text(module)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(make_names.importlib.sys.modules, "spikingjelly", raising=False)
    assert TABLE.public() == ["activation_based.neuron.Node", "activation_based.neuron.step"]


def test_every_name_of_ours_exists():
    pytest.importorskip("torch", reason="some of them are for modules of torch")
    pytest.importorskip("matplotlib", reason="some of them draw")
    pytest.importorskip("nir", reason="some of them read NIR")
    assert [row.ours for row in ROWS if row.ours and not make_names.exists(row.ours)] == []


def test_each_name_has_a_counterpart_a_plan_or_a_reason():
    for row in ROWS:
        assert row.status in TABLE.status, row
        assert bool(row.ours) == (row.status in ("equal", "similar")), row
        assert row.remark or row.ours, row


def test_names_that_are_planned_are_not_there():
    planned = [row.theirs.rpartition(".")[2] for row in ROWS if row.status == "planned"]
    assert planned
    assert [name for name in planned if make_names.exists(name)] == []


def test_the_page_is_up_to_date():
    assert TABLE.page.read_text() == make_names.page(TABLE), "run: python docs/make_names.py"


def test_a_line_with_too_few_counterparts_is_refused():
    with pytest.raises(ValueError, match="3 names, 2 counterparts"):
        list(make_names._rows_of("layer: A, B, C | X, Y | equal |"))
