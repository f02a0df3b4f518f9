"""The torch engine: autograd, CPU and CUDA."""
