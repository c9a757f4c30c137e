"""OCR engines: one interface, batching across images, RapidOCR, PaddleOCR and their models.

Imports dataset and base.
"""
