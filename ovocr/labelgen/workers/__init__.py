"""Worker processes: the pool, each process and its loop, memory limits, and the tasks of a run.

Imports shards, images, options, engines, sources, tables, tagging, vocab, processes, dataset and base.
"""
