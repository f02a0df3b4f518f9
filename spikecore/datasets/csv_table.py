"""Tables of numbers with a column of classes, or of numbers to predict, in CSV files."""

from __future__ import annotations

import csv
import os
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.arguments import shown
from spikecore.arguments import unknown as unknown_name
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.limits import MOST_BYTES, check_size
from spikecore.datasets.places import PathLike
from spikecore.samples import Dataset

DELIMITERS = ",;\t"


@checked
def csv_table(
    path: PathLike,
    *,
    target: Optional[str] = None,
    numbers: Optional[bool] = None,
    leave_out: Sequence[str] = (),
    test_share: float = 0.2,
    seed: int = 0,
    max_bytes: int = MOST_BYTES,
) -> Tuple[Dataset, Dataset]:
    """Read a CSV file, a row per sample and a column with its class or number, as (train, test).

    Inputs are float32 (samples, columns), targets int64. The classes are the different texts of their column, in
    alphabetical order, or by size if all are whole numbers. Rows are drawn for the test, from each class its share.
    Targets that are numbers are float32.

    Args:
        path: the file: UTF-8, cells separated by commas, semicolons or tabs. The first row may have the names of the
            columns.
        target: name of the column of classes or numbers to predict; None, the default: the last column.
        numbers: whether the targets are numbers and no classes; None, the default: if a number in them is not whole.
        leave_out: names of columns that are not read, such as a number of the row.
        test_share: share of the rows, or of each class's rows, for the test, > 0 and < 1, at least one row; default
            0.2.
        seed: of the draw; an integer ≥ 0. Default 0.
        max_bytes: most bytes that the file may have. Default: 4 GiB.

    Raises:
        DataFileError: the file is absent or not such a table; names the line and the column, and what to do.
        DataError: an argument is out of range, there is no such column, or a class has a single row.
    """
    if not 0.0 < test_share < 1.0:
        raise DataError(f"csv_table: test_share={test_share!r} must be > 0 and < 1")
    if seed < 0 or max_bytes < 1:
        raise DataError(f"csv_table: seed={seed} must be >= 0, and max_bytes={max_bytes} >= 1")
    names, lines, rows = _rows(path, max_bytes)
    for name in (*leave_out, *([] if target is None else [target])):
        if name not in names:
            raise DataError(f"csv_table: {path}: {unknown_name('column', name, names)}")
    place = len(names) - 1 if target is None else names.index(target)
    read = [column for column, name in enumerate(names) if column != place and name not in leave_out]
    if not read:
        raise DataFileError(f"{path}: has no column beside {names[place]!r}, the targets")
    values = np.array([[_number(path, line, names[c], row[c]) for c in read] for line, row in zip(lines, rows)])
    cells = [row[place].strip() for row in rows]
    if numbers is None:
        numbers = all(map(_is_number, cells)) and not all(float(cell).is_integer() for cell in cells)
    if numbers:
        classes: Tuple[str, ...] = ()
        targets = np.array([_number(path, line, names[place], cell) for line, cell in zip(lines, cells)], np.float32)
        tested = _drawn(len(cells), test_share, seed)
    else:
        classes, targets = _classes(path, names[place], cells)
        tested = _tested(targets, classes, test_share, seed)
    whole = os.path.basename(os.fspath(path))

    def dataset(part: np.ndarray, word: str) -> Dataset:
        return Dataset(values[part].astype(np.float32), targets[part], name=f"{whole} {word}", classes=classes)

    return dataset(~tested, "train"), dataset(tested, "test")


def numbers_of(path: PathLike, leave_out: Sequence[str], max_bytes: int) -> Tuple[List[str], np.ndarray]:
    """The columns of numbers of a CSV file: their names, and float64 (rows, columns)."""
    names, lines, rows = _rows(path, max_bytes)
    for name in leave_out:
        if name not in names:
            raise DataError(f"{path}: {unknown_name('column', name, names)}")
    read = [column for column, name in enumerate(names) if name not in leave_out]
    values = np.array([[_number(path, line, names[c], row[c]) for c in read] for line, row in zip(lines, rows)])
    return [names[c] for c in read], values


def texts_of(path: PathLike) -> Tuple[List[str], int]:
    """The columns in which no cell is a number, such as dates, and the number of rows.

    Raises:
        DataFileError: as for ``csv_table``, or there is no other column.
    """
    names, _, rows = _rows(path, MOST_BYTES)
    texts = [n for n, *cells in zip(names, *rows) if not any(_is_number(cell.replace(",", ".")) for cell in cells)]
    if len(texts) == len(names):
        raise DataFileError(f"{path}: has no column of numbers: need a column per series, and a row per step")
    return texts, len(rows)


def _rows(path: PathLike, max_bytes: int) -> Tuple[List[str], List[int], List[List[str]]]:
    """Names of the columns, numbers of the lines, and their cells."""
    try:
        check_size(path, os.stat(path).st_size, max_bytes)
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=first.count))
            found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(f"{path}: is no CSV file in UTF-8, as spreadsheets save: {error}") from error
    width = len(found[0][1]) if found else 0
    for line, row in found:
        if len(row) != width:
            raise DataFileError(f"{path}: line {line} has {len(row)} cells, and the first line {width}")
    headed = bool(found) and not any(map(_is_number, found[0][1]))
    names = [cell.strip() for cell in found[0][1]] if headed else [f"column {n + 1}" for n in range(width)]
    found = found[headed:]
    if len(found) < 2:
        raise DataFileError(f"{path}: has {len(found)} rows of data: need a row per sample, with its class at the end")
    return names, [line for line, _ in found], [row for _, row in found]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(path: PathLike, line: int, name: str, cell: str) -> float:
    if not _is_number(cell) or not np.isfinite(float(cell)):
        told = "leave the column out, or number its texts"
        if not cell.strip():
            told = "fill the cell, or leave the row out"
        elif _is_number(cell.replace(",", ".")):
            told = f"write a point for the decimal comma, {cell.strip().replace(',', '.')}"
        raise DataFileError(f"{path}: line {line}, {name!r}: {shown(cell)} is no finite number; {told}")
    return float(cell)


def _classes(path: PathLike, name: str, cells: List[str]) -> Tuple[Tuple[str, ...], np.ndarray]:
    """The names of the classes, and the class of each row."""
    texts: Any = set(cells)
    if "" in texts:
        raise DataFileError(f"{path}: column {name!r} has rows without a class: leave them out")
    if all(map(_is_number, texts)):
        if not all(float(text).is_integer() for text in texts):
            raise DataFileError(
                f"{path}: column {name!r} has numbers such as {min(texts, key=lambda text: float(text).is_integer())}, "
                "which are no classes: name the column of classes, target=..., or leave numbers=False out"
            )
        cells = [str(int(float(cell))) for cell in cells]  # "1" and "1.0" are one class
        ordered = sorted(set(cells), key=int)
    else:
        ordered = sorted(texts)
    number = {text: label for label, text in enumerate(ordered)}
    return tuple(ordered), np.array([number[cell] for cell in cells], np.int64)


def _drawn(rows: int, share: float, seed: int) -> np.ndarray:
    """A mask (rows,) of the rows for the test: a share of them, drawn by ``seed``."""
    tested = np.zeros(rows, bool)
    tested[np.random.default_rng(seed).permutation(rows)[: min(rows - 1, max(1, round(share * rows)))]] = True
    return tested


def _tested(labels: np.ndarray, classes: Sequence[str], share: float, seed: int) -> np.ndarray:
    """A mask (rows,) of the rows for the test: a share of each class, drawn by ``seed``."""
    tested, rng = np.zeros(len(labels), bool), np.random.default_rng(seed)
    for label, name in enumerate(classes):
        mine = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(share * len(mine)))
        if count >= len(mine):
            told = "; if these are numbers to predict: numbers=True, or init csv --numbers" * _is_number(name)
            raise DataError(
                f"csv_table: class {name!r} has {len(mine)} rows, of which test_share={share!r} leaves none to train on"
                f"{told}"
            )
        tested[mine[:count]] = True
    return tested
