"""OCR engines: one interface, batching across pictures, RapidOCR, PaddleOCR and their models. Imports dataset."""
