"""The number of worker processes of a run."""

from ovocr.labelgen.shards.progress import say
from ovocr.processes.cores import available_cores


def worker_count(wanted: int | None, useful: int | None = None) -> int:
    """Returns the number of workers, at most one per core.

    wanted: number that the user wants; None for the default. useful: default; None for one per core.
    """
    cores = available_cores()
    if wanted is not None and wanted > cores:
        say(f"--workers {wanted}: this process may use {cores} cores; starting {cores} workers of one thread")
    return min(wanted or useful or cores, cores)
