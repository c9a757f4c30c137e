"""How many worker processes a run has."""

from ovocr.labelgen.shards.progress import say
from ovocr.processes.cores import available_cores


def worker_count(wanted: int | None, of_use: int | None = None) -> int:
    """wanted: by the user. of_use: by the engine, where that is not one for each core."""
    cores = available_cores()
    if wanted is not None and wanted > cores:
        say(f"--workers {wanted}: this process may use {cores} cores, so there are {cores} workers of one thread")
    return min(wanted or of_use or cores, cores)
