"""Runs every command of README.md as printed, in order, on a few example pages and a training run of two steps."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (ovocr .*)$", README, re.MULTILINE)
PAGES = 4


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, example_shards: Path) -> Path:
    """Returns a folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "shards").mkdir()
    (folder / "demo").mkdir()
    with (
        tarfile.open(example_shards / "pages-00000.tar") as pages,
        tarfile.open(folder / "shards" / "a.tar", "w") as few,
    ):
        members = [member for member in pages.getmembers() if member.name.endswith(".jpg")][:PAGES]
        for member in members:
            data = pages.extractfile(member).read()
            few.addfile(member, io.BytesIO(data))
            (folder / "image.jpg").write_bytes(data)
    labels = [[number, 7] for number in range(PAGES)]
    pq.write_table(
        pa.table({"key": [member.name for member in members], "labels": labels}), folder / "clusters.parquet"
    )
    lines = [{"key": member.name, "text": "example page"} for member in members]
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    (folder / "configs").mkdir()
    config = (ROOT / "configs" / "demo.toml").read_text(encoding="utf-8")
    config = re.sub(r"^steps = \d+", "steps = 2", config, flags=re.MULTILINE)
    config = re.sub(r"^warmup_steps = \d+", "warmup_steps = 1", config, flags=re.MULTILINE)
    config = re.sub(r"^global_batch = \d+", "global_batch = 4", config, flags=re.MULTILINE)
    (folder / "configs" / "demo.toml").write_text(config)
    return folder


def run(folder: Path, command: str) -> str:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": binaries},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_readme_commands_run(workplace: Path) -> None:
    assert len(COMMANDS) >= 8
    assert {command.split()[1] for command in COMMANDS} == set(main.commands)
    for command in COMMANDS:
        output = run(workplace, command)
        if "build-labels" in command:
            assert f"{PAGES} images in 1 shard: {PAGES} ok" in output
            if "--lines" in command:
                assert f"{PAGES} lines, {2 * PAGES} words" in output
                continue
            for name in ("train", "held-out"):
                shutil.copytree(workplace / "labels", workplace / "demo" / name)
        elif "pack-labels" in command:
            assert f"{PAGES} images in 1 shard: {PAGES} ok" in output
            assert "4 keys in the table, 0 without an image" in output
        elif " eval " in command:
            assert re.search(r"tag recall@10 [\d.]+ over all 365,187 centers, on 80 crops", output)
        elif " read " in command:
            assert len(output.splitlines()) == 11
    assert (workplace / "encoder" / "model.safetensors").is_file()
    outputs = []
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        (workplace / "block.py").write_text(block)
        outputs.append(run(workplace, f"{sys.executable} block.py").splitlines())
    (tokens,), records = outputs
    assert re.fullmatch(r"torch.Size\(\[1, 16, 128\]\)", tokens)
    assert len(records) == PAGES


def test_documented_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"^    make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_point_to_existing_files() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "HISTORY.md", ROOT / "examples" / "README.md"]
    for document in [*documents, *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
