"""What is checked of every shard, and what a process needs for it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.labelgen.tagging.tag_slots import TagPolicy
from ovocr.labelgen.verification.promises import Promises


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the checks of every shard go by.

    quick: hashes, counts and indexes alone. words: vocabulary and word frequencies are those of the manifest.
    same_rules: lines are cut into words here by the rules that the data set was made with.
    """

    promises: Promises
    quick: bool
    words: bool
    same_rules: bool

    def labeller(self, data_set: LabelledDataSet) -> LineLabeller | None:
        """The process's, for all its shards; None where there are no words to go by."""
        if not (self.promises.with_text and self.words):
            return None
        return _labeller(data_set.root, self.promises.policy)


@lru_cache(maxsize=1)
def _labeller(root: Path, policy: TagPolicy) -> LineLabeller:
    return LineLabeller.load(LabelledDataSet(root), policy)
