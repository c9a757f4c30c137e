"""OCR engines: one interface, batching across images, RapidOCR, PaddleOCR and their models. Imports dataset, base."""
