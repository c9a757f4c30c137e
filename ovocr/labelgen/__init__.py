"""Labels images: images -> OCR -> words -> exactly 100 tags -> MXNet .rec shards.

Imports vocab, processes, dataset, pages, recordio and base; never trainer, torch or pydantic.
"""
