"""The search box of a coverage page: the words of the corpus, as the page's script reads them, and the script."""

from collections.abc import Mapping, Sequence
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.dataset.text import TextShard
from ovocr.pages.document import data_block, text
from ovocr.vocab.coverage.page_script import DATA_ID
from ovocr.vocab.coverage.report import FrequentWords, Report
from ovocr.vocab.word_script import SCRIPTS, script_of

# Keys of example images that the page holds, in characters: a key may be as long as a URL.
KEY_CHARACTERS = 4_000_000


def search_section(report: Report, names: Mapping[str, str]) -> str:
    """The box, and the words behind it. names: what the page calls each vocabulary."""
    lists = [_columns(frequent, report.shards, names) for frequent in report.frequent]
    notes = "".join(
        f"<p>{_bound(frequent, columns)}</p>" for frequent, columns in zip(report.frequent, lists, strict=True)
    )
    return f"""<div class="panel search" role="search">
<label for="query">Look up a word</label>
<input id="query" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" dir="auto"
aria-describedby="found">
<p id="found" role="status">Its class id, how often it was read, and in which image first.</p>
<div id="results"></div>
{notes}
<noscript><p>The search needs scripts, which are switched off.</p></noscript>
{data_block(DATA_ID, {"lists": lists})}
</div>"""


def _columns(frequent: FrequentWords, shards: Sequence[TextShard], names: Mapping[str, str]) -> dict[str, Any]:
    """Columns of equal length, a row a word; what repeats is a number in another list. -1 is none."""
    data_sets = list(dict.fromkeys(shard.root for shard in shards))
    of_shard = [data_sets.index(shard.root) for shard in shards]
    keys, key_of_word = _number_keys([found.example for found in frequent.words])
    return {
        "vocabularies": [for_terminal(names[named.name]) for named in frequent.vocabularies],
        "complete": _is_complete(frequent),
        "words": [for_terminal(found.word) for found in frequent.words],
        "ranks": [-1 if rank is None else rank for rank in frequent.ranks],
        "times": [found.tokens for found in frequent.words],
        "images": [found.images for found in frequent.words],
        "ids": [
            [-1 if (class_id := named.vocabulary.id(found.word)) is None else class_id for found in frequent.words]
            for named in frequent.vocabularies
        ],
        "scripts": SCRIPTS,
        "script": [SCRIPTS.index(script_of(found.word)) for found in frequent.words],
        "dataSets": [for_terminal(str(root)) for root in data_sets],
        "dataSet": [of_shard[found.shard] for found in frequent.words],
        "keys": keys,
        "key": key_of_word,
    }


def _ranked(frequent: FrequentWords) -> int:
    return sum(rank is not None for rank in frequent.ranks)


def _is_complete(frequent: FrequentWords) -> bool:
    """Whether the page has every word of the corpus."""
    return _ranked(frequent) == frequent.distinct_words


def _number_keys(examples: Sequence[str]) -> tuple[list[str], list[int]]:
    """The distinct keys, and the number of each word's; -1 for those of the rarest words where they are too many."""
    numbers: dict[str, int] = {}
    of_word = []
    left = KEY_CHARACTERS
    for key in examples:
        if key not in numbers and len(key) <= left:
            numbers[key] = len(numbers)
            left -= len(key)
        of_word.append(numbers.get(key, -1))
    return [for_terminal(key) for key in numbers], of_word


def _bound(frequent: FrequentWords, columns: dict[str, Any]) -> str:
    """What the search leaves out, in a sentence or two."""
    names = " and ".join(map(text, columns["vocabularies"]))
    names += " make" if len(frequent.vocabularies) > 1 else " makes"
    top = _ranked(frequent)
    if _is_complete(frequent):
        sentence = f"All {top:,} distinct words of the corpus, as {names} them."
    else:
        tokens = sum(
            found.tokens for found, rank in zip(frequent.words, frequent.ranks, strict=True) if rank is not None
        )
        least = frequent.words[top - 1].tokens if top else 0
        sentence = (
            f"The {top:,} most frequent of {frequent.distinct_words:,} distinct words, as {names} them "
            f"({tokens / frequent.tokens:.1%} of all words read), and those of the lists below. Left out: words that "
            f"were read {'once' if least == 1 else f'{least:,} times'} or less."
        )
    without = columns["key"].count(-1)
    return sentence + (f" The rarest {without:,} are without their image." if without else "")
