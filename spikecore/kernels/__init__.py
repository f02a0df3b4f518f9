"""Kernels: compiled code that runs a neuron over all time steps, made from the neuron's ``step`` and the rules.

trace.py runs a neuron's step once on symbols, adjoint.py applies ``api/core/rules.py`` to them, and an emitter turns
both into a kernel with the loop over time inside.
"""
