"""``WandB``: a run of Weights & Biases, online or offline."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from spikecore.arguments import PathLike, checked
from spikecore.files import json_text, write_atomically
from spikecore.tracking.rows import continued
from spikecore.tracking.sample import Sample
from spikecore.tracking.tracker import Tracker, needed

if TYPE_CHECKING:
    from spikecore import Model
    from spikecore.api.training.history import Row

# Among the files of a run: its id and whether it was closed, then its rows. By them a resumed fit finds the run.
ROWS = "history.jsonl"


class WandB(Tracker):
    """Tracker that writes a run of Weights & Biases.

    Every column of the history is a value of that name, with the epoch as its step. Settings are the run's config.
    Texts are files of the run, and so is ``history.jsonl``, which has the same rows and is written after each epoch.
    Needs the extra ``wandb``.

    A fit that continues an earlier one continues in the run of that fit, under the same id, if ``folder`` still has its
    files. A run that was not closed may lack its last rows, because W&B writes every few seconds only; the fit then
    begins another run, which has the whole history.

    Args:
        project: name of the project; default "spikecore".
        offline: whether to write to the disk alone, without network and without login; ``wandb sync`` uploads it later.
            False, the default: W&B's own choice, for which it reads ``$WANDB_MODE``.
        folder: where W&B makes its folder ``wandb``; it is made; default: the current one.
        name: of the run; None, the default, lets W&B draw one.
        sample: as in ``Tracker``.
        config: as in ``Tracker``.

    Raises:
        ImportError: the package wandb is missing.
    """

    @checked
    def __init__(
        self,
        project: str = "spikecore",
        *,
        offline: bool = False,
        folder: PathLike = ".",
        name: Optional[str] = None,
        sample: Optional[Sample] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(sample=sample, config=config)
        needed("WandB", "wandb", "wandb")
        self.project, self.offline, self.folder, self.name = project, offline, Path(folder), name
        self._run: Any = None
        self._rows: List[Row] = []  # of this run, for its file
        self._step: Optional[int] = None
        self._values: Dict[str, Any] = {}  # of this step

    def __repr__(self) -> str:
        return f"WandB({self.project!r}, offline={self.offline})"

    def start(self, model: Model, past: Sequence[Row]) -> int:
        import wandb

        number, self._rows = self._found(past)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self.project,
            name=self.name,
            id=number,
            dir=str(self.folder),
            mode="offline" if self.offline else None,
            resume=None if number is None else "allow",
            reinit="create_new",
        )
        return len(self._rows)

    def _found(self, past: Sequence[Row]) -> Tuple[Optional[str], List[Row]]:
        """The id of the run to continue with, and the rows that it has; None and nothing for a new one."""
        best: Tuple[Optional[str], List[Row]] = (None, [])
        for file in sorted((self.folder / "wandb").glob(f"*run-*/files/{ROWS}")) if past else ():
            first, *rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            held = {row["epoch"]: row for row in rows}
            if first["closed"] and not set(held) - {row["epoch"] for row in past}:
                count = continued(held, past) or 0
                best = (first["id"], rows[:count]) if count > len(best[1]) else best
        return best

    def settings(self, config: Mapping[str, Any]) -> None:
        self._run.config.update(json.loads(json_text(config)))

    def scalars(self, step: int, row: Row) -> None:
        if self._step is not None and step != self._step:
            self.flush()
        self._step = step
        self._values.update(row)
        self._rows.append(row)

    def picture(self, step: int, name: str, png: bytes) -> None:
        import wandb
        from PIL import Image  # which matplotlib brings

        self._values[name] = wandb.Image(Image.open(io.BytesIO(png)))
        self._step = step

    def text(self, name: str, text: str) -> None:
        write_atomically(Path(self._run.dir) / f"{name}.txt", text.encode())

    def flush(self) -> None:
        if self._values:  # in one piece: W&B takes nothing more for a step that is committed
            self._run.log(self._values, step=self._step, commit=True)
        self._values, self._step = {}, None
        self._keep(closed=False)

    def stop(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
        self._keep(closed=True)

    def _keep(self, closed: bool) -> None:
        lines = [json_text({"id": self._run.id, "closed": closed}), *map(json_text, self._rows)]
        write_atomically(Path(self._run.dir) / ROWS, "".join(f"{line}\n" for line in lines).encode())
