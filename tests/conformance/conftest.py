"""The suite's fixtures, and ``absentee``: the engines of this repository that are not here."""

from __future__ import annotations

from spikecore.conformance import fixtures
from spikecore.conformance.fixtures import engine, engine32, inside, pytest_pyfunc_call  # noqa: F401

from . import own_engines


def pytest_generate_tests(metafunc):
    fixtures.pytest_generate_tests(metafunc)
    if "absentee" in metafunc.fixturenames:  # one skip for each engine that is not here, not a thousand
        every = metafunc.config.getoption("--engine") == own_engines.texts(None)
        away = own_engines.missing() if every else {}
        metafunc.parametrize("absentee", list(away.items()), ids=list(away))
