"""Layers without dynamics, containers of layers, and one pass through a network."""
