"""Backbone, Partial FC heads, data, loop, checkpoints, evaluation. Never imports labelgen or an OCR engine."""
