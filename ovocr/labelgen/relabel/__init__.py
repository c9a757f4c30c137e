"""Makes new tags from stored text without an engine. Imports dataset, tagging, images and shards."""
