"""Help pages: what a newcomer reads first. Each says where to read on, in words of users and not of Python."""

from __future__ import annotations

import re

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package)

from spikecore.cli import command as cli  # noqa: E402

NAMES = [command.__name__ for command in cli.COMMANDS]


def help_of(spikecore, *command):
    code, said, error = spikecore(*command, "--help")
    assert code == 0, error
    return said


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_no_types_of_python_and_no_codes_that_belong_to_all(name, spikecore):
    said = help_of(spikecore, name)
    assert not re.search(r"<\w.*?>|\b(list|dict|tuple)\[|\b(TEXT|INTEGER|FLOAT|FILENAME|RANGE)\b", said)
    assert "Exit codes" not in said


def test_the_codes_stand_on_the_first_page(spikecore):
    said = help_of(spikecore)
    assert said.count("Exit codes: 0 done;") == 1
    assert all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in NAMES)


@pytest.mark.skipif(not (ROOT / "docs" / "index.md").is_file(), reason="docs/ is not part of this tree")
def test_each_page_leads_to_pages_about_its_command(spikecore):
    """The pages are there and have the titles that help gives them; the command, or its name, stands on one of them."""
    led = {}
    for name in NAMES:
        said = " ".join(help_of(spikecore, name).partition("Read on:")[2].split())
        pages = re.findall(r"“([^”]+)” \((docs/\w+\.md)\)", said)
        assert pages, name
        texts = [(ROOT / page).read_text(encoding="utf-8") for _, page in pages]
        assert [text.splitlines()[0] for text in texts] == [f"# {title}" for title, _ in pages], name
        assert any(f"spikecore {name}" in text for text in texts), f"{name}: {pages}"
        led[name] = pages[0]
    assert len(set(led.values())) >= len(NAMES) - 2
