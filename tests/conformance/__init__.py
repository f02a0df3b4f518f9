"""The conformance suite on this repository's engines, and what tests the suite itself: mutants that it must find.

The cases are in ``spikecore/conformance``. Each file of tests there has one of the same name here, which runs it and
adds what takes no engine from outside.

    pytest tests/conformance --engine NAME        # a name of own_engines.py, or any engine, a third party's included
"""
