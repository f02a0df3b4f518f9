"""Callbacks that log a training: to CSV and JSONL files, TensorBoard, MLflow, Weights & Biases.

    from spikecore import tracking

    model.fit(x, y, loss, epochs=20, num_steps=25, callbacks=(tracking.CSV("log.csv"),))

A tracker of your own derives from ``Tracker``. docs/tracking.md shows one. TensorBoard, MLflow and W&B are extras of
this package; a tracker whose package is missing says which.
"""

from __future__ import annotations

from spikecore.tracking.mlflow import MLflow
from spikecore.tracking.sample import Sample
from spikecore.tracking.tables import CSV, JSONL
from spikecore.tracking.tensorboard import TensorBoard
from spikecore.tracking.tracker import Tracker
from spikecore.tracking.wandb import WandB

__all__ = ["CSV", "JSONL", "MLflow", "Sample", "TensorBoard", "Tracker", "WandB"]
