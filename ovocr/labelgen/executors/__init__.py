"""Who makes the shards of a run: this machine, or the nodes of a Ray cluster. Imports workers."""
