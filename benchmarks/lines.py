"""Results of long runs as lines of JSON in a file: a command that was interrupted goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Optional

Run = Dict[str, Any]


class Lines:
    """The lines of a file.

    Args:
        path: the file, which may be absent yet; None: lines are printed alone.
        aloud: whether lines are printed.
    """

    def __init__(self, path: Optional[Path], aloud: bool = True) -> None:
        self.path, self.aloud = path, aloud
        text = path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""
        self.known = [json.loads(line) for line in text.splitlines()]

    def of(self, run: Run, measure: Callable[[], Run]) -> Run:
        """The line of a run.

        Args:
            run: what tells runs apart; a line that has it all is the run's.
            measure: makes the run, and returns what its line has besides; called if there is no line.
        """
        found = next((line for line in self.known if run.items() <= line.items()), None)
        if found is not None:
            return found
        line = {**run, **measure()}
        text = json.dumps(line)
        if self.aloud:
            print(text, flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        return line
