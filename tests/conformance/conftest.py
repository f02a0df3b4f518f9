"""The fixture ``engine``: every engine that is present, in float64. ``engine32``: the same in float32."""

from __future__ import annotations

import pytest

from .rig import make, selected

FIXTURES = {"engine": "float64", "engine32": "float32"}


def pytest_generate_tests(metafunc):
    names, missing = selected(metafunc.config)
    for fixture in FIXTURES:
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names, indirect=True)
    if "absentee" in metafunc.fixturenames:  # one skip for each engine that is not here, not a thousand
        metafunc.parametrize("absentee", list(missing.items()), ids=list(missing))


@pytest.fixture(scope="session")
def engine(request):
    return make(request.param, FIXTURES["engine"])


@pytest.fixture(scope="session")
def engine32(request):
    return make(request.param, FIXTURES["engine32"])
