"""Which of the counted words become classes, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ovocr.vocab.count_merging import fetch_rows


@dataclass(frozen=True, kw_only=True)
class Share:
    """Some of the words. distinct: how many; tokens: how often they were read, together."""

    distinct: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """words: those kept, from frequent to rare; frequencies: how often each was read.

    Every word that was read is one of: listed (on a drop list), rare (below the least count), beyond (the size), kept.
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


# Words read equally often by the pictures they are in, then by their UTF-8 bytes: no order of shards has a part in it.
_RANKED = """
    SELECT word, tokens FROM words ANTI JOIN listed USING (word)
    WHERE tokens >= ? ORDER BY tokens DESC, images DESC, word LIMIT ?
"""


def rank_words(connection: Any, *, size: int, min_count: int, dropped: list[str]) -> Ranking:
    """The ``size`` most frequent words of ``merged_counts``'s table, of those read ``min_count`` times or more.

    dropped: words that are left out. Memory: the words that are kept.
    """
    connection.register("listed", pa.table({"word": pa.array(dropped, pa.string())}))
    (listed,) = fetch_rows(
        connection,
        "SELECT count(*), CAST(coalesce(sum(tokens), 0) AS BIGINT) FROM words SEMI JOIN listed USING (word)",
    )
    # From frequent to rare: the tokens of a word, how many words have as many.
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
    """How often the last word of the vocabulary was read: what is rarer need not be sorted."""
    taken = 0
    for tokens, words in steps:
        taken += words
        if taken >= size:
            return max(tokens, min_count)
    return min_count


def _share(steps: Sequence[tuple[Any, ...]]) -> Share:
    return Share(distinct=sum(words for _, words in steps), tokens=sum(tokens * words for tokens, words in steps))
