"""The core, written once: neurons, layers, encoders, losses. Imports no array library."""
