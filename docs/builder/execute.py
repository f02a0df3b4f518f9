"""Executes tutorials: percent files become executed notebooks, each in a kernel of its own."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import percent

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


Then = Callable[[Path, Any], None]  # called with a page and its executed notebook


def execute(pages: List[Path], then: Then) -> None:
    """Execute tutorials.

    Args:
        pages: percent files.
        then: called for each page that is sound, as soon as it is executed.

    Raises:
        TutorialError: a cell raised, warned, or showed a picture without a description; a page took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        _beside(lambda: asyncio.run(_all(pages, then, folder)))


def _beside(work: Callable[[], None]) -> None:
    """Do `work` in a thread: in the main one nbclient takes Ctrl-C for itself, and the build goes on."""
    errors: List[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


async def _all(pages: List[Path], then: Then, matplotlib: str) -> None:
    free = asyncio.Semaphore(TOGETHER)
    done = await asyncio.gather(*(_one(page, free, then, matplotlib) for page in pages), return_exceptions=True)
    wrong = [each for each in done if isinstance(each, BaseException)]
    other = [each for each in wrong if not isinstance(each, TutorialError)]
    if other:
        raise other[0]
    if wrong:  # all of them, so that one build shows everything that is to be mended
        raise TutorialError("\n\n".join(str(each) for each in wrong))


async def _one(page: Path, free: asyncio.Semaphore, then: Then, matplotlib: str) -> None:
    notebook = _notebook(percent.read(page.read_text(encoding="utf-8")))
    async with free:
        seconds = await _run(notebook, page, matplotlib)
    check(notebook, page.name)
    if seconds > LIMIT:
        raise TutorialError(f"{page.name}: took {seconds:.0f} s of processor time, more than {LIMIT}: make it smaller")
    slow = f"  more than {SLOW} s: make it smaller" if seconds > SLOW else ""
    print(f"{page.name}: {seconds:.0f} s{slow}", flush=True)
    then(page, notebook)


def _notebook(cells: List[percent.Cell]) -> Any:
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    new = {"code": new_code_cell, "markdown": new_markdown_cell}
    return new_notebook(
        cells=[new[cell.kind](cell.source, metadata={"tags": list(cell.tags), "alt": cell.alt}) for cell in cells]
    )


async def _run(notebook: Any, page: Path, matplotlib: str) -> float:
    """Execute all cells in place, in an empty folder; returns the seconds of processor time this took."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from nbformat.v4 import new_code_cell

    variables = {
        **os.environ,
        "MATPLOTLIBRC": str(STYLE),
        "MPLCONFIGDIR": matplotlib,  # a list of fonts of this run: one that an install interrupted stays wrong for ever
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
        cell.outputs = [output for output in cell.outputs if not _is_a_handle(output)]
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = ANSI.sub("", output.text)
                if output.name == "stderr":
                    output.text = re.sub(
                        r"^\S*[\\/]ipykernel_\d+[\\/]\d+\.py:\d+: ", "", output.text, flags=re.MULTILINE
                    )
                    if "warns" not in cell.metadata.tags:
                        hint = 'mend the cause, or show the warning: # %% tags=["warns"]'
                        raise TutorialError(f"{where} wrote to stderr ({hint}):\n{output.text}")
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if pictures > 1:
            raise TutorialError(f"{where} draws {pictures} pictures: one picture for each cell")
        if pictures and not cell.metadata.alt:
            raise TutorialError(f'{where} draws a picture: say what it shows, # %% alt="..."')


def _is_a_handle(output: Any) -> bool:
    """Is this the text of artists of matplotlib, such as ``<Axes: >``, which says nothing beside the picture?"""
    text = output.get("data", {}).get("text/plain", "") if output.output_type == "execute_result" else ""
    return "matplotlib." in text and bool(ADDRESS.search(text)) or text.startswith(HANDLES)


def _code(notebook: Any) -> Iterator[Any]:
    return ((number, cell) for number, cell in enumerate(notebook.cells, start=1) if cell.cell_type == "code")


def _error_of(cell: Any) -> Any:
    return next(output for output in cell.outputs if output.output_type == "error")
