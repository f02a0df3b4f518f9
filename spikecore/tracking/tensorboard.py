"""``TensorBoard``: event files, by the writer that TensorBoard itself has."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence

from spikecore.arguments import PathLike, checked
from spikecore.tracking.rows import own_rows
from spikecore.tracking.sample import Sample
from spikecore.tracking.tracker import Tracker, needed

if TYPE_CHECKING:
    from spikecore import Model
    from spikecore.api.training.history import Row


class TensorBoard(Tracker):
    """Tracker that writes event files for TensorBoard: ``tensorboard --logdir runs`` shows them.

    Every column of the history is a scalar of that name, with the epoch as its step. TensorBoard's scalars are 32-bit
    floats: a number is rounded to the nearest. Needs the extra ``tensorboard``, and not torch.

    Args:
        path: the folder of one training; it is made. TensorBoard shows each folder as a run.
        sample: as in ``Tracker``.
        config: as in ``Tracker``.
        overwrite: whether to delete the event files of another training, if the folder holds some; default False.

    Raises:
        ImportError: the package tensorboard is missing.
        FileExistsError: when training begins: the folder has the log of another training.
    """

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
        needed("TensorBoard", "tensorboard.summary.writer.event_file_writer", "tensorboard")
        self.path, self.overwrite = Path(path), overwrite
        self._writer: Any = None
        self._from: Optional[int] = None  # the first epoch of which the folder has a row that no longer counts

    def __repr__(self) -> str:
        return f"TensorBoard({str(self.path)!r})"

    def start(self, model: Model, past: Sequence[Row]) -> int:
        held = self._held()
        count = own_rows(repr(self), held, past, self.overwrite, float32)
        after = past[count - 1]["epoch"] if count else 0
        self._from = after + 1 if any(epoch > after for epoch in held) else None
        if held and not count:  # of another training, which may be replaced
            for file in self._files():
                file.unlink()
        self._writer = self._last_file()
        return count

    def _last_file(self) -> Any:
        """The writer of a new file behind all others: event files are read in the order of their names.

        A name begins with the second, so a file of another process may have to wait for the next one.
        """
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        before = self._files()
        while True:
            writer = EventFileWriter(str(self.path))
            (own,) = set(self._files()) - set(before)
            if own == self._files()[-1]:
                return writer
            writer.close()
            own.unlink()
            time.sleep(0.05)

    def _files(self) -> List[Path]:
        return sorted(self.path.glob("events.out.tfevents.*"))

    def _held(self) -> Dict[int, Row]:
        """The scalars in the folder, by epoch."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        if not self._files():
            return {}
        events = EventAccumulator(str(self.path), size_guidance={"scalars": 0})
        events.Reload()
        rows: Dict[int, Row] = {}
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                rows.setdefault(event.step, {})[tag] = event.value
        return rows

    def scalars(self, step: int, row: Row) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        if self._from is not None:  # TensorBoard then forgets what older files have of these steps
            log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=self._from, session_log=log))
            self._from = None
        self._add(step, *(summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in row.items()))

    def picture(self, step: int, name: str, png: bytes) -> None:
        from tensorboard.compat.proto import summary_pb2

        width, height = struct.unpack(">II", png[16:24])  # as the format has it
        image = summary_pb2.Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        self._add(step, summary_pb2.Summary.Value(tag=name, image=image))

    def text(self, name: str, text: str) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._add(0, *text_pb(name, f"```\n{text}\n```").value)  # TensorBoard shows text as Markdown

    def _add(self, step: int, *values: Any) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        summary = summary_pb2.Summary(value=values)
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        self._writer.flush()

    def stop(self, failed: bool) -> None:
        self._writer.close()


def float32(value: float) -> float:
    """A number as TensorBoard keeps it."""
    import numpy as np

    with np.errstate(over="ignore"):
        return float(np.float32(value))
