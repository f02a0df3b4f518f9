"""The torch face: spiking neurons as ``nn.Module``s with snnTorch's names; public as ``spikecore.nn``."""
