"""Speed of `ovocr relabel` compared with `ovocr build-labels` on the same images, whole commands in one run.

    python benchmarks/relabel.py SOURCE... [--workers N] [--copies N] [--json FILE]

A source may be a folder. The data set is labelled once and relabelled with several policies. Then each shard is copied
--copies times, because relabelling a few images takes less time than the start of the command.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovocr.dataset.layout import LabelledDataSet

POLICIES = {
    "same vocabulary, uniform": [],
    "--repeats": ["--repeats"],
    "--policy idf": ["--policy", "idf"],
}


def run(name: str, *arguments: str) -> dict[str, Any]:
    """Runs a whole command and returns its time and number of images."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "ovocr", *arguments, "--json", "-"], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds = time.perf_counter() - start
    images = json.loads(done.stdout)["input"]
    return {"name": name, "images": images, "seconds": round(seconds, 2), "images_per_s": round(images / seconds, 2)}


def grow(data_set: LabelledDataSet, root: Path, copies: int) -> None:
    """Writes a data set to ``root`` that has each finished shard ``copies`` times."""
    manifest = data_set.manifest()
    shards = len(manifest.shards)
    shutil.copytree(data_set.root, root)
    for path in list(LabelledDataSet(root).shard_files()):
        for copy in range(1, copies):
            shutil.copy(path, path.with_stem(f"{int(path.stem) + copy * shards:05d}"))
    replace(manifest, shards=manifest.shards * copies).write(LabelledDataSet(root).manifest_path)


def files_differ(one: Path, other: Path) -> bool:
    return any(
        path.read_bytes() != (other / path.relative_to(one)).read_bytes()
        for path in LabelledDataSet(one).shard_files()
        if path.suffix != ".json"
    )


def measure(sources: list[str], workers: int, copies: int, folder: Path) -> list[dict[str, Any]]:
    labels, grown = folder / "labels", folder / "grown"
    shared = ["--workers", str(workers)]
    results = [run("build-labels", "build-labels", *sources, "--out", str(labels), *shared)]
    for source, name in ((labels, ""), (grown, f", {copies} copies")):
        if source == grown:
            grow(LabelledDataSet(labels), grown, copies)
        for policy, options in POLICIES.items():
            out = folder / f"out{len(results)}"
            results.append(
                run(f"relabel, {policy}{name}", "relabel", str(source), "--out", str(out), *options, *shared)
            )
            if not options and files_differ(source, out):
                raise SystemExit(f"{out}: other bytes than {source}")
            shutil.rmtree(out)
    for result in results:
        result["ratio"] = round(result["images_per_s"] / results[0]["images_per_s"], 1)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.sources, options.workers, options.copies, Path(folder))
    print(f"{'command':<52}{'images':>8}{'s':>9}{'images/s':>10}{'ratio':>8}")
    for result in results:
        print("{name:<52}{images:>8}{seconds:>9.2f}{images_per_s:>10.2f}{ratio:>8.1f}".format(**result))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
