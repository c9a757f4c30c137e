"""The format of a labelled data set: layout, columns, manifest, statistics, readers, shard writer, held-out images.

All code that reads or writes a data set uses this package. It may import base and recordio.
"""
