"""The names of ``spikecore.errors``: what ``errors.py`` resolves on first use, and what type checkers see."""

from spikecore.api.core.engines import EngineUnavailable as EngineUnavailable
from spikecore.api.core.layer import ShapeError as ShapeError
from spikecore.api.core.messages import TrainingWarning as TrainingWarning
from spikecore.api.core.ranks import RankError as RankError
from spikecore.api.core.ranks import RankLost as RankLost
from spikecore.api.training.clipping import DivergedError as DivergedError
from spikecore.api.training.description import CheckpointError as CheckpointError
from spikecore.export.errors import ExportError as ExportError
