"""What is checked of every shard."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest, TagPolicy
from ovocr.labelgen.tagging.line_labeller import LineLabeller


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Parameters of the checks of every shard.

    quick: only hashes, counts and indexes are checked.
    words: vocabulary and word frequencies are those of the manifest.
    same_rules: this installation cuts lines into words by the rules that the data set was made with.
    """

    manifest: Manifest
    quick: bool
    words: bool
    same_rules: bool

    def labeller(self, data_set: LabelledDataSet) -> LineLabeller | None:
        """Returns the labeller, loaded once in a process; None without words to compare with."""
        if not (self.manifest.has_text and self.words):
            return None
        return _load_labeller(data_set.root, self.manifest.policy)


@lru_cache(maxsize=1)
def _load_labeller(root: Path, policy: TagPolicy) -> LineLabeller:
    return LineLabeller.load(LabelledDataSet(root), policy)
