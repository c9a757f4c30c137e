"""``ovocr inspect``: loads a sample of a data set's images with their labels."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.images import InspectedImage, load_images
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.page_images import NoImage
from ovocr.labelgen.inspection.selection import Selection, Selector


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A sample of a data set."""

    data_set: InspectedDataSet
    options: InspectOptions
    selection: Selection
    images: tuple[InspectedImage, ...]

    def format(self) -> str:
        """Returns a line or two for a person."""
        without = sum(isinstance(image.picture, NoImage) for image in self.images)
        shards = len(self.selection.places)
        of = f"{self.selection.matching} images, from {shards} shard{'s' if shards > 1 else ''}"
        lines = [f"{len(self.images)} of {of}"]
        return "\n".join(lines + ([f"  images that cannot be shown: {without}"] if without else []))

    @property
    def left_out(self) -> list[str]:
        """A line for each shard that cannot be read and is not shown."""
        return [f"shard {number}: {why}" for number, why in self.selection.left_out.items()]

    def to_json(self) -> dict[str, Any]:
        """Returns, for ``--json``, counts of the data set, how the sample was chosen, and a row for each image."""
        options = self.options
        return {
            "counts": self.data_set.counts,
            "sample": {
                "images": len(self.images),
                "matching": self.selection.matching,
                "shards_matching": self.selection.shards,
                "limit": options.limit,
                "seed": options.seed,
                "status": options.status,
                "word": options.word,
                "keys": list(options.keys),
                "shard": options.shard,
                "left_out": self.left_out,
            },
            "images": [_row(image) for image in self.images],
        }


def inspect_labels(options: InspectOptions, progress: bool) -> Inspection:
    """Chooses images of a data set and loads them with their labels.

    progress: show a bar on a terminal's stderr. Raises OvocrError if there is no data set, or no image that the options
    ask for; MissingExtraError if the packages that decode images are not installed.
    """
    if any(find_spec(name) is None for name in ("cv2", "PIL")):
        raise MissingExtraError("inspect", "ocr")
    data_set = InspectedDataSet.open(options.source)
    selector = Selector(data_set, options, progress)
    loaded = _Loaded(data_set, options.side, progress)
    while True:
        selection = selector.choose()
        damaged = loaded.load(selection)
        if not damaged:
            return Inspection(
                data_set=data_set, options=options, selection=selection, images=tuple(loaded.images(selection))
            )
        for shard, error in damaged.items():
            selector.leave_out(shard, error)


class _Loaded:
    """Loaded images, kept while others are chosen to replace those of damaged shards."""

    def __init__(self, data_set: InspectedDataSet, side: int, progress: bool) -> None:
        self._data_set = data_set
        self._side = side
        self._progress = progress
        self._shards: dict[int, tuple[list[int], list[InspectedImage]]] = {}

    def load(self, selection: Selection) -> dict[int, OvocrError]:
        """Loads the chosen images that are not loaded yet. Returns the error of each shard that cannot be read."""
        damaged: dict[int, OvocrError] = {}
        shown = self._progress and sys.stderr.isatty()
        with tqdm(total=selection.chosen, unit="img", disable=not shown) as bar:
            for shard, places in selection.places.items():
                if self._shards.get(shard, ([], []))[0] == places:
                    bar.update(len(places))
                    continue
                images = []
                try:
                    for image in load_images(self._data_set, shard, places, self._side):
                        images.append(image)
                        bar.update()
                except OvocrError as error:
                    damaged[shard] = error
                else:
                    self._shards[shard] = places, images
        return damaged

    def images(self, selection: Selection) -> Iterator[InspectedImage]:
        """Yields the chosen images; all must be loaded."""
        for shard in selection.places:
            yield from self._shards[shard][1]


def _row(image: InspectedImage) -> dict[str, Any]:
    picture = image.picture
    return {
        "shard": image.shard,
        "source": image.source,
        "key": image.key,
        "status": image.status.value,
        "reason": image.reason,
        "detail": image.detail,
        "record_id": image.record_id,
        "size": image.size,
        "lines": len(image.lines),
        "lowest_score": min((line.line.score for line in image.lines), default=None),
        "words_found": image.words_found,
        "words_in_vocabulary": image.words_in_vocabulary,
        "tags": [{"id": tag.id, "word": tag.word, "slots": tag.slots} for tag in image.tags],
        "foreign_slots": [asdict(foreign) for foreign in image.foreign_slots],
        "damage": list(image.damage),
        "picture": {"missing": picture.why} if isinstance(picture, NoImage) else {"bytes": len(picture.jpeg)},
    }
