"""Held-out images: the rule that chooses them, tables of groups, and shards that are divided. Imports dataset."""
