"""The NumPy engine: hand-written BPTT on NumPy, CuPy or any other array-API namespace."""
