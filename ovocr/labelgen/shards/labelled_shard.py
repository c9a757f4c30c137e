"""The input shard of a finished shard."""

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.labelgen.sources import InputShard


def find_input(data_set: LabelledDataSet, manifest: Manifest, number: int) -> InputShard:
    """Returns the input of a finished shard. manifest: the data set's manifest.

    Raises OvocrError if the manifest does not list the shard.
    """
    counts = data_set.counts(number)
    if number >= len(manifest.shards):
        raise OvocrError(
            f"{data_set.manifest_path}: does not list shard {number}, but {data_set.stats_path(number)} exists; "
            "restore both files"
        )
    return InputShard(**vars(manifest.shards[number]), ignored=counts.ignored, images=counts.input)
