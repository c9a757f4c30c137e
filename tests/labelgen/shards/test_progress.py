import pytest

from ovocr.labelgen.shards import progress
from ovocr.labelgen.shards.progress import Progress, say
from ovocr.labelgen.sources import InputShard

TARS = [InputShard(source="a.tar", kind="tar", size=1000), InputShard(source="b.tar", kind="tar", size=3000)]
REC = InputShard(source="c.rec", kind="rec", images=5)


def run(shards: list[InputShard], counts: list[int]) -> None:
    with Progress(shards, shown=True) as bar:
        for shard, count in zip(shards, counts, strict=True):
            bar.begin(shard)
            for _ in range(count):
                bar.image()
            bar.end(shard)


def test_progress_without_a_terminal_prints_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    run([*TARS, REC], [2, 6, 5])
    out, err = capsys.readouterr()
    lines = [line.split(", ") for line in err.splitlines()]
    assert out == ""
    assert len(lines) == 13
    # The tars' images are unknown at first. Then 2 images in 1000 bytes give 8 in 4000, plus 5 records.
    assert lines[0][:2] == ["ovocr: shard 1/3", "1 of ? images"]
    assert lines[2][:2] == ["ovocr: shard 2/3", "3 of about 13 images"]
    assert lines[-1][:2] == ["ovocr: shard 3/3", "13 of 13 images"]
    assert lines[-1][3] == "about 0 s left"


def test_short_run_and_hidden_progress_print_nothing(capsys: pytest.CaptureFixture[str]):
    run([REC], [5])
    with Progress([REC], shown=False) as bar:
        bar.begin(REC)
        bar.image()
        bar.end(REC)
    assert capsys.readouterr().err == ""


def test_say_escapes_control_characters(capsys: pytest.CaptureFixture[str]):
    say("bad \x1b[2J name")
    assert capsys.readouterr().err == "ovocr: bad \\x1b[2J name\n"
