"""The conformance suite: one set of tests, every engine.

Checks are plain functions ``check_*(engine, case)``; the tests call them for each engine and case, and
``test_suite_has_teeth.py`` calls them on broken engines, where they must fail. ``cases.py`` is the table of cases: a
new neuron is one line there. Its witnesses, from near to far: its equations as a plain loop (``reference.py``), numbers
that snnTorch computed (``golden.py``), finite differences in smooth mode, and every other engine.

    pytest tests/conformance --engine NAME        # any engine that spikecore.get_engine knows, a third party's included
"""
