"""Words of Chinese runs, by jieba.

jieba's own loader keeps a marshal cache under a fixed name in the shared temporary folder: another user of the machine
can put a file there first, and processes that start together race for it. Reading the package's dict.txt takes no
longer than reading that cache (both half a second), so it is read in each process and handed to a tokenizer of our
own; jieba's module-level tokenizer, its log and its temporary files are never touched.
"""

import re
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

from ovocr.errors import OvocrError

JIEBA_VERSION = "0.42.1"
# Unknown words (names above all) are found by jieba's hidden Markov model, as jieba does by default.
HMM = True

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

    def cut(self, run: str) -> list[str]:
        """Words of a run of Han characters; joined they are the run."""
        return self._tokenizer.lcut(run, HMM=HMM)


def is_mixed(word: str) -> bool:
    """Whether a word of jieba's dictionary is not all Han: such words begin or end before the CJK blocks (c++, t恤)."""
    return min(word[0], word[-1]) < "\u2e80"


def read_dictionary() -> tuple[list[str], list[int]]:
    """Words of jieba's dictionary, as written there, and their frequencies. Raises OvocrError where it is missing."""
    fields = _dictionary_path(_import_jieba()).read_text(encoding="utf-8").split()  # word, frequency, part of speech
    return fields[0::3], list(map(int, fields[1::3]))


def _dictionary_path(jieba: Any) -> Path:
    return Path(jieba.__file__).with_name("dict.txt")


def _import_jieba() -> Any:
    with warnings.catch_warnings():
        # jieba imports setuptools' deprecated pkg_resources where that still exists, and has unescaped backslashes.
        warnings.simplefilter("ignore")
        try:
            import jieba
        except ImportError as error:
            raise OvocrError(f"cutting Chinese text needs jieba: pip install jieba=={JIEBA_VERSION}") from error
    return jieba
