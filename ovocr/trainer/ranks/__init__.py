"""The ranks of a run: collectives, launching them, and naming the one that failed."""
