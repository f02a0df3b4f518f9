"""Checks of gradients: comparison with a reference engine and with finite differences."""
