"""Writes shards: shard files, destinations (folder, object store), totals. Imports tagging, pictures and sources."""
