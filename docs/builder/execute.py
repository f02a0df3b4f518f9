"""Executes tutorials: percent files become executed notebooks, each in a kernel of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

ROOT = Path(__file__).resolve().parents[2]
STYLE = Path(__file__).with_name("matplotlibrc")
TOGETHER = 2  # kernels at a time, one numeric thread each
# Seconds of processor time, which say the same on a busy machine: more than SLOW is reported, more than LIMIT fails.
SLOW, LIMIT = 90, 300
PATIENCE = 1200  # seconds by the clock, after which a tutorial is ended
CLOCK = "print(__import__('time').process_time())"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
# What artists print, matplotlib's and those that pictures of spikecore return.
HANDLES = ("<Axes", "(<Figure", "<Figure", "GradientErrors(", "SpikeCount(", "Stack(", "SurrogateLines(", "Traces(")


class TutorialError(Exception):
    """A tutorial cannot become a page; the message names page and cell."""


def executed(pages: List[Path], directory: Path) -> Dict[str, Any]:
    """Execute the tutorials whose text, or the library, has changed since they were last executed.

    Args:
        pages: percent files.
        directory: where executed notebooks are kept, as ``NAME.ipynb``.

    Returns:
        The executed notebook of each page, by the page's name.

    Raises:
        TutorialError: a cell raised, warned, or showed a picture without a description; a page took too long.
    """
    directory.mkdir(parents=True, exist_ok=True)
    library = _library()
    return _beside(lambda: asyncio.run(_all(pages, directory, library)))


def _beside(work: Callable[[], Any]) -> Any:
    """The result of `work` in a thread: in the main one nbclient takes Ctrl-C for itself, and the build goes on."""
    results: List[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


async def _all(pages: List[Path], directory: Path, library: str) -> Dict[str, Any]:
    free = asyncio.Semaphore(TOGETHER)
    notebooks = await asyncio.gather(*(_one(page, directory, library, free) for page in pages), return_exceptions=True)
    wrong = [each for each in notebooks if isinstance(each, BaseException)]
    other = [each for each in wrong if not isinstance(each, TutorialError)]
    if other:
        raise other[0]
    if wrong:  # all of them, so that one build shows everything that is to be mended
        raise TutorialError("\n\n".join(str(each) for each in wrong))
    return {page.stem: notebook for page, notebook in zip(pages, notebooks)}


async def _one(page: Path, directory: Path, library: str, free: asyncio.Semaphore) -> Any:
    import nbformat

    kept = directory / f"{page.stem}.ipynb"
    key = hashlib.sha256((library + page.read_text(encoding="utf-8")).encode()).hexdigest()
    if kept.is_file():
        notebook = nbformat.read(kept, as_version=4)
        if notebook.metadata.get("build", {}).get("key") == key:
            return notebook
    notebook = _read(page)
    async with free:
        seconds = await _run(notebook, page)
    check(notebook, page.name)
    notebook.metadata["build"] = {"key": key, "seconds": round(seconds, 1)}
    if seconds > LIMIT:
        raise TutorialError(f"{page.name}: took {seconds:.0f} s of processor time, more than {LIMIT}: make it smaller")
    slow = f"  more than {SLOW} s: make it smaller" if seconds > SLOW else ""
    print(f"{page.name}: {seconds:.0f} s{slow}", flush=True)
    nbformat.write(notebook, kept)
    return notebook


def _read(page: Path) -> Any:
    import jupytext

    notebook = jupytext.read(page, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"  # random ones would change with every build
    return notebook


async def _run(notebook: Any, page: Path) -> float:
    """Execute all cells in place, in an empty folder; returns the seconds of processor time this took."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from nbformat.v4 import new_code_cell

    variables = {
        **os.environ,
        "MATPLOTLIBRC": str(STYLE),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",  # a bar that moves is no text for a page
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["--IPKernelApp.log_level=ERROR"]  # every kernel warns that it listens on 127.0.0.1
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=quiet,
            coalesce_streams=True,  # what one call of print writes is one output
        )
        start = time.perf_counter()
        notebook.cells.append(new_code_cell(CLOCK))
        try:
            await asyncio.wait_for(client.async_execute(env=variables), PATIENCE)
        except CellExecutionError as error:
            number, cell = next((n, c) for n, c in _code(notebook) if any(o.output_type == "error" for o in c.outputs))
            message = "\n".join(ANSI.sub("", line) for line in _error_of(cell).traceback) or str(error)
            raise TutorialError(f"{page.name}, cell {number}: {error.ename}: {error.evalue}\n{message}") from None
        except (asyncio.TimeoutError, DeadKernelError) as error:
            late = time.perf_counter() - start >= PATIENCE
            reason = f"did not end within {PATIENCE} s" if late else f"its process ended: {error}"
            raise TutorialError(f"{page.name}: {reason}") from error
        return float(notebook.cells.pop().outputs[0].text)


def check(notebook: Any, name: str) -> None:
    """Tidy what the cells showed, in place.

    Raises:
        TutorialError: a cell without the tag "warns" wrote to stderr; a cell showed a picture without a description.
    """
    for number, cell in _code(notebook):
        where = f"{name}, cell {number}"
        cell.metadata.pop("execution", None)  # when each cell ran
        cell.outputs = [output for output in cell.outputs if not _is_a_handle(output)]
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = ANSI.sub("", output.text)
                if output.name == "stderr":
                    output.text = re.sub(
                        r"^\S*[\\/]ipykernel_\d+[\\/]\d+\.py:\d+: ", "", output.text, flags=re.MULTILINE
                    )
                    if "warns" not in cell.metadata.get("tags", []):
                        hint = 'mend the cause, or show the warning: # %% tags=["warns"]'
                        raise TutorialError(f"{where} wrote to stderr ({hint}):\n{output.text}")
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if pictures > 1:
            raise TutorialError(f"{where} draws {pictures} pictures: one picture for each cell")
        if pictures and not cell.metadata.get("alt", "").strip():
            raise TutorialError(f'{where} draws a picture: say what it shows, # %% alt="..."')


def _is_a_handle(output: Any) -> bool:
    """Is this the text of artists of matplotlib, such as ``<Axes: >``, which says nothing beside the picture?"""
    text = output.get("data", {}).get("text/plain", "") if output.output_type == "execute_result" else ""
    return "matplotlib." in text and bool(ADDRESS.search(text)) or text.startswith(HANDLES)


def _code(notebook: Any) -> Iterator[Any]:
    return ((number, cell) for number, cell in enumerate(notebook.cells, start=1) if cell.cell_type == "code")


def _error_of(cell: Any) -> Any:
    return next(output for output in cell.outputs if output.output_type == "error")


def _library() -> str:
    """Changes when a source of the library, the style of figures or a version of what computes changes."""
    summary = hashlib.sha256()
    for path in [*sorted((ROOT / "spikecore").rglob("*.py")), STYLE]:
        summary.update(path.read_bytes())
    for name in ("numpy", "torch", "matplotlib", "numba", "scikit-learn"):
        try:
            summary.update(metadata.version(name).encode())
        except metadata.PackageNotFoundError:
            summary.update(b"absent")
    return summary.hexdigest()
