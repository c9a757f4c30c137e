"""Lines are cut into words and the text between them."""

import pytest

from ovocr.labelgen.inspection.marked_lines import Piece, cut_line
from ovocr.vocab import locate_words


def cut(*lines: str) -> list[list[Piece]]:
    words = locate_words(list(lines))
    return [cut_line(line, [word for word in words if word.line == n]) for n, line in enumerate(lines)]


def words(pieces: list[Piece]) -> list[tuple[str, str]]:
    return [(piece.text, piece.word) for piece in pieces if piece.word is not None]


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        ("Hello, WORLD!", [("Hello", "hello"), ("WORLD", "world")]),
        ("  spaces before", [("spaces", "spaces"), ("before", "before")]),
        ("不要恐慌 now", [("不要", "不要"), ("恐慌", "恐慌"), ("now", "now")]),
        ("Ｆｕｌｌ width", [("Ｆｕｌｌ", "full"), ("width", "width")]),
        ("Straße 5", [("Straße", "strasse")]),
        ("e\u0301te\u0301 noir", [("e\u0301te\u0301", "\u00e9t\u00e9"), ("noir", "noir")]),
        ("zero\u200bwidth", [("zero", "zero"), ("width", "width")]),
        ("<b>x</b>", [("b", "b"), ("x", "x"), ("b", "b")]),
        ("the cat the", [("the", "the"), ("cat", "cat"), ("the", "the")]),
        ("soft\u00ad", [("soft\u00ad", "soft")]),
        ("ｶﾞｽ \u1112\u1161\u11ab\u1100\u1173\u11af", [("ｶﾞｽ", "ガス"), ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글")]),
    ],
)
def test_pieces_keep_the_line_and_mark_its_words(line: str, marked: list[tuple[str, str]]) -> None:
    (pieces,) = cut(line)
    assert "".join(piece.text for piece in pieces) == line
    assert words(pieces) == marked


def test_words_of_one_character_have_a_piece_each_and_the_first_has_the_character() -> None:
    (pieces,) = cut("x \ufdfa y")  # its normalised form has four words
    assert [piece.text for piece in pieces] == ["x", " ", "\ufdfa", "", "", "", " ", "y"]
    assert [piece.word for piece in pieces if not piece.text] == ["الله", "عليه", "وسلم"]


def test_a_word_across_two_lines_is_marked_on_the_first() -> None:
    first, second = cut("a wonder-", "ful day")
    assert words(first) == [("a", "a"), ("wonder", "wonderful")]
    assert words(second) == [("day", "day")]


def test_a_line_without_words_is_one_piece() -> None:
    assert cut("...") == [[Piece("...")]]
