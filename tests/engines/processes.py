"""Programs and the conformance suite in processes of their own, which have a pretended device."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import ROOT

SUITE = ("-p", "no:cacheprovider", "-q", "--pyargs", "spikecore.conformance")


def ran(*command, **environment):
    """The output of ``python -m`` a module; whatever fails there fails the test."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SPIKECORE_BACKGROUND": "0", **environment}
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return made.stdout


def passed(plugins, *arguments, **environment):
    """How many cases of the conformance suite have passed; those that fail fail the test."""
    out = ran("pytest", *(part for plugin in plugins for part in ("-p", plugin)), *SUITE, *arguments, **environment)
    return int(out.rsplit(" passed", 1)[0].split()[-1])
