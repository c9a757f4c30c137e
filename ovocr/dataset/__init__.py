"""The format of a labelled data set: layout, columns, manifest, statistics, readers and the writer of a shard.

Everything that reads or writes a data set goes through this package. It may import base and recordio.
"""
