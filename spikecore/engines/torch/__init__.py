"""The torch engine: autograd, CPU and CUDA."""

try:
    import torch as torch
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise
    raise ModuleNotFoundError(
        'the torch engine, spikecore.nn and its monitors need torch: pip install "spikecore[torch]"',
        name="torch",
    ) from None
