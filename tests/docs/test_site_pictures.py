"""The built site in a browser, narrow and wide, light and dark. `make site-pictures` writes build/screenshots."""

from __future__ import annotations

import contextlib
import functools
import http.server
import subprocess
import sys
import threading

import pytest

from tests import ROOT
from tests.docs.browser_rig import Browser, chromium

PICTURES = ROOT / "build" / "screenshots"
PAGES = {
    "home": "",
    "tutorials": "tutorials/",
    "tutorial": "tutorials/spike_encoding/",
    "tutorial-training": "tutorials/train_dense/",
    "tutorial-lif": "tutorials/lif_neuron/",
    "gallery": "gallery/",
    "neurons": "reference/neurons/",
    "command-line": "reference/command_line/",
    "bptt": "bptt/",
    "surrogates": "surrogates/",
    "benchmarks": "benchmarks/",
    "migrating": "migrating/",
    "architecture": "architecture/",
    "changelog": "project/changelog/",
}
FIRST = {  # what a reader types, and what one of the first three results must have in its title
    "Leaky": "Leaky",
    "predict": "predict",
    "export": "export",
    "onnx": "ONNX",
    "verify": "verify",
    "fast_sigmoid": "fast_sigmoid",
    "Adam": "Adam",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "mkdocs.yml").is_file(), reason="docs/ is not part of this tree"),
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files without a line for each on stderr."""

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def address():
    """The address of the site, built now."""
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    handler = functools.partial(Quiet, directory=str(ROOT / "build" / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("tornado")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_works(name, width, scheme, browser, address):
    browser.open(address + PAGES[name], width, scheme)
    browser.until(f"document.body.dataset.mdColorScheme == '{'slate' if scheme == 'dark' else 'default'}'")
    browser.value("document.fonts.ready.then(() => 1)")
    file = PICTURES / f"{name}-{width}-{scheme}.png"
    browser.picture(file)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.errors() == []
    assert [url for url in browser.requested() if not url.startswith((address, "data:", "about:"))] == []
    look = "getComputedStyle(document.body).backgroundColor"
    shade = sum(int(part) for part in browser.value(look).strip("rgba()").split(",")[:3])
    assert (shade < 200) == (scheme == "dark")
    not_blank(file)


def test_every_page_fits_a_narrow_screen(browser, address):
    site = ROOT / "build" / "site"
    pages = sorted(path.parent.relative_to(site).as_posix() for path in site.rglob("index.html"))
    wide = {}
    for page in pages:
        browser.open(address + (f"{page}/" if page != "." else ""), 390, "light")
        width = browser.value("document.documentElement.scrollWidth")
        if width > 390:
            wide[page] = width
    assert len(pages) > 50
    assert wide == {}


def not_blank(file):
    """More than one of a hundred pixels differs from the commonest colour."""
    image = pytest.importorskip("PIL.Image")
    with contextlib.closing(image.open(file)) as picture:
        colours = picture.convert("RGB").getcolors(2**24)
    count = sum(number for number, _ in colours)
    assert max(colours)[0] < 0.99 * count


@pytest.mark.parametrize("words", FIRST)
def test_search_finds(words, browser, address):
    browser.open(f"{address}?q={words}", 1440, "light")
    browser.until("document.querySelectorAll('.md-search-result__item').length > 0")
    titles = "[...document.querySelectorAll('.md-search-result__item')].slice(0, 3).map(one => one.innerText).join('|')"
    assert FIRST[words].lower() in browser.value(titles).lower()


def test_leaky_is_the_first_result_for_leaky(browser, address):
    browser.open(f"{address}?q=Leaky", 1440, "light")
    browser.until("document.querySelectorAll('.md-search-result__link').length > 0")
    first = browser.value("document.querySelector('.md-search-result__link').href")
    assert "/reference/neurons/" in first
