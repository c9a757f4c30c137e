"""Labels images: images -> OCR -> words -> exactly 100 tags -> MXNet .rec shards.

Imports vocab, processes, views, dataset, pages, recordio and base; never trainer, torch or pydantic.
"""
