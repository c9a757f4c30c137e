"""Builds vocabularies from the stored text of data sets: counts the words of shards, merges and ranks them.

Imports the other modules of vocab except coverage, and processes, dataset and base.
"""
