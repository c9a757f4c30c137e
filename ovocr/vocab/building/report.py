"""Reports a built vocabulary: a table for a terminal, JSON, and the counts for the vocabulary's JSON file."""

from dataclasses import asdict, dataclass
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.vocab.building.options import VocabularyOptions
from ovocr.vocab.building.ranking import Ranking
from ovocr.vocab.building.shard_counts import CountedShards
from ovocr.vocab.vocabulary import Vocabulary

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """A built vocabulary and its sources. listed: number of distinct words on the drop lists."""

    options: VocabularyOptions
    vocabulary: Vocabulary
    counted: CountedShards
    ranking: Ranking
    listed: int

    def to_json(self) -> dict[str, Any]:
        """Returns out, size, sha256, the fields of ``counts``, and first and last: words with their tokens."""
        words = list(zip(self.ranking.words, self.ranking.frequencies, strict=True))
        named = [{"word": word, "tokens": tokens} for word, tokens in words]
        return {
            "out": str(self.options.out),
            "size": len(self.vocabulary),
            "sha256": self.vocabulary.sha256,
            **({"holdout": self.options.holdout} if self.options.holdout else {}),
            **counts(self.counted, self.ranking),
            "first": named[:_SHOWN],
            "last": named[-_SHOWN:],
        }

    def format_table(self) -> str:
        """Returns lines for a terminal, without a line end after the last."""
        ranking = self.ranking
        rows = [
            ("images", self.counted.images, None),
            *([("images held out", self.counted.images_held_out, None)] if self.options.holdout else []),
            ("  without text", self.counted.images_without_text, None),
            ("words", total_distinct(ranking), self.counted.tokens),
        ]
        if self.listed:
            rows.append((f"  dropped, of {self.listed:,} listed", ranking.listed.distinct, ranking.listed.tokens))
        if self.options.min_count > 1:
            rows.append((f"  rarer than {self.options.min_count:,}", ranking.rare.distinct, ranking.rare.tokens))
        rows += [
            (f"  beyond the first {self.options.size:,}", ranking.beyond.distinct, ranking.beyond.tokens),
            ("  kept", ranking.kept.distinct, ranking.kept.tokens),
        ]
        lines = [f"{'':<34}{'distinct':>14}{'read':>18}", *(self._row(*row) for row in rows)]
        if ranking.kept.distinct < self.options.size:
            lines.append(f"Fewer words than --size {self.options.size:,}: the corpus has no more.")
        words = counted(len(self.vocabulary), "word")
        lines += [
            f"first words (with number of occurrences): {_listing(ranking, slice(0, _SHOWN))}",
            f"last words: {_listing(ranking, slice(-_SHOWN, None))}",
            f"{for_terminal(str(self.options.out))}: {words}, sha256 {self.vocabulary.sha256}",
        ]
        return "\n".join(lines)

    def _row(self, label: str, distinct: int, tokens: int | None) -> str:
        share = "" if tokens is None else f"{tokens:>18,}{tokens / self.counted.tokens:>8.1%}"
        return f"{label:<34}{distinct:>14,}{share}"


def counts(shards: CountedShards, ranking: Ranking) -> dict[str, Any]:
    """Returns the figures that depend only on the stored text and the options."""
    return {
        "images": shards.images,
        **({"images_held_out": shards.images_held_out} if shards.images_held_out else {}),
        "images_without_text": shards.images_without_text,
        "tokens": shards.tokens,
        "distinct_words": total_distinct(ranking),
        "dropped": asdict(ranking.listed),
        "below_min_count": asdict(ranking.rare),
        "beyond_size": asdict(ranking.beyond),
        "kept": asdict(ranking.kept),
        "token_coverage": round(ranking.kept.tokens / shards.tokens, 6),
        "tokens_of_last": ranking.frequencies[-1],
    }


def total_distinct(ranking: Ranking) -> int:
    """Returns the number of distinct words in the stored text."""
    return sum(share.distinct for share in (ranking.listed, ranking.rare, ranking.beyond, ranking.kept))


def _listing(ranking: Ranking, part: slice) -> str:
    pairs = zip(ranking.words[part], ranking.frequencies[part], strict=True)
    return ", ".join(f"{for_terminal(word)} ({tokens:,})" for word, tokens in pairs)
