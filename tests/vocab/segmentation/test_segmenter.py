"""Segmentation: a table of cases, the tables of docs/vocabulary.md, hyphenation and positions."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from ovocr.vocab import LocatedWord, Vocabulary, load_segmenter, locate_words, segment, segment_lines
from ovocr.vocab.segmentation.chinese import ChineseCutter, import_rjieba, is_mixed, read_dictionary
from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.segmentation.word_patterns import SYMBOL_WORDS, compile_ascii_words, compile_words

ROOT = Path(__file__).resolve().parents[3]

# line | words, separated by spaces
# The first lines are OCR results of real images and receipts.
CASES = r"""
我是中国人 | 我 是 中国 人
强力去污符合国标 | 强力 去污 符合 国标
5.8起 | 起
解除抵押登记 | 解除 抵押 登记
中国网络空间安全 | 中国 网络空间 安全
A:：取决于所使用的执行提供者 | a 取决于 所 使用 的 执行 提供者
它也不一定会把操作分配/放置到CUDA EP上。 | 它 也 不 一定 会 把 操作 分配 放置 到 cuda ep 上
三星堆の文化財レプリカが大阪・関西万博で展示へ | 三星堆 の 文化 財 レプリカ が 大阪 関西万博 で 展示 へ
【素敵な四季を探す旅】春分 | 素敵 な 四季 を 探 す 旅 春分
To facilitate the shot type analysis in videos, we collect | to facilitate the shot type analysis in videos we collect
3 MovieShots Dataset | movie shots dataset
contains 46K shots from 7858 movies. The details | contains 46k shots from movies the details
Alphabetum in mundo hodie frequentissime adhibitum est | alphabetum in mundo hodie frequentissime adhibitum est
( 801580-T ) | t
INVOICE NO: 22497 | invoice no
SERVICE CHARGE 10% | service charge
SR I00100000114-Add Chicken | sr i00100000114 add chicken
GST REG #000656195584 | gst reg
(GST ID No :001092886528) | gst id no
LOT 1851-A & 1851-B, JALAN KPB 6, | lot a b jalan kpb
No 7, Simpàng Off Batu Village, | no simpàng off batu village
THANK YOU *** | thank you
PRINTED: 22/04/2017 12:23:34 PM | printed pm
SELANGOR DARUL EHSAN | selangor darul ehsan
FG-H00027 | fg h00027
Dommal Food Services Sdn Bhd | dommal food services sdn bhd
SERV.CHG.10% | serv chg
RM3.99 s | rm s
4CT | ct
01:11PM | pm
No.2, Jalan Temenggung 19/9, | no jalan temenggung
5386 STAR BRAND GARBAGE BAG | star brand garbage bag
Howareyou | how are you
howareyou today | how are you today
Tofacilitatetheshottypeanalysis | to facilitate the shot type analysis
Tofacilitate theshottype analysis | to facilitate the shot type analysis
THANKYOU | thank you
THANKYOUFORSHOPPINGWITHUS | thank you for shopping with us
Pleasecomeagain | please come again
ofthe book | of the book
intothe andthe forthe | into the and the for the
SDN.BHD.JALANSULTAN | sdn bhd jalan sultan
GRANDTOTAL:20.00 | grand total
TOTALAMOUNTDUE | total amount due
ROUNDINGADJUSTMENT | rounding adjustment
CUSTOMERCOPY | customer copy
GOODSSOLDARENOTRETURNABLE | goods sold are not returnable
taxinvoice | tax invoice
Domino'sPizza | domino's pizza
Ruff'slinter | ruff's linter
don'tworry | don't worry
into another today cannot maybe become forget income | into another today cannot maybe become forget income
without manor theirs takeaway subtotal buttercream | without manor theirs takeaway subtotal buttercream
81620 Pengerang | pengerang
PETALING JAYA | petaling jaya
Jalan Temenggung | jalan temenggung
perindustrian unihakka | perindustrian unihakka
NumPy PyTorch tqdm | numpy pytorch tqdm
die Haftpflichtversicherung | die haftpflichtversicherung
straßenbahn fußgänger | strassenbahn fussgänger
naïveté entrecôte | naïveté entrecôte
l'argent d'accord aujourd'hui | l'argent d'accord aujourd'hui
xxxxxxxx | xxxxxxxx
qwrtzpsdf | qwrtzpsdf
iPhone15 covid19 Windows11 | iphone15 covid19 windows11
iPhone 15 Pro Max | iphone pro max
rtx4090 room101 | rtx room
21st 42nd 103rd 7th | 21st 42nd 103rd 7th
500ML 250g 1.5L 10kg | ml 250g 5l kg
2.5kg 5kg 3cm 16GB 60Hz | kg kg cm gb hz
100USD USD100 RM12 RM12.50 RS.50 | usd usd rm rm rs
total20.00 CHANGE0.00 | total change
Table12 | table12
8263254FAX:07-8266888 | fax
TEL:07-8263254FAX:07 | tel fax
CROCS300X17TUBES | crocs tubes
2pcs 10pkts | 2pcs 10pkts
h264 x86 m4a A4132X5 | h264 x86 m4a a4132x5
$1,299.99USD | usd
10:30AM 11PM 9am-5pm | am pm am pm
2019-03-25T10:30:00Z | 25t10 00z
www.goodlifecafe.com | www good life cafe com
https://thankyou.example.org/pages/1 | https thank you example org pages
USER_NAME@MAIL.COM | user name mail com
SK-II C++ e-mail don't | sk-ii c++ e mail don't
電話0912345678分機12 | 電話 分機
中文howareyou中文 | 中文 how are you 中文
Hello, World! | hello world
THE QUICK brown Fox | the quick brown fox
It's 5 o'clock | it's o'clock
it’s John’s | it's john's
‘single’ “double” 'quoted' | single double quoted
the boys' toys | the boys toys
rock 'n' roll | rock n roll
café naïve Zürich | café naïve zürich
Đặng Łódź Ðə | đặng łódź ðə
x\u0323\u0301y | x\u0323\u0301y
ﬁne ﬂow oﬃce | fine flow office
Ｔｏｔａｌ：１００ | total
½ tsp | tsp
well-known e-mail T-shirt | well known e mail t shirt
a–b—c | a b c
snake_case camelCase | snake case camelcase
he/she and&or | he she and or
i.e. Ph.D. 3.5mm | i e ph d mm
node.js v2.0b | node js v2 0b
mp3 MP4 h264 4K 2nd B2B | mp3 mp4 h264 4k 2nd b2b
iphone15pro | iphone pro
007 1,234.56 -5 +1 50% | (none)
1\u20e3 2\u0301 | (none)
Tel: +86-10-6552 9988 | tel
$19.99 £5 €7,50 ￥88 | (none)
RM9.90 US$5 100USD | rm us usd
12/03/2018 10:30AM | am
GST @6% | gst
info@example.com | info example com
HTTP://A.B/c?d=e#f%20g | http a b c d e f 20g
C++ and C# or F# | c++ and c# or f#
C++11 | c++
C+ C+++ abc++ | c c++ abc
item#5 C#m | item c# m
AT&T's AT&T. | at t's at&t
H&M SK-II sk-iii | h&m sk-ii sk iii
Q&A部 | q&a 部
R & D | r d
中华人民共和国 | 中华人民共和国
小明硕士毕业于中国科学院计算所 | 小明 硕士 毕业 于 中国科学院 计算所
今天天气不错，挺好的。 | 今天天气 不错 挺 好 的
全場５折優惠 | 全場 折 優惠
第3章 共100页 | 第 章 共 页
Hello世界OK | hello 世界 ok
使用iPhone15拍照 | 使用 iphone15 拍照
T恤 t恤衫 Ｔ恤 | t恤 t恤衫 t恤
打印X光片 | 打印 x光 片
AAT恤 1T恤 | aat 恤 1t 恤
1号店 11号店 | 1号店 号店
γ射线 αγ射线 | γ射线 αγ 射线
阿Q 老阿Q 阿QQ | 阿q 老 阿 q 阿 qq
价格:￥99元起 | 价格 元起
《红楼梦》【第一回】 | 红楼梦 第一回
人々 | 人 々
東京タワーへ行く | 東京 タワー へ 行 く
ｺｰﾋｰ コーヒー・ラテ | コーヒー コーヒー ラテ
ーー〜 ーあ | あ
ひらがなカタカナ | ひらがな カタカナ
안녕 하세요 | 안녕 하세요
서울2024년 K팝 | 서울 년 k 팝
Москва́ — столица | москва́ столица
ТОВАР№5 | товар no5
Ελλάδα ΣΊΣΥΦΟΣ | ελλάδα σίσυφοσ
السَّلامُ عليكم | السَّلامُ عليكم
می\u200cخواهم ٣٤٥ | میخواهم
שָׁלוֹם | שָׁלוֹם
नमस्ते दुनिया १२३ | नमस्ते दुनिया
ক্ষমা বাংলা | ক্ষমা বাংলা
தமிழ் மொழி | தமிழ் மொழி
ภาษาไทย ดี ๑๒ | ภาษาไทย ดี
ქართული Հայերեն አማርኛ | ქართული հայերեն አማርኛ
ᚠᚢᚦ 𐌰𐌱 | ᚠᚢᚦ 𐌰𐌱
HelloПриветΓεια | hello привет γεια
zero\u200bwidth un\u200clike | zero width unlike
\u202eright\u202c \ufeffbom | right bom
so\u00adft | soft
a\u0000b\u001bc | a b c
😀👍🏽 ok ★ ™ © | ok tm
\ud800 x | x
ˈstress ʰ | stress h
 | (none)
!!! ... --- | (none)
"""


def unescape(text: str) -> str:
    return re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)


def table_cases() -> list[tuple[str, str]]:
    rows = (line.rpartition(" | ") for line in CASES.strip("\n").split("\n"))
    return [(unescape(line), unescape(words)) for line, _, words in rows]


def documented_cases() -> list[tuple[str, str]]:
    """Returns (line, words) of each row ``| rule | `line` | `words` |`` of docs/vocabulary.md."""
    text = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")
    return [
        (unescape(line), words) for line, words in re.findall(r"^\| .+ \| `(.+)` \| `(.+)` \|$", text, re.MULTILINE)
    ]


def listed(words: str) -> list[str]:
    return [] if words == "(none)" else words.split(" ")


@pytest.mark.parametrize(("line", "words"), table_cases())
def test_words_of_lines(line: str, words: str) -> None:
    assert segment(line) == listed(words)


@pytest.mark.parametrize(("line", "words"), documented_cases())
def test_words_of_lines_in_the_documentation(line: str, words: str) -> None:
    assert segment_lines(line.split("⏎")) == listed(words)


def test_both_tables_are_read_completely() -> None:
    assert len(table_cases()) >= 165
    assert len(documented_cases()) >= 45


@pytest.mark.parametrize("word", SYMBOL_WORDS)
def test_symbol_words_are_found_between_other_words(word: str) -> None:
    assert segment(f"a {word.upper()}, {word}中") == ["a", word, word, "中"]


def test_all_mixed_dictionary_words_are_found() -> None:
    words, _ = read_dictionary()
    mixed = [word for word in words if not re.fullmatch(r"[\u2e80-\uffff]+", word)]
    assert len(mixed) > 60
    for word in mixed:
        assert segment(word) == [normalise(word)]


def test_words_are_normalised_and_contain_a_letter() -> None:
    for line, _ in table_cases():
        for word in segment(line):
            assert normalise(word) == word
            assert any(char.isalpha() for char in word) or word == "々"


def test_chinese_words_match_jieba(tmp_path: Path) -> None:
    # jieba loads its dictionary its own way, in a separate process and temporary folder.
    text = "他来到了网易杭研大厦。工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作"
    code = f"import jieba; print('|'.join(w for w in jieba.cut({text!r}) if w.isalpha()))"
    environment = {"TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "ignore"}
    theirs = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert segment(text) == theirs.stdout.decode("utf-8").strip().split("|")


def test_loading_prints_nothing_and_leaves_no_file(tmp_path: Path) -> None:
    code = "from ovocr.vocab import segment; print(ascii(segment('北京 ok')))"
    environment = {"TMPDIR": str(tmp_path), "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ascii(["北京", "ok"]) + "\n"
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] in ([], ["bytecode"])


def test_load_segmenter_is_cached() -> None:
    assert load_segmenter() is load_segmenter()


def test_mixed_words_of_the_cutter_match_the_dictionary() -> None:
    words = [word for word in read_dictionary()[0] if is_mixed(word)]
    assert ChineseCutter().mixed_words == words
    assert {"c++", "t恤", "1号店"} <= {word.casefold() for word in words}


@pytest.mark.parametrize(
    "line", ["0" * 300_000, "a'" * 150_000, "e\u0301\u0323" * 100_000, "a&" * 150_000, "-" * 300_000]
)
def test_long_lines_take_linear_time(line: str) -> None:
    # Quadratic time would take hours.
    assert sum(map(len, segment(line))) <= len(line)


def test_spans_do_not_overlap_and_give_the_words() -> None:
    for line, _ in table_cases():
        text = normalise(line)
        spans = list(load_segmenter().spans(text))
        assert [text[start:end] for start, end in spans] == segment(line)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["inter-", "national"], ["international"]),
        (["a co\u00adop-", "erative b"], ["a", "cooperative", "b"]),
        (["inter‐", "national"], ["international"]),
        (["inter- ", " national"], ["international"]),
        (["inter-", "", "national"], ["inter", "national"]),
        (["inter-", "National"], ["inter", "national"]),
        (["inter-", "42nd"], ["inter", "42nd"]),
        (["inter-", "(national)"], ["inter", "national"]),
        (["inter--", "national"], ["inter", "national"]),
        (["inter -", "national"], ["inter", "national"]),
        (["b2-", "national"], ["b2", "national"]),
        (["北京-", "national"], ["北京", "national"]),
        (["-", "national"], ["national"]),
        (["привет-", "мир"], ["привет", "мир"]),
        (["inter-"], ["inter"]),
        ([], []),
        (["", ""], []),
    ],
)
def test_hyphenation(lines: list[str], words: list[str]) -> None:
    assert segment_lines(lines) == words


def test_positions_are_offsets_in_the_line_as_it_was_read() -> None:
    assert locate_words(["\t北京  ABC!"]) == [LocatedWord("北京", 0, 1, 3), LocatedWord("abc", 0, 5, 8)]
    assert locate_words(["x\u0323y zz"]) == [LocatedWord("x\u0323y", 0, 0, 3), LocatedWord("zz", 0, 4, 6)]


def test_positions_count_punctuation_and_invisible_characters() -> None:
    assert locate_words(["$a\u200db, cd!"]) == [LocatedWord("ab", 0, 1, 4), LocatedWord("cd", 0, 6, 8)]


def test_words_inside_one_character_have_positions_with_fractions() -> None:
    words = locate_words(["x \ufdfa"])  # normalised to four words, 18 characters
    assert [word.text for word in words] == ["x", "صلى", "الله", "عليه", "وسلم"]
    assert [word.start for word in words[1:]] == pytest.approx([2, 2 + 4 / 18, 2 + 9 / 18, 2 + 14 / 18])
    assert [word.end for word in words[1:]] == pytest.approx([2 + 3 / 18, 2 + 8 / 18, 2 + 13 / 18, 3])


def test_positions_of_words_in_one_chinese_run() -> None:
    assert locate_words(["清华大学北京"]) == [LocatedWord("清华大学", 0, 0, 4), LocatedWord("北京", 0, 4, 6)]


def test_hyphenated_word_has_the_position_of_its_first_part() -> None:
    assert locate_words(["x inter-", "national y"]) == [
        LocatedWord("x", 0, 0, 1),
        LocatedWord("international", 0, 2, 7, lines=2),
        LocatedWord("y", 1, 9, 10),
    ]


def test_positions_are_within_the_line() -> None:
    for line, _ in table_cases():
        for word in locate_words([line]):
            assert 0.0 <= word.start < word.end <= len(line)


def test_most_words_of_the_lexicon_are_not_cut(lexicon: Vocabulary) -> None:
    ids = range(0, len(lexicon), 37)
    cut = [id for id in ids if segment(lexicon.word(id)) != [lexicon.word(id)]]
    # English words are cut only if two words are likelier: thankyou, ofthe.
    assert len([id for id in cut if id >= 182_594]) < 0.005 * len([id for id in ids if id >= 182_594])
    assert len(cut) < 0.04 * len(ids)


def test_rjieba_finds_the_same_words_as_jieba() -> None:
    words, _ = read_dictionary()
    han = [word for word in words if re.fullmatch(r"[\u4e00-\u9fd5]+", word)]
    characters = sorted(set("".join(han)))
    random = Random(0)
    runs = ["".join(random.choices(han, k=random.randint(1, 8))) for _ in range(2000)]
    runs += ["".join(random.choices(characters, k=random.randint(1, 20))) for _ in range(2000)]
    runs += ["\u3400\u3401好", "人々二〇", "𠀀𠀁中国", "鿿鿿中"]
    fast, plain = ChineseCutter(), ChineseCutter()
    assert import_rjieba() is not None
    plain.__dict__["_cut_block"] = plain._tokenizer.lcut
    assert (
        [fast.cut(run) for run in runs]
        == [plain.cut(run) for run in runs]
        == [plain._tokenizer.lcut(run) for run in runs]
    )


def test_ascii_pattern_matches_like_the_full_pattern() -> None:
    mixed = [normalise(word) for word in ChineseCutter().mixed_words]
    full, plain = compile_words(mixed), compile_ascii_words(mixed)
    random = Random(1)
    pieces = [*SYMBOL_WORDS, *"abz0129'+#&-./ ", "''", "12a", "1'a", "a'1"]
    lines = ["".join(random.choices(pieces, k=random.randint(1, 12))) for _ in range(20_000)]
    lines += [normalise(line) for line, _ in table_cases() if normalise(line).isascii()]
    for line in lines:
        found = [(match.span(), match.lastgroup) for match in plain.finditer(line)]
        assert found == [(match.span(), match.lastgroup) for match in full.finditer(line)], line
