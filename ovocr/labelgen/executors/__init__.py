"""Executors, which make the shards of a run on this machine or on the nodes of a Ray cluster.

Imports workers, shards, sources, options, processes, dataset and base.
"""
