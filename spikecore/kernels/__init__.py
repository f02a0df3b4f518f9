"""Fused kernels: the time loop leaves Python. Made from the same ``step`` and the same derivative rules as everything.

trace.py runs a neuron's step once on symbols, adjoint.py applies ``api/core/rules.py`` to them, and an emitter turns
both into a kernel with the loop over time inside.
"""
