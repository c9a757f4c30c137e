"""Where the commands of documents run: one folder with every file that they name, and what stands in their gaps."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.vocab import Vocabulary, segment_lines
from tests.documents.blocks import ROOT
from tests.documents.command_syntax import is_form

FEW = 4  # images for OCR, which takes time
READING = 4  # pages of few words

# Words in a command that stand for something, or numbers for more data than a test has: what the test takes.
REPLACED: dict[str, dict[str, str]] = {
    "docs/engines.md": {"SOURCE": "shards/a.tar", "DIR": "out"},
    "docs/encoder.md": {
        "demo/run": "run",
        "demo/held-out": "labels",
        "encoder --onnx": "encoder --onnx --force",  # the place has it already
    },
    "docs/evaluation.md": {"RUN": "run", "receipts": "labels"},
    "docs/holding_out.md": {
        "config.toml": "configs/demo.toml",
        "RUN": "run",
        # Of a few images, a small share may be none.
        "split labels": "split more-labels",
        "--share .05": "--share .3",
        "--share .25": "--share .5",
    },
    "docs/labelling.md": {"SOURCE...": "shards/a.tar", "DIR": "out"},
    "docs/first_steps.md": {"--share 0.25": "--share .5"},
    "docs/given_text.md": {"SOURCE...": "shards/a.tar", "TABLE": "lines.jsonl", "DIR": "out"},
    "docs/packing.md": {"SOURCE...": "shards/a.tar", "TABLE": "clusters.csv", "DIR": "out"},
    "docs/reading.md": {"--min-count 45": "--min-count 1"},
    "docs/relabelling.md": {"DIR2": "out", "DIR": "labels", "PATH": "words.txt", "OLD": "labels", "NEW": "out"},
    "docs/training.md": {
        "CONFIG.toml": "wsd.toml",
        "config.toml": "configs/demo.toml --set run.output=tracked",
        "200_000": "4",
    },
    "docs/verification.md": {"DIR": "labels"},
    "docs/vocabulary.md": {"words.txt Hello 17 乾淨": "lexicon Hello 17"},  # words of other texts
}

# Commands that no test runs as they are printed, by their beginning, and why. They are checked for their syntax.
NOT_RUN: dict[str, dict[str, str]] = {
    "CONTRIBUTING.md": {
        "make ": "starts tests, builds or measurements that take minutes to hours",
        ".ci/run": "runs all tests",
        "pytest ": "runs these tests",
    },
    "README.md": {
        "ovocr ": "tests/test_readme.py runs it",
        "make ": "installs packages into an environment; .ci/run runs `make test`",
        "pip install": "installs the package; `make test-install` runs it",
    },
    "docs/engines.md": {
        "pip install": "the environment of `make test-paddle`, packages of 1 GB",
        "ovocr build-labels SOURCE --out DIR --engine paddleocr": "runs in the environment of `make test-paddle`",
        "ovocr build-labels ../shared/data/receipts": "runs in the environment of `make test-paddle`",
        "python benchmarks/": "measures for minutes, on images that are not part of the repository",
        "ovocr build-labels SOURCE --out DIR --precision": "needs a processor with bfloat16: test_openvino.py",
    },
    "docs/obelics.md": {
        "python -m venv fetch": "img2dataset has dependencies of its own, and fetches from the internet",
        "fetch/bin/img2dataset": "img2dataset has dependencies of its own, and fetches from the internet",
    },
    "docs/object_stores.md": {
        "ovocr build-labels 's3://": "somebody's bucket; tests/labelgen/store runs it on a local S3 server",
        "ovocr eval RUN --data s3://": "somebody's bucket; tests/trainer/data/stored runs it on a local S3 server",
    },
    "docs/reading.md": {"make bench-reading": "trains for three hours"},
    "docs/scale.md": {
        "pip install": "installs the package",
        "ray start": "a cluster; tests/labelgen/executors runs nodes of their own",
        "ovocr build-labels SOURCE... --out DIR --executor ray": "tests/labelgen/executors/test_ray.py runs it",
        "sbatch ": "needs Slurm; tests/labelgen/executors/test_slurm_example.py runs the script",
        "SLICES=16 sbatch": "needs Slurm; tests/labelgen/executors/test_slurm_example.py runs the script",
    },
    "docs/training.md": {
        "torchrun ": "eight ranks",
        "WANDB_API_KEY": "needs an account; tests/trainer/tracking tracks runs offline",
        "MLFLOW_TRACKING_URI=http": "needs a server; tests/trainer/tracking tracks runs in a database",
        "ovocr train configs/stage2.toml": "builds an encoder of 300 million parameters",
        "pip install 'transformers": "a package that only this comparison needs",
        "OVOCR_PUBLISHED_CHECKOUT=": "needs a checkout of another project",
    },
    "examples/README.md": {
        "sudo apt-get": "installs typefaces into the system",
        "python examples/make_pages.py": "needs these typefaces; tests/test_examples.py tests the pages",
    },
}


def reason_not_to_run(document: str, command: str) -> str | None:
    """Returns why no test runs a command, or None."""
    if is_form(command):
        return "shows the options that there are"
    reasons = NOT_RUN.get(document, {})
    return next((reason for beginning, reason in reasons.items() if command.startswith(beginning)), None)


def make_place(folder: Path) -> None:
    """Writes the files that commands name, except data sets and runs.

    Images and text are real: they come from the example pages.
    """
    with tarfile.open(ROOT / "examples" / "shards" / "pages-00000.tar") as archive:
        pages = {name: archive.extractfile(name).read() for name in archive.getnames()}
    images = {name: data for name, data in pages.items() if name.endswith(".jpg")}
    lines = {name: pages[name.replace(".jpg", ".txt")].decode().splitlines() for name in images}
    few = dict(list(images.items())[:FEW])
    for name in ("shards/a.tar", "documents/a.tar", "held-out/b.tar", "day1/a.tar"):
        write_tar(folder / name, few)
    write_tar(folder / "day2" / "b.tar", dict(list(images.items())[FEW : FEW + 1]))
    write_tar(folder / "many.tar", images)
    for table in ("lines.jsonl", "held-out.jsonl"):
        rows = (json.dumps({"key": key, "lines": text}, ensure_ascii=False) for key, text in lines.items())
        (folder / table).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    (folder / "clusters.csv").write_text("key,label\n" + "".join(f"{key},7\n" for key in few))
    shops = "".join(f"{key},{number},shop {number}\n" for number, key in enumerate(images))
    (folder / "shops.csv").write_text(f"key,group,shop\n{shops}")
    (folder / "receipts").mkdir()
    (folder / "images").mkdir()
    for name, data in few.items():
        (folder / "receipts" / name).write_bytes(data)
        (folder / "receipts" / name.replace(".jpg", ".txt")).write_bytes(pages[name.replace(".jpg", ".txt")])
    for name in ("images/1.jpg", "image.jpg", "menu.jpg", "page.png"):
        (folder / name).write_bytes(few["00000.jpg"])
    for number, data in enumerate(list(images.values())[:10]):
        name = "even" if number % 2 == 0 else "odd"
        (folder / "probe" / name).mkdir(parents=True, exist_ok=True)
        (folder / "probe" / name / f"{number}.jpg").write_bytes(data)
    words = sorted({word for text in lines.values() for word in segment_lines(text)})
    Vocabulary(words).save(folder / "words.txt")
    fetched = folder / "fetched"
    write_tar(fetched / "00000.tar", {"000000000.jpg": few["00000.jpg"], "000000000.json": b"{}"})
    (fetched / "00000_stats.json").write_text("{}")
    pq.write_table(pa.table({"url": ["https://x.example/1.jpg"], "key": ["000000000"]}), fetched / "00000.parquet")
    write_lmdb(folder / "words.lmdb", few, {name: " ".join(lines[name]) for name in few})
    (folder / "obelics").mkdir()
    urls = [["https://x.example/b.jpg", None], [None, "https://x.example/a.jpg", "https://x.example/b.jpg"]]
    pq.write_table(pa.table({"images": urls}), folder / "obelics" / "train-00000.parquet")
    shutil.copytree(ROOT / "configs", folder / "configs")
    for config in (folder / "configs").iterdir():
        config.write_text(shortened(config.read_text(encoding="utf-8")), encoding="utf-8")
    demo = (folder / "configs" / "demo.toml").read_text(encoding="utf-8")
    wsd = re.sub(r"^decay_power = .*", 'schedule = "wsd"\ncooldown_steps = 1', demo, flags=re.MULTILINE)
    (folder / "wsd.toml").write_text(wsd, encoding="utf-8")
    (folder / "memorise.toml").write_text(memorising(demo), encoding="utf-8")
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "training.md", folder / "docs")
    examples = folder / "examples"
    examples.mkdir()
    shutil.copy(ROOT / "examples" / "make_lines.py", examples)
    text = {name.replace(".jpg", ".txt"): pages[name.replace(".jpg", ".txt")] for name in few}
    write_tar(examples / "shards" / "pages-00000.tar", few | text)
    (examples / "reading").mkdir()
    for name in ("train.tar", "held-out.tar"):
        with tarfile.open(ROOT / "examples" / "reading" / name) as archive:
            names = archive.getnames()[:READING]
            write_tar(examples / "reading" / name, {name: archive.extractfile(name).read() for name in names})
    shutil.copy(ROOT / "examples" / "reading" / "words.txt", examples / "reading")
    for image in (ROOT / "examples" / "reading").glob("*.webp"):
        shutil.copy(image, examples / "reading")


def shortened(config: str) -> str:
    """Returns a configuration of a run of two steps, of small batches."""
    changes = {"steps": "2", "warmup_steps": "1", "global_batch": "4", "crop_text_height_steps": "2", "every": "2"}
    for key, value in changes.items():
        config = re.sub(rf"^{key} = [\d_]+", f"{key} = {value}", config, flags=re.MULTILINE)
    return config


def memorising(demo: str) -> str:
    """Returns the configuration that docs/holding_out.md derives from the demo's."""
    kept = [line for line in demo.splitlines() if not re.match(r"crop_|min_text_height", line)]
    changes = {"output": '"memorised"', "data": '["split/train"]'}
    return "\n".join(
        next((f"{key} = {value}" for key, value in changes.items() if re.match(rf"{key} = ", line)), line)
        for line in kept
    )


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    """Writes an archive, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_lmdb(path: Path, images: dict[str, bytes], texts: dict[str, str]) -> None:
    """Writes a database of word images as text recognition data sets have them."""
    import lmdb

    with lmdb.open(str(path)) as database, database.begin(write=True) as entries:
        entries.put(b"num-samples", str(len(images)).encode())
        for number, (name, data) in enumerate(images.items(), 1):
            entries.put(b"image-%09d" % number, data)
            entries.put(b"label-%09d" % number, texts[name].encode())
