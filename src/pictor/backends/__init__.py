"""Run the networks of a model: ONNX Runtime or torch, with one signature (`base.Module`)."""
