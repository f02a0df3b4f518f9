"""Code about the machine: memory, threads, matrix products, a compiler, and a place for compiled code."""
