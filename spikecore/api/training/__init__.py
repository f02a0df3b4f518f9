"""A model, and what trains it: batches, optimisers, schedules, checkpoints."""
