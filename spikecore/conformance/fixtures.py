"""The fixtures ``engine``, in float64, and ``engine32``: a test that takes one runs on each engine that is selected."""

from __future__ import annotations

import contextlib
from typing import Set

import pytest

from spikecore.conformance.rig import need
from spikecore.conformance.selection import selected

FIXTURES = {"engine": "float64", "engine32": "float32"}


def pytest_generate_tests(metafunc):
    """Run tests that take an engine on each."""
    engines, _ = selected(metafunc.config.getoption("--engine"))
    for fixture in FIXTURES:
        if fixture in metafunc.fixturenames:
            for one in engines:
                check(one.label, one.make)
            metafunc.parametrize(fixture, engines, ids=[one.label for one in engines], indirect=True)


CHECKED: Set[str] = set()


def check(label, make):
    """Refuse to collect, rather than fail a thousand times, if there is no such engine."""
    if label not in CHECKED:
        try:
            make(FIXTURES["engine32"])
        except Exception as error:
            raise pytest.Collector.CollectError(f"--engine {label}: {error}") from None
        CHECKED.add(label)


@pytest.fixture(scope="session")
def engine(request):
    """An engine in float64, as cases compare up to 14 digits."""
    lacks = request.param.make(FIXTURES["engine32"]).lacks
    if "float64" in lacks:
        pytest.skip(f"{request.param.label} lacks float64: {lacks['float64']}")
    return request.param.make(FIXTURES["engine"])


@pytest.fixture(scope="session")
def engine32(request):
    """An engine in float32."""
    return request.param.make(FIXTURES["engine32"])


@pytest.fixture(autouse=True)
def inside(request):
    """Run each test inside ``isolated`` of its engines, as a ``Model`` does; that of float64 is innermost."""
    with contextlib.ExitStack() as contexts:
        for fixture in reversed(list(FIXTURES)):
            if fixture in request.fixturenames:
                contexts.enter_context(request.getfixturevalue(fixture).isolated())
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Skip a case at which an engine raises ``NotImplementedError`` for what its class says it lacks."""
    outcome = yield
    error = outcome.excinfo[1] if outcome.excinfo else None
    engine = pyfuncitem.funcargs.get("engine", pyfuncitem.funcargs.get("engine32"))
    if not isinstance(error, NotImplementedError) or engine is None:
        return
    for what, why in engine.lacks.items():
        if why and why in str(error):
            try:
                need(engine, what)
            except pytest.skip.Exception as skip:
                outcome.force_exception(skip)
            return
