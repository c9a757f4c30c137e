"""What is damage to a sample, which a run passes over, and what is not."""

from ovocr.recordio import RecordError
from ovocr.trainer.data.images import DecodeError
from ovocr.trainer.data.samples import Sample, Samples


def load_unless_damaged(samples: Samples, index: int, position: int | None = None) -> Sample | str:
    """The sample; of a damaged one, which it is and what is wrong with it.

    Raises OvocrError for what is no damage, such as a file that cannot be opened: it may be there again tomorrow.
    """
    try:
        return samples.load(index, position)
    except (DecodeError, RecordError) as error:
        if isinstance(error.__cause__, OSError):
            raise
        return str(error)
