"""Time of one labelling worker, by stage and by operator of the two networks.

    python benchmarks/ocr_profile.py FOLDER... [--limit N] [--json FILE]

One process, one thread, the default engine, one image at a time. One pass times the stages. A second pass repeats the
networks' inputs in sessions with ONNX Runtime's profiler, which slows them slightly.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.interface import EngineChoice
from ovocr.labelgen.images.stored_image import store_image
from ovocr.vocab import Vocabulary, load_segmenter, locate_words

MAX_PIXELS = 50_000_000


class Stopwatch:
    """Seconds by name; the time of a nested stage is subtracted from the outer one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside = [0.0]

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            start = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                passed = time.perf_counter() - start
                self.seconds[name] += passed - self._inside.pop()
                self._inside[-1] += passed

        return call


class Network:
    """A session of RapidOCR that records its inputs."""

    def __init__(self, part: Any, path: Path, watch: Stopwatch, name: str) -> None:
        self.path = path
        self.inputs: list[np.ndarray] = []
        self._run = watch.timed(f"{name}: network", part.session)
        part.session = self

    def __call__(self, tensor: np.ndarray) -> Any:
        self.inputs.append(tensor)
        return self._run(tensor)

    def operators(self) -> Counter[str]:
        """Runs all inputs again and returns seconds by operator."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_mem_pattern = False
        options.enable_profiling = True
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            for tensor in self.inputs:
                session.run(None, {name: tensor})
            events = json.loads(Path(session.end_profiling()).read_text())
        seconds: Counter[str] = Counter()
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                seconds[event["args"]["op_name"]] += event["dur"] / 1e6
        return seconds


def profile(files: list[Path]) -> dict[str, Any]:
    """Returns seconds by stage and by operator."""
    watch = Stopwatch()
    plan = EngineChoice("rapidocr").plan()
    with tempfile.TemporaryDirectory() as folder:
        Vocabulary.load("lexicon").save(Path(folder) / "vocab.txt")
        watch.timed("start: vocabulary", Vocabulary.load)(Path(folder) / "vocab.txt")
    engine: Any = watch.timed("start: engine", plan.load)()
    watch.timed("start: segmenter", load_segmenter)()
    detector, recogniser = engine._detector, engine._recogniser  # RapidOCR's own stages
    networks = {
        "detection": Network(detector, plan.det, watch, "detection"),
        "recognition": Network(recogniser, plan.rec, watch, "recognition"),
    }
    recogniser.postprocess_op = watch.timed("recognition: decoding", recogniser.postprocess_op)
    engine.prepare = watch.timed("detection: scaling", engine.prepare)
    engine.detect = watch.timed("detection: boxes and crops", engine.detect)
    engine.recognise = watch.timed("recognition: scaling", engine.recognise)
    store, words = watch.timed("decoding and checking", store_image), watch.timed("words", locate_words)
    read = skipped = lines = 0
    for path in files:
        try:
            image = store(path.read_bytes(), MAX_PIXELS)
        except QuarantinedError:
            skipped += 1
            continue
        (found,) = read_lines(engine, [image.pixels])
        words([line.text for line in found])
        read, lines = read + 1, lines + len(found)
    return {
        "pictures": read,
        "skipped": skipped,
        "lines": lines,
        "stages": dict(watch.seconds.most_common()),
        "operators": {name: dict(network.operators().most_common()) for name, network in networks.items()},
    }


def print_shares(title: str, seconds: dict[str, float], least: float) -> None:
    """Prints seconds and share of each entry; entries below ``least`` of the sum share one line."""
    total = sum(seconds.values())
    print(f"{title}: {total:.2f} s")
    shown = {name: value for name, value in seconds.items() if value >= least * total}
    shown["other"] = total - sum(shown.values())
    for name, value in shown.items():
        print(f"  {name:<28}{value:8.2f} s{value / total:8.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--limit", type=int, help="number of images per folder, first by name")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    endings = (".jpg", ".jpeg", ".png")
    files = [
        path
        for folder in arguments.folders
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)[: arguments.limit]
    ]
    if not files:
        print(f"error: no {', '.join(endings)} in {', '.join(map(str, arguments.folders))}", file=sys.stderr)
        return 1
    result = profile(files)
    print(f"{result['pictures']} images read, {result['skipped']} skipped, {result['lines']} lines")
    print_shares("stages", result["stages"], 0.0)
    for name, seconds in result["operators"].items():
        print_shares(f"operators of {name}", seconds, 0.02)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
