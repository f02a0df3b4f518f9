"""Figures of a training as text."""

from __future__ import annotations

from typing import Any, Dict

from spikecore.api.functional.metrics import COLUMNS


def epoch_line(row: Dict[str, Any]) -> str:
    """One line of text with the loss, the metrics and the time of an epoch; ``row`` is a row of the history."""
    shown = [name for name in row if name == "loss" or name not in COLUMNS]
    figures = [f"{name} {digits(row[name])}" for name in shown]
    return f"epoch {row['epoch']:>3}  {'  '.join(figures)}  {row['seconds']:.2f} s"


def digits(value: float) -> str:
    """A figure with four decimals; small ones, such as rates, with three digits."""
    return f"{value:.4f}" if value == 0 or not abs(value) < 0.001 else f"{value:.2e}"
