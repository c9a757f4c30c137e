"""Words of Chinese runs, by jieba, or where it is installed by rjieba, which gives the same words faster.

jieba's own loader keeps a marshal cache under a fixed name in the shared temporary folder: another user of the machine
can put a file there first, and processes that start together race for it. Reading the package's dict.txt takes no
longer than reading that cache (both half a second), so it is read in each process and handed to a tokenizer of our
own; jieba's module-level tokenizer, its log and its temporary files are never touched.
"""

import re
import warnings
from collections.abc import Callable
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError

JIEBA_VERSION = "0.42.1"
# A Rust implementation, some 20 times faster. Of this release tests show that it gives jieba's words.
RJIEBA_VERSION = "0.2.2"
# Unknown words (names above all) are found by jieba's hidden Markov model, as jieba does by default.
HMM = True

# Runs of the characters that jieba's dictionary is made of, and each other character.
_BLOCKS = re.compile(r"[\u4e00-\u9fd5]+|.", re.DOTALL)
# The word of a line of the dictionary, where is_mixed holds for it.
_MIXED_WORD = re.compile(r"^(?=[!-\u2e7f]|\S*[!-\u2e7f] )\S+", re.MULTILINE)


class ChineseCutter:
    """jieba's exact mode over its own dictionary, which is read for the first run that is cut: half a second, 100 MB.

    mixed_words: the dictionary's words that are not all Han. Raises OvocrError where jieba is not installed.
    """

    def __init__(self) -> None:
        self._jieba = _import_jieba()
        self.mixed_words = _MIXED_WORD.findall(_dictionary_path(self._jieba).read_text(encoding="utf-8"))

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = self._jieba.Tokenizer()
        dictionary = _dictionary_path(self._jieba).open("rb")
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(dictionary)  # which closes the file
        tokenizer.initialized = True
        return tokenizer

    @cached_property
    def _cut_block(self) -> Callable[[str], list[str]]:
        rjieba = import_rjieba()
        return partial(rjieba.cut, hmm=HMM) if rjieba is not None else partial(self._tokenizer.lcut, HMM=HMM)

    def load(self) -> None:
        """Read the dictionary now: half a second with jieba, a sixth of that with rjieba."""
        self._cut_block("\u4e2d\u6587")

    def cut(self, run: str) -> list[str]:
        """Words of a run of Han characters; joined they are the run."""
        # Characters beyond jieba's block are words of their own: jieba does that itself, rjieba keeps runs of them.
        return [
            word for block in _BLOCKS.findall(run) for word in (self._cut_block(block) if len(block) > 1 else [block])
        ]


def is_mixed(word: str) -> bool:
    """Whether a word of jieba's dictionary is not all Han: such words begin or end before the CJK blocks (c++, t恤)."""
    return min(word[0], word[-1]) < "\u2e80"


def read_dictionary() -> tuple[list[str], list[int]]:
    """Words of jieba's dictionary, as written there, and their frequencies. Raises OvocrError where it is missing."""
    fields = _dictionary_path(_import_jieba()).read_text(encoding="utf-8").split()  # word, frequency, part of speech
    return fields[0::3], list(map(int, fields[1::3]))


def _dictionary_path(jieba: Any) -> Path:
    return Path(jieba.__file__).with_name("dict.txt")


def import_rjieba() -> Any | None:
    """The package, or None where it is not installed or not the release that is known to give jieba's words."""
    try:
        import rjieba
    except ImportError:
        return None
    return rjieba if version("rjieba") == RJIEBA_VERSION else None


def _import_jieba() -> Any:
    with warnings.catch_warnings():
        # jieba imports setuptools' deprecated pkg_resources where that still exists, and has unescaped backslashes.
        warnings.simplefilter("ignore")
        try:
            import jieba
        except ImportError as error:
            raise OvocrError(f"cutting Chinese text needs jieba: pip install jieba=={JIEBA_VERSION}") from error
    return jieba
