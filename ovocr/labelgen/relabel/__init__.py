"""Makes new tags from the stored text, without an engine. Imports dataset, tagging, images and shards."""
