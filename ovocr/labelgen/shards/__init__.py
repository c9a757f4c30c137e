"""The shards of a run: destinations (folder, object store), the manifest, progress, interruption and totals.

Imports options, tables, sources, tagging, processes, dataset and base.
"""
