"""Writes shards: shard files, destinations (folder, object store), totals. Imports tagging, images and sources."""
