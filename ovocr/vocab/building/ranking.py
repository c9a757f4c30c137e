"""Selects the counted words that become classes and orders them by frequency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ovocr.vocab.count_merging import fetch_rows


@dataclass(frozen=True, kw_only=True)
class Share:
    """A group of words. distinct: number of words. tokens: number of their occurrences."""

    distinct: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The words of a vocabulary, from frequent to rare, and the groups of words that it leaves out.

    frequencies: number of occurrences of each word.
    listed: words on a drop list. rare: words below the least count. beyond: words beyond the vocabulary's size.
    """

    words: list[str]
    frequencies: list[int]
    listed: Share
    rare: Share
    beyond: Share

    @property
    def kept(self) -> Share:
        """The words of the vocabulary."""
        return Share(distinct=len(self.words), tokens=sum(self.frequencies))


# Ties are broken by the number of images, then by UTF-8 bytes, so the order of shards does not matter.
_RANKED = """
    SELECT word, tokens FROM words ANTI JOIN listed USING (word)
    WHERE tokens >= ? ORDER BY tokens DESC, images DESC, word LIMIT ?
"""


def rank_words(connection: Any, *, size: int, min_count: int, dropped: list[str]) -> Ranking:
    """Returns the ``size`` most frequent words in the table of ``merged_counts``.

    min_count: words with fewer occurrences are left out.
    dropped: words to leave out.

    Memory: the words that are kept.
    """
    connection.register("listed", pa.table({"word": pa.array(dropped, pa.string())}))
    (listed,) = fetch_rows(
        connection,
        "SELECT count(*), CAST(coalesce(sum(tokens), 0) AS BIGINT) FROM words SEMI JOIN listed USING (word)",
    )
    # (n, number of words with n tokens), from frequent to rare.
    steps = fetch_rows(
        connection,
        "SELECT tokens, count(*) FROM words ANTI JOIN listed USING (word) GROUP BY tokens ORDER BY tokens DESC",
    )
    rows = fetch_rows(connection, _RANKED, [_least_tokens(steps, size, min_count), size])
    frequent = [(tokens, words) for tokens, words in steps if tokens >= min_count]
    frequencies = [tokens for _, tokens in rows]
    return Ranking(
        words=[word for word, _ in rows],
        frequencies=frequencies,
        listed=Share(distinct=listed[0], tokens=listed[1]),
        rare=_share([(tokens, words) for tokens, words in steps if tokens < min_count]),
        beyond=Share(distinct=_share(frequent).distinct - len(rows), tokens=_share(frequent).tokens - sum(frequencies)),
    )


def _least_tokens(steps: Sequence[tuple[Any, ...]], size: int, min_count: int) -> int:
    """Returns the number of occurrences of the vocabulary's last word; rarer words need not be sorted."""
    taken = 0
    for tokens, words in steps:
        taken += words
        if taken >= size:
            return max(tokens, min_count)
    return min_count


def _share(steps: Sequence[tuple[Any, ...]]) -> Share:
    return Share(distinct=sum(words for _, words in steps), tokens=sum(tokens * words for tokens, words in steps))
