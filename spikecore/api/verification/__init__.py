"""Whether a gradient is right: comparison with a reference engine and with finite differences."""
