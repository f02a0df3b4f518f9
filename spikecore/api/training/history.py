"""``History``: what a fit reports of each epoch, as a list of rows that prints as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

from spikecore.printing import columns, table

Row = Dict[str, Any]
LAST = ("lr", "seconds")  # columns that come behind the metrics
FALL, RISE = ("loss", "mae", "mse", "error"), ("accuracy", "f1", "r2")  # parts of the names of columns
MOST = 12  # epochs that are printed; of more, the first and the last ones


def rises(owner: str, monitor: str, mode: str) -> bool:
    """Whether larger values of a column are better.

    Args:
        owner: whose arguments these are, for messages.
        monitor: the column.
        mode: "min", "max", or "auto": by its name.

    Raises:
        TypeError: ``mode`` is something else.
        ValueError: "auto" for a column that is no loss, error or accuracy by its name.
    """
    if mode not in ("min", "max", "auto"):
        raise TypeError(f"{owner}: mode={mode!r} must be 'min', 'max' or 'auto'")
    if mode != "auto":
        return mode == "max"
    words = [word for word in (*FALL, *RISE) if word in monitor]
    if not words:
        raise ValueError(
            f"{owner}: monitor={monitor!r} is no loss, error or accuracy by its name: say mode='min' if it should "
            "fall, mode='max' if it should rise"
        )
    return words[0] in RISE


class History(List[Row]):
    """A list of dicts, one per epoch, that prints as a table.

    A row has the columns epoch, loss, accuracy or other metrics, val_loss, val_accuracy, lr, seconds, samples_per_s.
    """

    if not TYPE_CHECKING:  # type checkers are to refuse names as indices

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, str):
                raise TypeError(f"History is a list of rows, one per epoch: write [row[{index!r}] for row in history]")
            return super().__getitem__(index)

        def __getattr__(self, name: str) -> Any:
            column = "loss" if name in ("history", "losses") else name
            written = f": it is a list of rows, one per epoch; write [row[{column!r}] for row in history]"
            raise AttributeError(f"History has no {name!r}{written if any(column in row for row in self) else ''}")

    def __repr__(self) -> str:
        head, rows = self._cells()
        return columns([head, *rows], left=0) if rows else "no epochs yet"

    def _repr_html_(self) -> str:
        return table("History" if self else "History: no epochs yet", *self._cells()[::-1])

    def _cells(self) -> Any:
        """The names of the columns, and the rows, as text."""
        given = dict.fromkeys(name for row in self for name in row if name != "samples_per_s")
        names = sorted(given, key=lambda name: name in LAST)
        rows = [[_text(row.get(name)) for name in names] for row in self]
        if len(rows) > MOST:
            rows = [*rows[: MOST // 2], ["…"] * len(names), *rows[-MOST // 2 :]]
        return names, rows


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
