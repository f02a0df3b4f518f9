"""The table ``[track]`` of a run file: where training is logged, beside the run's own history."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

from pydantic import BeforeValidator, Field
from typing_extensions import Annotated

from spikecore.cli.schema import Section
from spikecore.tracking import CSV, JSONL, MLflow, Sample, TensorBoard, Tracker, WandB

FOLDER = "track"


def _switch(value: Any) -> Any:
    """Let true stand for a table with its defaults, and false for none."""
    if value is not None and not isinstance(value, (bool, dict)):
        raise ValueError("must be true, false, or a table")
    return {} if value is True else None if value is False else value


class MLflowTable(Section):
    """The store of MLflow."""

    experiment: str = Field("spikecore", description="name of the experiment")
    uri: Optional[str] = Field(None, description="the store; default: track/mlflow.db in the run directory")


class WandBTable(Section):
    """The options of Weights & Biases."""

    project: str = Field("spikecore", description="name of the project")
    offline: bool = Field(False, description="write to the disk alone, for `wandb sync`")


class Track(Section):
    """The places of the log."""

    tensorboard: bool = Field(False, description="event files for TensorBoard, in track/tensorboard")
    csv: bool = Field(False, description="a table, track/log.csv")
    jsonl: bool = Field(False, description="a JSON object per epoch, track/log.jsonl")
    mlflow: Annotated[Optional[MLflowTable], BeforeValidator(_switch)] = Field(
        None, description="a run in an MLflow store; true, or a table with experiment and uri"
    )
    wandb: Annotated[Optional[WandBTable], BeforeValidator(_switch)] = Field(
        None, description="a run of Weights & Biases; true, or a table with project and offline"
    )
    samples: int = Field(32, ge=1, description="held-out samples by which firing rates are measured")
    pictures_every: int = Field(
        10,
        ge=0,
        description="draw spikes and membranes of the first of them after epoch 1 and every so many epochs; 0: never",
    )

    @property
    def wanted(self) -> bool:
        """Whether anything is to be logged."""
        return bool(self.tensorboard or self.csv or self.jsonl or self.mlflow or self.wandb)

    def make(
        self, directory: Path, samples: Any, lengths: Any, feeding: Dict[str, Any], config: Dict[str, Any]
    ) -> List[Tracker]:
        """The trackers that the table describes.

        Args:
            directory: the run directory.
            samples: held-out samples.
            lengths: number of their steps that count; None: all.
            feeding: num_steps, encoder and time_axis of the run.
            config: the whole run file.

        Raises:
            ImportError: a package is missing; the message names the extra that brings it.
        """
        folder, name = directory / FOLDER, directory.absolute().name
        title = "first held-out sample"
        sample = Sample(samples, **feeding, lengths=lengths, pictures_every=self.pictures_every, title=title)
        common: Dict[str, Any] = {"sample": sample, "config": config}
        made: List[Tracker] = []
        if self.tensorboard:
            made.append(TensorBoard(folder / "tensorboard", overwrite=True, **common))
        if self.csv:
            made.append(CSV(folder / "log.csv", overwrite=True, **common))
        if self.jsonl:
            made.append(JSONL(folder / "log.jsonl", overwrite=True, **common))
        if self.mlflow is not None:
            made.append(self._mlflow(self.mlflow, folder.absolute(), name, common))
        if self.wandb is not None:
            named = {"folder": folder, "name": name, **common}
            made.append(WandB(self.wandb.project, offline=self.wandb.offline, **named))
        return made

    @staticmethod
    def _mlflow(table: MLflowTable, folder: Path, name: str, common: Dict[str, Any]) -> MLflow:
        if table.uri is not None:
            return MLflow(table.experiment, table.uri, name=name, **common)
        uri, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlflow").as_uri()
        return MLflow(table.experiment, uri, artifacts=artifacts, name=name, **common)
