"""ONNX: a step or a whole sequence as a model for onnxruntime and whatever else reads such files."""

from spikecore.installing import to_install

try:
    import onnx as _onnx  # noqa: F401  (whether it is there)
except ImportError as _error:
    raise ImportError(f"export to ONNX needs the package onnx: {to_install('export')} ({_error})") from _error
