"""Worker processes: the pool, the loop in each process, limits, and the work done on a picture. Imports shards."""
