"""Steps that do what steps should not, for the tests of their runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time


def right(record):
    print("it says something")
    record.check("one", True)
    record.row("Times", ms=record.time(1.23456), what="a | b")


def breaks(record):
    record.check("one", True)
    raise RuntimeError("a word of why")


def dies(record):
    record.row("Times", ms=3.0)
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(record):
    """Ignores the request to end, and so does its child, whose number is in a note."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    record.row("Children", number=child.pid)
    time.sleep(600)
