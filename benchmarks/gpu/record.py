"""What a step finds, written to a file at each change: a step that is ended leaves what it had until then."""

from __future__ import annotations

import gc
import json
import os
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional


class Absent(Exception):
    """A step, or a part of one, cannot run here; the message has the reason and the remedy."""


class Record:
    """The findings of a step.

    Args:
        path: the file.
        rehearse: whether this is a rehearsal on the CPU: then no time is recorded.
    """

    def __init__(self, path: Path, rehearse: bool) -> None:
        self.path, self.rehearse = path, rehearse
        self.tables: Dict[str, List[Dict[str, Any]]] = {}
        self.failures: List[str] = []
        self.notes: List[str] = []
        self.checks = 0
        self.absent = ""
        self.finished = False
        self.write()

    @property
    def device(self) -> str:
        """The torch device of the step."""
        return "cpu" if self.rehearse else "cuda"

    def size(self, full: Any, tiny: Any) -> Any:
        """``full``, or ``tiny`` in a rehearsal."""
        return tiny if self.rehearse else full

    def time(self, figure: Optional[float], digits: int = 3) -> Optional[float]:
        """A time, or what was computed from one, to so many significant digits; None in a rehearsal."""
        return None if self.rehearse or figure is None else float(f"{figure:.{digits}g}")

    def row(self, table: str, **cells: Any) -> None:
        """Add a row to a table; the cells are texts, numbers, or None for what was not measured."""
        self.tables.setdefault(table, []).append(cells)
        self.write()

    def check(self, what: str, right: bool, found: str = "") -> None:
        """Count a check; one that is not ``right`` makes the step fail, and ``found`` says what was found."""
        self.checks += 1
        if not right:
            self.failures.append(f"{what}: {found}" if found else what)
            print(f"FAILED {self.failures[-1]}", flush=True)
        self.write()

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A block whose error is a failed check, so that what comes after it is done all the same. What it took of the
        device's memory is given back.
        """
        try:
            yield
        except Absent:
            raise
        except Exception as error:  # of whatever kind: the other rows are worth having, and the report says what failed
            traceback.print_exc()
            self.check(what, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        self.free()

    def free(self) -> None:
        """Give the device's memory back that nothing uses."""
        gc.collect()
        if not self.rehearse:
            import torch

            torch.cuda.empty_cache()

    def note(self, text: str) -> None:
        """Add a sentence for the reader."""
        self.notes.append(text)
        print(text, flush=True)
        self.write()

    def write(self) -> None:
        """Write everything to the file, in a single step."""
        names = "tables failures notes checks absent finished".split()
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps({name: getattr(self, name) for name in names}), encoding="utf-8")
        os.replace(beside, self.path)
