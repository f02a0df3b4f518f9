"""ONNX: a step or a whole sequence as a model for onnxruntime and what else reads such files."""
