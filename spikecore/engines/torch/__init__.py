"""The torch engine: autograd, CPU and CUDA."""

try:
    import torch as torch
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise
    from spikecore.installing import to_install

    raise ModuleNotFoundError(
        f"the torch engine, spikecore.nn and its monitors need torch: {to_install('torch')}",
        name="torch",
    ) from None

from spikecore.arguments import argument_kind as _argument_kind

_argument_kind("torch.nn.modules.module:Module", "an nn.Module")
