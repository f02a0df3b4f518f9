"""Start of this package's programs in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

ROOT = str(Path(__file__).parents[1])  # folder of this package, which is not installed


def in_a_process(module: str, request: Dict[str, Any], environment: Any = None, aloud: str = "") -> str:
    """Run a module as a program; returns the last line that it prints.

    Args:
        module: name of the module.
        request: its argument, which is passed as JSON.
        environment: environment variables of the process; None for those of this process.
        aloud: name of the process for an error, if its standard error goes to this process's own; with "" its standard
            error is not shown, and its last line is in the error.

    Raises:
        RuntimeError: the program failed.
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
