"""Words of a run of Latin letters and digits: rules for what touches a number, then ``resplitting``.

==========================================  =====================  ============
a run whose                                 run                    words
==========================================  =====================  ============
whole is listed, or is an ordinal           mp3 3d b2b 1st 21st    itself
letters are one word before 1 or 2 digits   iphone15 covid19       itself
letters are words or a unit beside digits   500ml 8263254fax       ml fax
letters are a currency                      rm12 100usd            rm usd
number has a fraction                       total20(.00)           total
letters are none of these: codes            h264 a4132x5           itself
==========================================  =====================  ============
"""

import re
from collections.abc import Iterator

from ovocr.vocab.segmentation.resplitting import LatinSplitter

# Two letters that stand beside a number without a space; longer ones are words of the lists.
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


class LatinRuns:
    """Finds the words of Latin runs."""

    def __init__(self) -> None:
        self._splitter = LatinSplitter()

    def spans(self, text: str, start: int, end: int, *, spaced: bool) -> Iterator[tuple[int, int]]:
        """Offsets of the words of the run ``text[start:end]``. spaced: whether the line ``text`` has spaces."""
        run = text[start:end]
        if not _DIGIT.search(run):
            yield from self._words(run, start, spaced)
        elif self._is_whole(run, goes_on=_FRACTION.match(text, end) is not None):
            yield start, end
        else:
            for block in _BLOCKS.finditer(run):
                if self._stands_alone(block.group().strip("'"), spaced):
                    yield from self._words(block.group(), start + block.start(), spaced)

    def _words(self, run: str, start: int, spaced: bool) -> Iterator[tuple[int, int]]:
        for word in self._splitter.split(run, spaced=spaced):
            yield start, start + len(word)
            start += len(word)

    def _is_whole(self, run: str, *, goes_on: bool) -> bool:
        """Is a run with digits one word? goes_on: whether more digits follow behind a point or comma."""
        blocks = [block.strip("'") for block in _BLOCKS.findall(run)]
        if len(blocks) == 2 and (blocks[1] in UNITS or CURRENCIES.intersection(blocks)):
            return False
        if self._splitter.is_listed(run) or _ORDINAL.fullmatch(run):
            return True
        name = _NAME_WITH_NUMBER.fullmatch(run)
        if name and not goes_on and len(self._splitter.split(name[1], spaced=False)) == 1:
            return True
        return not any(self._stands_alone(block, spaced=False) for block in blocks)

    def _stands_alone(self, letters: str, spaced: bool) -> bool:
        """Are these letters a word or several, without the digits that touch them?"""
        if letters in UNITS or letters in CURRENCIES:
            return True
        if len(letters) < _SHORTEST_WORD or not letters[0].isalpha():
            return False
        return self._splitter.is_listed(letters) or len(self._splitter.split(letters, spaced=spaced)) > 1

    def joined(self, parts: list[str]) -> list[int]:
        """How many of the parts of a word, broken at line ends, make each word, in order: as a rule all make one.

        Of all ways to put neighbours together the likeliest; of equally likely ones that with fewer words.
        """
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(parts) + 1):
            candidates = (
                (best[start][0] + self._splitter.cost("".join(parts[start:end])), [*best[start][1], end - start])
                for start in range(end)
            )
            best.append(min(candidates, key=lambda candidate: (candidate[0], len(candidate[1]))))
        return best[-1][1]
