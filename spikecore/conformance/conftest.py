"""What pytest reads for the suite: its fixtures."""

from spikecore.conformance.fixtures import engine, engine32, inside, pytest_generate_tests, pytest_pyfunc_call  # noqa: F401
