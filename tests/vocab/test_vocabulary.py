"""Vocabularies and their files: written, read and refused."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.vocab import Vocabulary

ROOT = Path(__file__).resolve().parents[2]


def test_ids_are_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes("the\n北京\ndon't\n".encode())
    vocabulary = Vocabulary.load(path)
    assert len(vocabulary) == 3
    assert [vocabulary.word(id) for id in range(3)] == ["the", "北京", "don't"]
    assert [vocabulary.id(word) for word in ("the", "北京", "don't", "The", "x")] == [0, 1, 2, None, None]
    assert "北京" in vocabulary
    assert "x" not in vocabulary
    assert vocabulary.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert vocabulary.settings == {}


@pytest.mark.parametrize("id", [-1, 3])
def test_word_raises_for_a_class_id_out_of_range(id: int) -> None:
    with pytest.raises(IndexError, match=f"class id {id} is not in a vocabulary of 3 words"):
        Vocabulary(["a", "b", "c"]).word(id)


def test_save_and_load_give_the_same_vocabulary(tmp_path: Path) -> None:
    made = Vocabulary(["b", "a", "词"], {"source": ["hand"], "counts": {"words": 3}})
    made.save(tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_bytes() == "b\na\n词\n".encode()
    assert json.loads((tmp_path / "v.txt.json").read_text(encoding="utf-8")) == {
        "size": 3,
        "sha256": hashlib.sha256("b\na\n词\n".encode()).hexdigest(),
        "source": ["hand"],
        "counts": {"words": 3},
    }
    loaded = Vocabulary.load(str(tmp_path / "v.txt"))
    assert (loaded.sha256, loaded.settings) == (made.sha256, made.settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.txt", "v.txt.json"]


def test_pickle_gives_the_same_vocabulary() -> None:
    made = Vocabulary(["b", "a"], {"source": ["hand"]})
    copy = pickle.loads(pickle.dumps(made))
    assert (copy.id("a"), copy.word(0), copy.sha256, copy.settings) == (1, "b", made.sha256, {"source": ["hand"]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ": no words"),
        (b"a\n\nb\n", ":2: an empty line; every line is one word"),
        (b"a\nb\nc", ":3: the last line has no line end; the file may be truncated"),
        (b"a\nb\n\xff\n", ":3: not UTF-8; save the vocabulary as UTF-8 text"),
        (b"a\nb\nc\nb\na\n", ':5: "a" is already on line 1'),
        (b"a\nnew york\n", ":2: white space or control character (' ') in \"new york\""),
        (b"a\r\nb\r\n", ":1: white space or control character ('\\r') in \"a\\r\""),
        (b"a\nb\x1b[2J\n", ":2: white space or control character ('\\x1b') in \"b\\x1b[2J\""),
        ("a\nb\u3000c\n".encode(), ":2: white space or control character ('\\u3000') in \"b\u3000c\""),
        (b"\xef\xbb\xbfa\n", ":1: white space or control character ('\\ufeff') in \"\\ufeffa\""),
    ],
)
def test_load_refuses_files_that_are_not_a_vocabulary(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(data)
    with pytest.raises(OvocrError) as raised:
        Vocabulary.load(path)
    assert str(raised.value) == f"{path}{message}"


def test_line_feed_inside_a_word_is_refused() -> None:
    with pytest.raises(OvocrError) as raised:
        Vocabulary(["a", "b\nc"])
    assert str(raised.value) == 'vocabulary:2: a line feed in "b\\nc"'


def test_load_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OvocrError, match="the vocabulary cannot be read: No such file or directory"):
        Vocabulary.load(tmp_path / "v.txt")


def test_load_refuses_a_file_that_its_json_does_not_describe(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    Vocabulary(["a", "b"]).save(path)
    path.write_bytes(b"a\nc\n")
    expected = hashlib.sha256(b"a\nb\n").hexdigest()
    with pytest.raises(
        OvocrError, match=rf"v.txt: expected size 2 and sha256 {expected} as in .*v.txt.json, found size 2 "
    ):
        Vocabulary.load(path)


@pytest.mark.parametrize("before", [None, "old\n"])
def test_load_refuses_the_files_of_a_killed_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    path = tmp_path / "v.txt"
    if before is not None:
        path.write_text(before)
    with monkeypatch.context() as patched:

        def replace_one(source: Path, target: Path) -> None:
            patched.setattr(os, "replace", die)
            Path(source).rename(target)

        def die(source: Path, target: Path) -> None:
            raise KeyboardInterrupt

        patched.setattr(os, "replace", replace_one)
        with pytest.raises(KeyboardInterrupt):
            Vocabulary(["a", "b"], {"segmenter": {"han": "simplified"}}).save(path)
    with pytest.raises(
        OvocrError, match=r"v\.txt: (the vocabulary cannot be read|expected size 2 and .* found size 1 )"
    ):
        Vocabulary.load(path)
    Vocabulary(["a", "b"]).save(path)
    assert len(Vocabulary.load(path)) == 2


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read as JSON"), ("[]", "expected a JSON object")])
def test_load_refuses_broken_json(tmp_path: Path, text: str, message: str) -> None:
    Vocabulary(["a"]).save(tmp_path / "v.txt")
    (tmp_path / "v.txt.json").write_text(text, encoding="utf-8")
    with pytest.raises(OvocrError, match=rf"v.txt.json: {message}"):
        Vocabulary.load(tmp_path / "v.txt")


def test_lexicon_names_the_built_in_vocabulary_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lexicon: Vocabulary
) -> None:
    (tmp_path / "lexicon").write_bytes(b"mine\n")
    monkeypatch.chdir(tmp_path)
    assert Vocabulary.load("lexicon").sha256 == lexicon.sha256
    assert Vocabulary.load("./lexicon").word(0) == "mine"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_import_loads_no_other_package() -> None:
    heavy = "{'jieba', 'wordfreq', 'regex', 'pyarrow', 'numpy', 'torch'}"
    done = run_python(f"import sys, ovocr.vocab; print(sorted({heavy} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_load_needs_no_word_packages(tmp_path: Path) -> None:
    Vocabulary(["a", "b"]).save(tmp_path / "v.txt")
    block = "import sys; sys.modules.update(dict.fromkeys(['jieba', 'wordfreq', 'regex', 'pyarrow']))"
    done = run_python(
        f"{block}; from ovocr.vocab import Vocabulary; print(Vocabulary.load({str(tmp_path / 'v.txt')!r}).id('b'))"
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(
    ("package", "call", "message"),
    [
        ("jieba", "segment('a')", "cutting Chinese text needs jieba: pip install jieba==0.42.1"),
        ("regex", "segment('a')", "finding words needs the package regex: pip install regex"),
        ("wordfreq", "Vocabulary.load('lexicon')", "finding words needs wordfreq: pip install wordfreq==3.1.1"),
    ],
)
def test_missing_package_is_named(
    package: str, call: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # a cached lexicon would need no package
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from ovocr.base.errors import OvocrError\nfrom ovocr.vocab import Vocabulary, segment\n"
        f"try: {call}\nexcept OvocrError as error: print(error)"
    )
    done = run_python(code)
    assert (done.stdout, done.stderr) == (message + "\n", "")
