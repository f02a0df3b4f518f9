"""C from a step graph, in floating point or in integers; ``writer.py`` is where it begins.

The examples at the heads of these files are of ``Linear(4, 6), Leaky(beta=0.9), Linear(6, 3), LI()``, or of layers that
are named.

1. ``lowering.py`` makes tasks of words, on views of arrays (``tasks.py``, ``views.py``).
2. ``plan.py`` knows no language: loops (``schedule.py``), places in memory (``memory.py``), which arrays are spikes
   (``facts.py``).
3. ``float_source.py`` writes the plan line by line: elementwise words (``float_words.py``), products and pooling
   (``float_kernels.py``). In integers the same are ``fixed_source.py``, ``fixed_words.py`` and ``fixed_kernels.py``.
   Before them ``fixed_step.py`` finds a grid and a range for each array (``fixed_rules.py``, ``fixed_inputs.py``).
4. ``files.py`` writes header and source around it, ``example.py`` a program, ``readme.py`` the page.
"""
