"""What the recipe learns on everyday data, beside what other methods learn: ``python -m benchmarks.learns``."""
