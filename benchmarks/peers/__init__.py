"""Other libraries, each called in its fast way: ``unbind`` instead of ``x[t]``, multi-step modes, one jit.

A library is imported only when a side that needs it is made.
"""
