"""Programs of this package in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

ROOT = str(Path(__file__).parents[1])  # where this package lies, which is not installed


def in_a_process(module: str, request: Dict[str, Any], environment: Any = None, aloud: str = "") -> str:
    """The last line that a module, run as a program, prints for a request.

    Args:
        module: its name.
        request: its argument, as JSON.
        environment: the process's; None is this one's.
        aloud: what to call the process if its standard error is to be this one's; "" keeps it for the message.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", module, json.dumps(request)]
    environment = dict(os.environ if environment is None else environment)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, environment.get("PYTHONPATH"))))
    errors = None if aloud else subprocess.PIPE
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, check=False)
    if done.returncode:
        last = "see its message above" if aloud else (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"{aloud or module} left with {done.returncode}: {last}")
    return done.stdout.strip().splitlines()[-1]
