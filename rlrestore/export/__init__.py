"""Writing a model in ONNX, for machines without torch."""
