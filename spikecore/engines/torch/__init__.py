"""The torch engine: autograd, CPU and CUDA."""

try:
    import torch as torch
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise
    raise ModuleNotFoundError(
        'the torch engine and spikecore.nn need torch: pip install "spikecore[torch]"', name="torch"
    ) from None
