"""Turns images into supervision for reading: OCR words as tags, and a vision encoder trained on them."""

import os

# From 1.29 on ONNX Runtime tells its maker about its use, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
