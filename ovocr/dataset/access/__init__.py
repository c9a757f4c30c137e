"""Access to the records of finished data sets, on a disk or in an object store."""
