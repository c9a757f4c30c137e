"""The format of a labelled data set and its only owner: layout, schemas, manifest, statistics, readers.

Imports base and recordio. Everything that writes or reads a data set goes through here.
"""
