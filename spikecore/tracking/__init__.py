"""Callbacks that log a training: to CSV and JSONL files, TensorBoard, MLflow, Weights & Biases.

    from spikecore import tracking

    model.fit(x, y, loss=loss, epochs=20, num_steps=25, callbacks=(tracking.CSV("log.csv"),))

A tracker of your own derives from ``Tracker``. docs/tracking.md shows one. TensorBoard, MLflow and W&B are extras of
this package; a tracker whose package is missing says which.

Of the core it uses the interface of callbacks, rows of the history, and weights and recorded states of a model.

Begin with ``tracker.py``, the base class, and ``tables.py``, the simplest trackers.
"""

from __future__ import annotations

from spikecore.tracking.mlflow import MLflow
from spikecore.tracking.sample import Sample
from spikecore.tracking.tables import CSV, JSONL
from spikecore.tracking.tensorboard import TensorBoard
from spikecore.tracking.tracker import Tracker
from spikecore.tracking.wandb import WandB

__all__ = ["CSV", "JSONL", "MLflow", "Sample", "TensorBoard", "Tracker", "WandB"]
