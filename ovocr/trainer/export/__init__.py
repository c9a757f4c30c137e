"""Writes the backbone of a run for other programs: the released layout, transformers, ONNX and a model card.

Imports training, data, backbone, config and pages. The files in `transformers_code` are copied, not imported.
"""
