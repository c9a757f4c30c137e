"""The words and scripts of a head's classes."""

from ovocr.vocab import Vocabulary
from ovocr.vocab.word_script import script_of


class ClassNames:
    """Names classes by a vocabulary. Without one, names are numbers such as #17, and there are no scripts."""

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        self._vocabulary = vocabulary
        self._scripts: dict[int, str] = {}  # a cache: most tags repeat

    @property
    def are_words(self) -> bool:
        """Whether the classes are words."""
        return self._vocabulary is not None

    def word(self, class_id: int) -> str:
        """Returns the word of a class, or its number."""
        return f"#{class_id}" if self._vocabulary is None else self._vocabulary.word(class_id)

    def script(self, class_id: int) -> str:
        """Returns the script of a class's word, one of SCRIPTS. Raises ValueError if the classes are no words."""
        if self._vocabulary is None:
            raise ValueError("classes without words have no script")
        if class_id not in self._scripts:
            self._scripts[class_id] = script_of(self._vocabulary.word(class_id))
        return self._scripts[class_id]
