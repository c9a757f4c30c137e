"""One side of benchmarks/loader.py: loader_sides.py NAME SETTINGS; prints images per second."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP = 4  # batches; by then each worker has produced one
MANY = 1_000_000
LABELS = 100


def main(side: str, settings: dict[str, Any]) -> None:
    print(rate(SIDES[side](settings), settings))


def rate(batches: Iterable[Any], settings: dict[str, Any]) -> float:
    running: Iterator[Any] = iter(batches)
    for _ in islice(running, WARM_UP):
        pass
    start = time.perf_counter()
    done = 0
    while time.perf_counter() - start < settings["seconds"]:
        next(running)
        done += settings["batch"]
    return done / (time.perf_counter() - start)


def ours(settings: dict[str, Any], **options: Any) -> Iterable[Any]:
    from ovocr.trainer.data.loader import build_loader
    from ovocr.trainer.data.mixing import ShuffledList
    from ovocr.trainer.data.records import RecordSamples

    samples = RecordSamples(
        [settings["data_set"]], labels_stored=LABELS, num_classes=2**24, image_size=settings["size"], **options
    )
    return build_loader(
        samples,
        ShuffledList(len(samples), seed=0),
        pass_batch=settings["batch"],
        rank=0,
        world=1,
        passes=range(MANY),
        workers=settings["workers"],
        prefetch=2,
    )


def ours_cropped(settings: dict[str, Any]) -> Iterable[Any]:
    from ovocr.views.random_crops import RandomCrops

    crops = RandomCrops(share=1.0, scale=(0.25, 1.0), ratio=(3 / 4, 4 / 3), seed=0)
    return ours(settings, crops=crops, min_visible=0.8)


def ours_text_cropped(settings: dict[str, Any], heights: tuple[float, float] = (12.0, 48.0)) -> Iterable[Any]:
    from ovocr.views.text_crops import RangeSchedule, TextCrops

    crops = TextCrops(share=1.0, heights=RangeSchedule(end=heights), max_upscale=2.0, seed=0)
    return ours(settings, crops=crops, min_visible=0.8, min_text_height=10.0)


def ours_large_text_cropped(settings: dict[str, Any]) -> Iterable[Any]:
    """The range of text heights at the start of a schedule."""
    return ours_text_cropped(settings, (24.0, 96.0))


def dali(settings: dict[str, Any]) -> Iterable[Any]:
    import torch

    from ovocr.trainer.data.dali_loader import dali_batches
    from ovocr.trainer.data.records import RecordSamples

    samples = RecordSamples(
        [settings["data_set"]], labels_stored=LABELS, num_classes=2**24, image_size=settings["size"]
    )
    return dali_batches(
        samples,
        batch=settings["batch"],
        rank=0,
        world=1,
        passes=range(MANY),
        seed=0,
        threads=settings["workers"],
        device=torch.device("cpu"),
    )


def plain(settings: dict[str, Any]) -> Iterable[Any]:
    """A loader written without a library: a map-style data set over mxnet's reader, shuffled, decoded at full scale."""
    import cv2
    import mxnet
    import torch

    class Records(torch.utils.data.Dataset):
        def __init__(self) -> None:
            prefixes = sorted(path.with_suffix("") for path in Path(settings["data_set"], "rec").glob("*.rec"))
            self.prefixes = [str(prefix) for prefix in prefixes]
            self.readers: dict[int, Any] = {}
            self.entries = [
                (number, int(line.split()[0]))
                for number, prefix in enumerate(prefixes)
                for line in prefix.with_suffix(".idx").read_text().splitlines()
            ]

        def __len__(self) -> int:
            return len(self.entries)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            number, key = self.entries[index]
            if number not in self.readers:
                prefix = self.prefixes[number]
                self.readers[number] = mxnet.recordio.MXIndexedRecordIO(prefix + ".idx", prefix + ".rec", "r")
            header, image = mxnet.recordio.unpack(self.readers[number].read_idx(key))
            pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            return torch.from_numpy(letterboxed(pixels)), torch.from_numpy(header.label.astype(np.int64))

    def letterboxed(pixels: Any) -> Any:
        size = settings["size"]
        height, width = (max(1, round(side * size / max(pixels.shape[:2]))) for side in pixels.shape[:2])
        square = np.full((size, size, 3), 123, np.uint8)
        top, left = (size - height) // 2, (size - width) // 2
        square[top : top + height, left : left + width] = cv2.resize(
            pixels, (width, height), interpolation=cv2.INTER_AREA
        )
        return np.ascontiguousarray(square.transpose(2, 0, 1))

    records = Records()
    options = {"batch_size": settings["batch"], "num_workers": settings["workers"], "worker_init_fn": one_thread}
    while True:
        yield from torch.utils.data.DataLoader(
            records, sampler=torch.utils.data.RandomSampler(records, num_samples=100_000, replacement=True), **options
        )


def one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)


SIDES = {
    "ovocr": ours,
    "ovocr, crops": ours_cropped,
    "ovocr, text crops": ours_text_cropped,
    "ovocr, large text crops": ours_large_text_cropped,
    "DALI, CPU": dali,
    "DataLoader over mxnet": plain,
}

if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
