"""The number of worker processes of a run."""

from ovocr.base.plural import counted
from ovocr.labelgen.shards.progress import say
from ovocr.processes.cores import available_cores


def worker_count(wanted: int | None, useful: int | None = None) -> int:
    """Returns the number of workers, at most one per core.

    wanted: the user's number, or None for the default. useful: the default if it is not one per core.
    """
    cores = available_cores()
    if wanted is not None and wanted > cores:
        say(
            f"--workers {wanted}: this process may use {counted(cores, 'core')}; "
            f"starting {counted(cores, 'worker')} of one thread"
        )
    return min(wanted or useful or cores, cores)
