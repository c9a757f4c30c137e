"""The checks of every shard."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest, TagPolicy
from ovocr.labelgen.tagging.line_labeller import LineLabeller


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Parameters of the checks of every shard.

    manifest: without its shards, which would be sent to a process with each shard.
    words_root: folder with the files of the words.
    quick: check only hashes, counts and indexes.
    words: vocabulary and word frequencies match the manifest.
    same_rules: the installed rules cut lines into words as the rules in the manifest do.
    """

    manifest: Manifest
    words_root: Path
    quick: bool
    words: bool
    same_rules: bool

    def labeller(self) -> LineLabeller | None:
        """Returns the labeller, loaded once per process; None if there are no valid words."""
        if not (self.manifest.has_text and self.words):
            return None
        return _load_labeller(self.words_root, self.manifest.policy)


@lru_cache(maxsize=1)
def _load_labeller(root: Path, policy: TagPolicy) -> LineLabeller:
    return LineLabeller.load(LabelledDataSet(root), policy)
