"""Run the networks of a model: ONNX Runtime or torch, with one signature (`base.Module`)."""

import logging

# It remarks that torchvision is missing, which nothing here asks it for, whenever diffusers is imported.
logging.getLogger("transformers.utils.import_utils").setLevel(logging.ERROR)
