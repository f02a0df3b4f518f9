"""One step as a program: ``python -m benchmarks.gpu.step MODULE:FUNCTION RESULT [--rehearse]``."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import List

from benchmarks.gpu.record import Absent, Record


def main(arguments: List[str]) -> int:
    """Run the step; its findings are in the file RESULT. Returns the exit code: 1 if anything failed."""
    given, path, *rest = arguments
    record = Record(Path(path), "--rehearse" in rest)
    module, _, function = given.partition(":")
    try:
        getattr(importlib.import_module(module), function)(record)
    except Absent as reason:
        record.absent = str(reason)
    except Exception as error:
        traceback.print_exc()
        record.failures.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    record.finished = True
    record.write()
    return 1 if record.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
