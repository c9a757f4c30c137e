"""Cores, memory and signals of processes, and running a function over shards in several of them. Imports base."""
