"""Networks one step at a time: kernels of layers that work on what arrives, and the order in which they are called."""
