"""Fixtures of the suite, which pytest reads."""

from spikecore.conformance.fixtures import engine, engine32, inside, pytest_generate_tests, pytest_pyfunc_call  # noqa: F401
