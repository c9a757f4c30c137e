"""Images in an object store are read like those on a disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from ovocr.base import attempts
from ovocr.cli import main
from ovocr.recordio import RecordReader


def read(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["read", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def images(planted: NDArray[np.int64], tmp_path: Path, bucket: Any) -> list[tuple[Path, str]]:
    """Returns path and URL of 20 images."""
    found = []
    with RecordReader(tmp_path / "labels" / "rec" / "00000") as records:
        for number in range(20):
            path = tmp_path / f"{number}.jpg"
            path.write_bytes(records[number % len(records)].image)
            found.append((path, bucket.put(f"pages/{number}.jpg", path.read_bytes())))
    return found


def test_words_are_those_of_the_files(images: list[tuple[Path, str]], tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, text, errors = read(run, *(path for path, _ in images), "--json", "-")
    assert (code, errors) == (0, "")
    found = read(run, *(url for _, url in images), "--json", "-", "--html", tmp_path / "page.html")
    assert found[0] == 0, found
    expected = json.loads(text)
    for reading, (_, url) in zip(expected, images, strict=True):
        reading["path"] = url
    assert json.loads(found[1]) == expected
    assert images[0][1] in (tmp_path / "page.html").read_text()


def test_other_images_are_read_if_one_is_missing_or_broken(
    images: list[tuple[Path, str]], tmp_path: Path, bucket: Any
) -> None:
    missing, broken = f"{bucket.url}/none.jpg", bucket.put("text.jpg", b"no image")
    code, text, errors = read(tmp_path / "run", missing, images[0][1], broken, images[0][0], "--top-k", 1)
    assert code == 2
    first, second = errors.splitlines()
    assert first == f"ovocr: {missing}: cannot be read: no such file"
    assert second.startswith(f"ovocr: {broken}: ")
    assert [line for line in text.splitlines() if line.endswith(":")] == [f"{images[0][1]}:", f"{images[0][0]}:"]


def test_store_that_refuses_connections_ends_the_command(
    images: list[tuple[Path, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    s3 = fsspec.get_filesystem_class("s3")
    monkeypatch.setattr(attempts, "_PAUSES_S", (0.0,))
    monkeypatch.setattr(s3, "retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3.clear_instance_cache()
    code, text, errors = read(tmp_path / "run", *(url for _, url in images))
    s3.clear_instance_cache()
    assert (code, text) == (1, "")
    # Threads that fetch other images may say after it that they try again.
    (line,) = (line for line in errors.splitlines() if "(2 attempts in " in line)
    assert line.startswith(f"ovocr: {images[0][1]}: ")
