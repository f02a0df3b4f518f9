"""Accuracy beside snnTorch: the same networks, data, settings and seeds, trained with both libraries.

python -m benchmarks.accuracy --list
python -m benchmarks.accuracy dense --seeds 0 1 2
"""
