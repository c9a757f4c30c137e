"""The built-in vocabulary, made once for all tests of this folder."""

import pytest

from ovocr.vocab import Vocabulary


@pytest.fixture(scope="session")
def lexicon() -> Vocabulary:
    return Vocabulary.load("lexicon")
