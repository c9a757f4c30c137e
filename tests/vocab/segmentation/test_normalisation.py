"""``normalise``: examples of each rule, and properties over all of Unicode."""

import random
import sys
import unicodedata

import pytest
import regex

from ovocr.vocab.segmentation.normalisation import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  Plain ASCII\t", "plain ascii"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("ﬃ ﬁ Ⅷ ① ㎏", "ffi fi viii 1 kg"),
        ("Straße ẞ", "strasse ss"),
        ("İstanbul", "i\u0307stanbul"),
        ("ΣΑΣ", "σασ"),
        ("e\u0301", "é"),
        ("don’t ‘q’ ʼ ＇", "don't 'q' ' '"),
        ("ŉ", "'n"),
        ("a‐b‑c－d﹣e", "a-b-c-d-e"),
        ("a–b—c−d", "a–b—c−d"),
        ("a\u00adb\u200cc\u200dd\u2060e\ufefff\u202eg\ufe0fh", "abcdefgh"),
        ("a\u200bb\u00a0c\u2028d\u0000e\u0085f", "a b c d e f"),
        ("葛\U000e0100城", "葛城"),
        ("ｶﾞ", "ガ"),
        ("\u1112\u1161\u11ab", "한"),
        ("繁體 简体", "繁體 简体"),
    ],
)
def test_rules(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_every_character_reaches_a_fixed_point() -> None:
    for code in range(sys.maxunicode + 1):
        once = normalise(f"x{chr(code)}x")
        assert normalise(once) == once, hex(code)


def test_random_strings_reach_a_fixed_point() -> None:
    # Composition has its surprises with marks, apostrophes, spaces and characters that fold to several.
    draw = random.Random(5)
    alphabet = [chr(code) for code in range(0x20, 0x3400) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    marks = [char for char in alphabet if unicodedata.combining(char)] + list("ʼ’\u00ad\u200b\u200d ıİſßŉΐ")
    for _ in range(5000):
        text = "".join(draw.choice(draw.choice((alphabet, marks))) for _ in range(draw.randint(1, 8)))
        once = normalise(text)
        assert normalise(once) == once, ascii(text)


def test_invisible_characters_are_removed_or_become_spaces() -> None:
    every_character = "".join(map(chr, range(sys.maxunicode + 1)))
    ignorable = set(regex.findall(r"\p{Default_Ignorable_Code_Point}", every_character)) - {"\u200b"}
    separating = {*regex.findall(r"[\s\p{Cc}]", every_character), "\u200b"}
    assert len(ignorable) > 4000
    assert len(separating) > 80
    assert {char for char in ignorable if normalise(f"x{char}y") != "xy"} == set()
    assert {char for char in separating if normalise(f"x{char}y") != "x y"} == set()
