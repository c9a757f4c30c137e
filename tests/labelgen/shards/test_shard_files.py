"""Statistics describe the files of their shard."""

import hashlib

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.shards.totals import Totals


def test_statistics_contain_size_and_hash_of_each_file(built: tuple[LabelledDataSet, Totals]):
    data_set, _ = built
    for number in data_set.finished_shards():
        paths = data_set.data_files(number, with_text=True)
        on_disk = set(data_set.root.glob(f"*/{number:05d}.*")) - {data_set.stats_path(number)}
        assert set(paths.values()) == on_disk
        assert read_object(data_set.stats_path(number))["files"] == {
            name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for name, path in paths.items()
        }
