"""Other libraries, each called the fast way: ``unbind`` instead of ``x[t]``, multi-step modes, one jit.

Nothing here is imported before a side that needs it is built.
"""
