"""The data sets that a vocabulary was built from, as its JSON file describes them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.dataset.text import TextShard
from ovocr.vocab.vocabulary import Vocabulary

SOURCE = "source"


def describe_sources(shards: Iterable[TextShard]) -> list[dict[str, Any]]:
    """Returns an entry for each data set, sorted. shards: all shards that were read. Raises OvocrError.

    manifest_sha256: hash of its manifest. shards: number of shards that were read.
    inputs: number of shards in its manifest and hash of their inputs, by which data sets of the same images are found,
    whatever their tags, and also after shards were appended.
    """
    described = []
    for data_set, number in Counter(shard.data_set for shard in shards).items():
        manifest = data_set.manifest()
        count = len(manifest.shards)
        inputs = {"shards": count, "sha256": _hash_inputs(manifest, count)}
        described.append({"manifest_sha256": _hash_manifest(data_set), "shards": number, "inputs": inputs})
    return sorted(described, key=lambda source: (source["manifest_sha256"], source["shards"]))


def built_from(vocabulary: Vocabulary, data_sets: Iterable[LabelledDataSet]) -> list[LabelledDataSet]:
    """Returns the data sets whose images the vocabulary was built from. Raises OvocrError.

    A vocabulary without a description, or of other data sets, has none.
    """
    sources = vocabulary.settings.get(SOURCE)
    entries = [source for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    return [data_set for data_set in data_sets if any(_has_images_of(data_set, source) for source in entries)]


def built_with_holdout(vocabulary: Vocabulary) -> float:
    """Returns the share of the images that the vocabulary was not built from; 0 if its description has none."""
    options = vocabulary.settings.get("options")
    share = options.get("holdout") if isinstance(options, dict) else None
    return float(share) if isinstance(share, int | float) and 0 < share < 1 else 0.0


def _has_images_of(data_set: LabelledDataSet, source: dict[str, Any]) -> bool:
    manifest = data_set.manifest()
    hashes = [_hash_manifest(data_set), *manifest.ancestors]
    if "manifest_sha256" in source and source["manifest_sha256"] in hashes:
        return True
    inputs = source.get("inputs")
    if not isinstance(inputs, dict) or not isinstance(number := inputs.get("shards"), int):
        return False
    return 0 < number <= len(manifest.shards) and inputs.get("sha256") == _hash_inputs(manifest, number)


def _hash_manifest(data_set: LabelledDataSet) -> str:
    return hashlib.sha256(data_set.manifest_path.read_bytes()).hexdigest()


def _hash_inputs(manifest: Manifest, count: int) -> str:
    """Hashes names, sizes and image names of the first ``count`` inputs.

    Without their folders, which may have other names elsewhere. The parts of a split have other images of an input.
    """
    entries = manifest.shards[:count]
    parts = [{**entry.to_json(), "source": PurePath(entry.source).name} for entry in entries]
    splits = [{name: value for name, value in split.items() if name != "data_set"} for split in manifest.splits]
    return hashlib.sha256(json.dumps([*parts, *splits], sort_keys=True).encode()).hexdigest()
