"""Processes: available cores and memory, termination signals, worker processes and functions mapped over shards.

Imports base.
"""
