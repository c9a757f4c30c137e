"""Distinguishes damaged samples, which a run skips, from other errors."""

from ovocr.recordio import RecordError
from ovocr.trainer.data.images import DecodeError
from ovocr.trainer.data.samples import Sample, Samples


def load_unless_damaged(samples: Samples, index: int, position: int | None = None) -> Sample | str:
    """Returns the sample, or a message that names a damaged sample and its damage.

    Raises OvocrError for errors that are not damage, such as a file that cannot be opened: they may be temporary.
    """
    try:
        return samples.load(index, position)
    except (DecodeError, RecordError) as error:
        if isinstance(error.__cause__, OSError):
            raise
        return str(error)
