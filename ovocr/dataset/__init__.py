"""The format of a labelled data set: layout, columns, manifest, statistics, readers, and the shard writer.

All code that reads or writes a data set uses this package. It may import base and recordio.
"""
