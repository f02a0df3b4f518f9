"""What is broken on a page of the site fails its build; every public name stands in the reference."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests import ROOT

BUILDER = ROOT / "docs" / "builder"
if not BUILDER.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)
pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")
sys.path.insert(0, str(BUILDER))
try:
    import checks
    import equations
    import mathfont
    import project
    import reference
finally:
    sys.path.remove(str(BUILDER))

SOUND = {
    "index.html": '<h1 id="top">One</h1><a href="b/#there">b</a><img src="x.png" alt="A line">'
    '<pre><code>```</code></pre><a href="https://example.org/none">out</a><a href="#top">up</a>'
    "<p>costs $5 &amp; <code>a\nb</code></p>",
    "b/index.html": '<h1>Two</h1><h2 id="there">x</h2><a href="..">up</a><a href="../#top">up</a>'
    '<a href="/x.png">x</a>',
    "x.png": "",
}
FAULTS = {  # what a page has, and what is said of it
    "a fence": ("<p>```python x ```</p>", "Markdown that was not understood"),
    "a fence within a line": ("<p><code>python\nx = 1</code></p>", "a code block within a line"),
    "a directive": ("<p>::: sc.Leaky</p>", "Markdown that was not understood"),
    "a box": ('<p>??? success "Show"</p>', "Markdown that was not understood"),
    "attributes": ("<p>text { .download }</p>", "Markdown that was not understood"),
    "an answer": ("<details><p>```text</p></details>", "Markdown that was not understood"),
    "an equation": (r'<span class="arithmatex">\(x\)</span>', "Markdown that was not understood"),
    "a dead link": ('<a href="c/">c</a>', "a link to nothing: c/"),
    "a dead picture": ('<img src="y.png" alt="y">', "a link to nothing: y.png"),
    "a dead anchor": ('<a href="b/#here">b</a>', "a link to an anchor that is not there: b/#here"),
    "a dead anchor on the page": ('<a href="#here">b</a>', "a link to an anchor that is not there: #here"),
    "two titles": ("<h1>Another</h1>", "2 titles (h1)"),
    "no alt text": ('<img src="x.png">', "an image without alt text: x.png"),
    "empty alt text": ('<img src="x.png" alt=" ">', "an image without alt text: x.png"),
    "too heavy": ("<p>" + "x" * checks.HEAVIEST + "</p>", "kB, more than 400"),
}


def site(folder, **more):
    for name, text in {**SOUND, **more}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_sound_site_has_no_faults(tmp_path):
    assert checks.check(site(tmp_path)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, tmp_path):
    text, said = FAULTS[fault]
    found = checks.check(site(tmp_path, **{"index.html": SOUND["index.html"] + text}))
    assert len(found) == 1
    assert found[0].startswith("index.html: ")
    assert said in found[0]


def build(folder, text):
    """Build a site of one page with our hooks of equations and checks."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(text, encoding="utf-8")
    hooks = "".join(f"  - {BUILDER / name}.py\n" for name in ("equations", "checks"))
    (folder / "mkdocs.yml").write_text(
        "site_name: any\ntheme: { name: material, font: false }\nplugins: []\n"
        f"markdown_extensions:\n  - pymdownx.arithmatex: {{ generic: true }}\nhooks:\n{hooks}",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_mkdocs_fails_on_a_fault(tmp_path):
    done = build(tmp_path, "# One\n\n# Two\n\n$$x_1 + \\beta$$\n")
    assert done.returncode != 0
    assert "index.html: 2 titles (h1)" in done.stderr


def test_mkdocs_fails_on_an_equation_that_is_not_understood(tmp_path):
    done = build(tmp_path, "# One\n\n$\\nosuchcommand x$\n")
    assert done.returncode != 0
    assert r"index.md: the equation \nosuchcommand x has \nosuchcommand, which" in done.stderr


def test_equations_become_mathml():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    inline = equations.on_page_content(r'<span class="arithmatex">\(x &lt; \beta\)</span>', page=page)
    assert inline.startswith("<math")
    assert "<mo>&#x0003C;</mo>" in inline or "<mo>&lt;</mo>" in inline
    block = equations.on_page_content('<div class="arithmatex">\\[\\Big\\lfloor x \\Big\\rfloor\\]</div>', page=page)
    assert block.startswith('<div class="equation"><math')
    assert 'display="block"' in block


EQUATIONS = {  # as tutorials write them, and as pages do, so that a code host shows them
    "so $x_1\\,y_2$ and $a$": "so $`x_1\\,y_2`$ and $`a`$",
    "over $x +\ny$ lines": "over $`x + y`$ lines",
    "$$x \\\\ y$$": "```math\nx \\\\ y\n```",
    "$$\nx\n$$": "```math\nx\n```",
    "`$x$` costs 5 $, then $z$": "`$x$` costs 5 $, then $`z`$",
    "```bash\necho $HOME $PATH\n```\n$x$": "```bash\necho $HOME $PATH\n```\n$`x`$",
}


@pytest.mark.parametrize("source", EQUATIONS)
def test_equations_stand_as_code_for_code_hosts(source):
    page = EQUATIONS[source]
    assert equations.for_hosts(source) == page
    assert equations.for_hosts(page) == page
    back = equations.on_page_markdown(page)
    assert re.sub(r"\s+", "", back) == re.sub(r"\s+", "", source)


def test_equations_of_pages_stand_as_code():
    texts = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")}
    assert [name for name, text in texts.items() if equations.for_hosts(text) != text] == []


def test_lines_of_equations_have_columns():
    source = r"\begin{aligned} R &= 1 && \text{reset} \\ U &= 2 \end{aligned}"
    assert equations.typeset(source, True, "a.md").count("<mtr>") == 2
    with pytest.raises(Exception, match=r"a\.md: the equation .* has columns in an environment"):
        equations.typeset(r"\begin{nosuch} R &= 1 \end{nosuch}", True, "a.md")


def test_a_function_stands_apart_from_its_argument():
    space = '<mspace width="0.167em" />'
    assert f"<mi>ln</mi>{space}<mi>x</mi>" in equations.typeset(r"\ln x", False, "a.md")
    assert space not in equations.typeset(r"\ln(x) + \ln\left(x\right) + \arctan_2", False, "a.md")


def test_the_font_of_equations_is_small_and_has_what_makes_brackets_grow(tmp_path):
    if importlib.util.find_spec("ziamath") is None:
        pytest.skip("the font comes with ziamath")
    fonts = pytest.importorskip("fontTools.ttLib")
    mathfont.make(tmp_path / "font.woff")
    assert (tmp_path / "font.woff").stat().st_size < 250_000
    font = fonts.TTFont(tmp_path / "font.woff", lazy=False)
    assert "MATH" in font
    assert {ord("x"), ord("β"), ord("∂"), ord("⌊"), 0x1D465} <= set(font.getBestCmap())  # the last is an italic x
    assert "Open Font License" in font["name"].getDebugName(13)


# ---- pages out of files at the root ----


def test_links_of_root_files_fit_their_pages():
    text = "[a](docs/nn.md#x) [b](spikecore/nn.py) [c](https://x.org) ![d](docs/images/d.png)"
    assert project.linked(text) == "[a](../nn.md#x) b [c](https://x.org) ![d](../images/d.png)"


def test_links_to_root_files_lead_to_their_pages():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="roadmap.md"))
    text = project.on_page_markdown("[a](../CHANGELOG.md) [b](../LICENSE) [c](../CONTRIBUTING.md#set-up)", page=page)
    assert text == "[a](project/changelog.md) [b](../LICENSE) [c](project/contributing.md#set-up)"


def unset(folder, repository=""):
    text = f'[tool.hatch.metadata.hooks.custom]\nrepository = "{repository}"\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def test_pages_without_their_file_leave_the_navigation(tmp_path):
    (tmp_path / "CHANGELOG.md").write_text("# Changes", encoding="utf-8")
    unset(tmp_path)
    nav = [{"Project": [{"Changes": "project/changelog.md"}, {"Citing": "project/citing.md"}]}]
    config = SimpleNamespace(config_file_path=str(tmp_path / "mkdocs.yml"), nav=nav)
    assert project.on_config(config).nav == [{"Project": [{"Changes": "project/changelog.md"}]}]


@pytest.mark.parametrize("address", ["", "https://git.example.org/team/spikecore/"])
def test_pages_link_to_the_repository_if_its_address_is_set(address, tmp_path):
    unset(tmp_path, address)
    shutil.copytree(BUILDER / "theme", tmp_path / "theme")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(
        "site_name: any\ntheme: { name: material, font: false, custom_dir: theme, features: [] }\nplugins: []\n"
        f"hooks: [{BUILDER / 'project.py'}]\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    home, changes = (tmp_path / "site" / name / "index.html" for name in ("", "project/changelog"))
    edited = "https://git.example.org/team/spikecore/edit/main/"
    assert (f'href="{edited}docs/index.md"' in home.read_text()) == bool(address)
    assert (f'href="{edited}CHANGELOG.md"' in changes.read_text()) == bool(address)
    assert ("team/spikecore" in home.read_text()) == bool(address)
    assert ('data-md-component="source"' in home.read_text()) is False  # the theme's own asks the host for stars


def test_a_citation_is_bibtex_too():
    text = "title: Any\nmessage: Cite it.\nauthors:\n- {name: any contributors}\n- {family-names: B, given-names: A}\n"
    page = project.citing(text + "version: 1.2\ndate-released: 2026-01-02\n")
    assert page.startswith("# Citing spikecore\n\nCite it.\n")
    for line in ("title = {Any},", "author = {{any contributors} and B, A},", "version = {1.2},", "year = {2026},"):
        assert line in page


# ---- the reference ----


def test_names_stand_as_users_write_them():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="reference/neurons.md"))
    text = reference.on_page_markdown("# N\n\n::: sc.Leaky\n\n## More\n\n::: snn.Leaky\n", page=page)
    assert "::: spikecore.Leaky\n    options:\n      heading: sc.Leaky\n" in text
    assert "heading_level: 2" in text.split("## More")[0]
    assert "::: spikecore.nn.Leaky\n    options:\n      heading: snn.Leaky\n" in text
    assert "heading_level: 3" in text.split("## More")[1]
    assert "heading: Report\n" in reference.entry("spikecore.api.verification.report.Report", 2)


def test_every_command_describes_itself():
    pytest.importorskip("typer")
    text = "\n".join(reference.commands())
    assert "## spikecore train" in text
    assert "--engine" in text
    assert "[bold]" not in text
    assert "\n- `RUN`: A run file" in text


@pytest.fixture(scope="module")
def package():
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions("dataclasses", str(BUILDER / "arguments.py"))
    return griffe.load("spikecore", search_paths=[str(ROOT)], resolve_aliases=True, extensions=extensions)


def arguments(thing):
    sections = {section.kind.value: section for section in thing.docstring.parsed}
    return {item.name: item for item in sections["parameters"].value}


def test_each_argument_has_its_line_type_and_default(package):
    leaky = arguments(package["Leaky"])
    assert set("beta threshold surrogate reset_mechanism reset_delay inhibition state_quant".split()) <= set(leaky)
    assert leaky["threshold"].description.startswith("membrane potential above which")  # from ``Neuron``
    assert (str(leaky["threshold"].annotation), str(leaky["threshold"].value)) == ("Param", "1.0")


def test_a_default_stands_once(package):
    leaky = arguments(package["Leaky"])
    assert str(leaky["beta"].value) == "0.9"
    assert leaky["beta"].description.startswith("membrane decay per step in [0, 1]; learned values")


@pytest.mark.parametrize(("name", "first"), [("Leaky", "beta"), ("Synaptic", "alpha"), ("Linear", "in_features")])
def test_a_signature_begins_with_what_is_its_own(package, name, first):
    names = [each.name for each in package[name].parameters if each.name != "self"]
    assert names[0] == first


def test_others_are_those_of_the_classes_that_are_named(package):
    module = arguments(package["nn.RLeaky"])  # "Others: see ``SpikingNeuron`` and ``LIF``"
    assert "Others" not in module
    assert module["learn_threshold"].description
    assert str(module["threshold"].value) == "1.0"


def test_a_function_is_shown_where_a_module_has_its_name(package):
    assert package["spikegen.rate"].is_function
    assert "first_spike_time" in arguments(package["spikegen.rate"])
