"""The built-in vocabulary, made once for all tests of this folder."""

import pytest

from ovocr.vocab import Vocabulary
from ovocr.vocab.lexicon import build_lexicon


@pytest.fixture(scope="session")
def lexicon() -> Vocabulary:
    return build_lexicon()
