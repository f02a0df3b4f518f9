"""Results that papers print, beside ours: what ``python -m benchmarks.reproduced`` trains."""
