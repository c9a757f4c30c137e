"""Words of a run of Latin letters and digits: rules for letters next to digits, then ``word_splitting``.

==========================================  =====================  ============
if the run                                  run                    words
==========================================  =====================  ============
is listed or is an ordinal                  mp3 3d b2b 1st 21st    itself
is one word before 1 or 2 digits            iphone15 covid19       itself
has words or a unit next to digits          500ml 8263254fax       ml fax
has a currency                              rm12 100usd            rm usd
continues with a fraction                   total20(.00)           total
has none of these: a code                   h264 a4132x5           itself
==========================================  =====================  ============
"""

import re
from collections.abc import Iterator

from ovocr.vocab.segmentation.word_splitting import LatinSplitter

# Two-letter units that follow a number without a space. Longer units are listed words.
_UNITS = "kg mg ml cl dl mm cm km nm ft lb oz gb mb kb tb hz kw hp px pt am pm hr pc pk ct kv"
_CURRENCIES = "rm rs us usd eur gbp sgd idr aud cad chf cny rmb hkd inr jpy myr thb krw vnd twd php nzd"
UNITS = frozenset(_UNITS.split())
CURRENCIES = frozenset(_CURRENCIES.split())

_DIGIT = re.compile(r"[0-9]")
_BLOCKS = re.compile(r"[0-9]+|[^0-9]+")
_ORDINAL = re.compile(r"[0-9]*(?:1st|2nd|3rd|[0-9]th)")
_NAME_WITH_NUMBER = re.compile(r"([^0-9]+)[0-9]{1,2}")
_FRACTION = re.compile(r"[.,:/-][0-9]")
_SHORTEST_WORD = 3


class LatinWords:
    """Finds the words in runs of Latin letters and digits."""

    def __init__(self) -> None:
        self._splitter = LatinSplitter()

    def spans(self, text: str, start: int, end: int, *, spaced: bool) -> Iterator[tuple[int, int]]:
        """Yields the offsets of the words in the run ``text[start:end]``. spaced: True if the line has spaces."""
        run = text[start:end]
        if not _DIGIT.search(run):
            yield from self._words(run, start, spaced)
        elif self._is_one_word(run, has_fraction=_FRACTION.match(text, end) is not None):
            yield start, end
        else:
            for block in _BLOCKS.finditer(run):
                if self._has_words(block.group().strip("'"), spaced):
                    yield from self._words(block.group(), start + block.start(), spaced)

    def _words(self, run: str, start: int, spaced: bool) -> Iterator[tuple[int, int]]:
        for word in self._splitter.split(run, spaced=spaced):
            yield start, start + len(word)
            start += len(word)

    def _is_one_word(self, run: str, *, has_fraction: bool) -> bool:
        """Returns True if a run with digits is one word. has_fraction: True if a fraction follows the run."""
        blocks = [block.strip("'") for block in _BLOCKS.findall(run)]
        if len(blocks) == 2 and (blocks[1] in UNITS or CURRENCIES.intersection(blocks)):
            return False
        if self._splitter.is_listed(run) or _ORDINAL.fullmatch(run):
            return True
        name = _NAME_WITH_NUMBER.fullmatch(run)
        if name and not has_fraction and len(self._splitter.split(name[1], spaced=False)) == 1:
            return True
        return not any(self._has_words(block, spaced=False) for block in blocks)

    def _has_words(self, letters: str, spaced: bool) -> bool:
        """Returns True if the letters next to digits are one or more words, a unit or a currency."""
        if letters in UNITS or letters in CURRENCIES:
            return True
        if len(letters) < _SHORTEST_WORD or not letters[0].isalpha():
            return False
        return self._splitter.is_listed(letters) or len(self._splitter.split(letters, spaced=spaced)) > 1

    def group_parts(self, parts: list[str]) -> list[int]:
        """Groups the parts of a word broken at line ends. Returns the number of parts of each word, usually all.

        Chooses the likeliest grouping of neighbouring parts; of equally likely ones, the one with fewer words.
        """
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(parts) + 1):
            candidates = (
                (best[start][0] + self._splitter.cost("".join(parts[start:end])), [*best[start][1], end - start])
                for start in range(end)
            )
            best.append(min(candidates, key=lambda candidate: (candidate[0], len(candidate[1]))))
        return best[-1][1]
