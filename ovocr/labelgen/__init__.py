"""Images -> OCR -> words -> exactly 100 tags -> MXNet .rec shards."""
