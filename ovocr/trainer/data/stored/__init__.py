"""The shards of a head's data sets, on a disk or in an object store.

Imports base, dataset and recordio, and of the trainer config and other modules of data.
"""
