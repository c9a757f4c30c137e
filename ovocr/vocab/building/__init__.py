"""Builds vocabularies from the stored text of data sets: counts the words of shards, merges and ranks them.

Imports the modules of vocab, dataset, processes and base, but not vocab.coverage.
"""
