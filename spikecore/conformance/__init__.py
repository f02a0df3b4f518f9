"""The conformance suite: one set of tests, every engine.

    pip install pytest hypothesis
    pytest --pyargs spikecore.conformance --engine NAME

Checks are plain functions ``check_*(engine, case)``; the tests call them for each engine and case, and the repository's
own tests call them on broken engines, where they must fail. ``cases.py`` is the table of cases: a new neuron is one
line there. Its witnesses, from near to far: its equations as a plain loop (``reference.py``), numbers that snnTorch
computed (``golden.py``), gradients of torch, finite differences, and the NumPy engine.

Every test takes the fixture ``engine`` or ``engine32``. Importing this package imports nothing else.
"""
