"""What needs a CUDA device, in one command: ``python -m benchmarks.gpu``, or ``make gpu``.

It measures and tests what no machine without a GPU can: see ``plan.py`` for the steps. Each step is a process with a
time limit, so that none can stop another. ``--rehearse`` runs the same steps on the CPU with tiny sizes; what it writes
has no times, no card and another file name.
"""
