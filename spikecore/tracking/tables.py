"""Logs that are tables: CSV and JSONL files, one line per epoch."""

from __future__ import annotations

import csv
import io
import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence

from spikecore.arguments import PathLike, checked
from spikecore.files import json_text, write_atomically
from spikecore.tracking.rows import own_rows
from spikecore.tracking.sample import Sample
from spikecore.tracking.tracker import Tracker

if TYPE_CHECKING:
    from spikecore import Model
    from spikecore.api.training.history import Row


class Table(Tracker):
    """A file with a line per epoch. It is written anew after each epoch, in a single step; texts stand beside it."""

    @checked
    def __init__(
        self,
        path: PathLike,
        *,
        sample: Optional[Sample] = None,
        config: Optional[Mapping[str, Any]] = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__(sample=sample, config=config)
        self.path, self.overwrite = Path(path), overwrite
        self._rows: Dict[int, Row] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @abstractmethod
    def parse(self, text: str) -> List[Row]:
        """The rows in the text of a file."""

    @abstractmethod
    def written(self, rows: Iterable[Row]) -> str:
        """The text of a file with these rows."""

    def start(self, model: Model, past: Sequence[Row]) -> int:
        held = {row["epoch"]: row for row in self._read()}
        count = own_rows(repr(self), held, past, self.overwrite)
        self._rows = {row["epoch"]: held[row["epoch"]] for row in past[:count]}
        return count

    def _read(self) -> List[Row]:
        if not self.path.exists():
            return []
        try:
            rows = self.parse(self.path.read_text(encoding="utf-8"))
            return [row for row in rows if row["epoch"] >= 1]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise FileExistsError(
                f"{self!r} is no log of this tracker, and is not replaced: name another path ({error})"
            ) from None

    def scalars(self, step: int, row: Row) -> None:
        self._rows[step] = {"epoch": step, **row}

    def picture(self, step: int, name: str, png: bytes) -> None:
        write_atomically(self.path.with_name(f"{self.path.stem}.{name}.{step:04d}.png"), png)

    def text(self, name: str, text: str) -> None:
        write_atomically(self.path.with_name(f"{self.path.stem}.{name}.txt"), text.encode())

    def flush(self) -> None:
        if self._rows:
            write_atomically(self.path, self.written(self._rows.values()).encode())


class CSV(Table):
    """Tracker that writes a CSV file, with a line per epoch and a column for each number.

    Numbers are written so that reading gives the same number, bit for bit; a column that an epoch does not have is
    empty. The file is replaced in a single step after each epoch. Beside ``log.csv`` stand ``log.summary.txt``,
    ``log.config.txt``, and with a ``Sample`` pictures, ``log.raster.0001.png``.

    Args:
        path: the file; folders are made.
        sample: as in ``Tracker``.
        config: as in ``Tracker``.
        overwrite: whether to replace the log of another training, if the file holds one; default False.

    Raises:
        FileExistsError: when training begins: the file has the log of another training.
    """

    def parse(self, text: str) -> List[Row]:
        lines = csv.DictReader(io.StringIO(text), strict=True)
        if text and "epoch" not in (lines.fieldnames or ()):
            raise ValueError("it has no column epoch")
        return [{name: _number(cell) for name, cell in line.items() if cell} for line in lines]

    def written(self, rows: Iterable[Row]) -> str:
        rows = list(rows)
        columns = dict.fromkeys(name for row in rows for name in row)
        file = io.StringIO()
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: repr(value) for name, value in row.items()} for row in rows)
        return file.getvalue()


class JSONL(Table):
    """Tracker that writes a JSONL file: one JSON object per epoch, a line each.

    Numbers are written so that reading gives the same number, bit for bit; NaN and infinities, which JSON lacks, become
    null. All else is as for ``CSV``.

    Args:
        path: the file; folders are made.
        sample: as in ``Tracker``.
        config: as in ``Tracker``.
        overwrite: whether to replace the log of another training, if the file holds one; default False.

    Raises:
        FileExistsError: when training begins: the file has the log of another training.
    """

    def parse(self, text: str) -> List[Row]:
        return [json.loads(line) for line in text.splitlines()]

    def written(self, rows: Iterable[Row]) -> str:
        return "".join(f"{json_text(row)}\n" for row in rows)


def _number(cell: str) -> Any:
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)
