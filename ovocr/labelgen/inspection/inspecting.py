"""``ovocr inspect``: loads a sample of a data set's images with their labels."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from ovocr.base.errors import MissingExtraError, OvocrError, StoreError
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.images import InspectedImage, load_images
from ovocr.labelgen.inspection.legible_tags import LegibleTags, name_shards
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.page_images import NoImage
from ovocr.labelgen.inspection.selection import Selection, Selector
from ovocr.processes.termination import terminable


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A sample of a data set's images. legible: the tags of the shards by text height; None for a packed data set."""

    data_set: InspectedDataSet
    options: InspectOptions
    selection: Selection
    images: tuple[InspectedImage, ...]
    legible: LegibleTags | None

    def format(self) -> str:
        """Returns lines for the user: the size of the sample, and the tags of the data set by text height."""
        without = sum(isinstance(image.page_image, NoImage) for image in self.images)
        shards = len(self.selection.positions)
        of = f"{self.selection.matching} images, from {shards} shard{'s' if shards > 1 else ''}"
        lines = [f"{len(self.images)} of {of}"]
        lines += [f"  images that cannot be shown: {without}"] if without else []
        return "\n".join(lines + (self.legible.format() if self.legible else []))

    @property
    def left_out(self) -> list[str]:
        """A line for each shard that is left out of the sample or of the counted tags because it cannot be read."""
        uncounted = self.legible.left_out if self.legible else {}
        return name_shards(dict(sorted({**uncounted, **self.selection.left_out}.items())))

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``: counts of the data set, the selection, and a row for each image."""
        options = self.options
        return {
            "counts": self.data_set.counts,
            "legibility": self.legible and self.legible.to_json(),
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
                "left_out": name_shards(self.selection.left_out),
            },
            "images": [_row(image) for image in self.images],
        }


def inspect_labels(options: InspectOptions, progress: bool) -> Inspection:
    """Selects images of a data set and loads them with their labels, and counts the tags of the shards.

    progress: show a bar if stderr is a terminal. Raises OvocrError if there is no data set or no matching image, and
    MissingExtraError if the packages that decode images are not installed.
    """
    if any(find_spec(name) is None for name in ("cv2", "PIL")):
        raise MissingExtraError("inspect", "ocr")
    with terminable():
        return _inspect(InspectedDataSet.open(options.source), options, progress)


def _inspect(data_set: InspectedDataSet, options: InspectOptions, progress: bool) -> Inspection:
    selector = Selector(data_set, options, progress)
    loaded = _Loaded(data_set, options.side, progress)
    while True:
        selection = selector.choose()
        damaged = loaded.load(selection)
        if not damaged:
            return Inspection(
                data_set=data_set,
                options=options,
                selection=selection,
                images=tuple(loaded.images(selection)),
                legible=LegibleTags.count(data_set, progress),
            )
        for shard, error in damaged.items():
            selector.leave_out(shard, error)


class _Loaded:
    """Caches loaded images while images of other shards are selected to replace those of damaged shards."""

    def __init__(self, data_set: InspectedDataSet, side: int, progress: bool) -> None:
        self._data_set = data_set
        self._side = side
        self._progress = progress
        self._shards: dict[int, tuple[list[int], list[InspectedImage]]] = {}

    def load(self, selection: Selection) -> dict[int, OvocrError]:
        """Loads the selected images that are not loaded yet. Maps each unreadable shard to its error."""
        damaged: dict[int, OvocrError] = {}
        shown = self._progress and sys.stderr.isatty()
        with tqdm(total=selection.chosen, unit="img", disable=not shown) as bar:
            for shard, positions in selection.positions.items():
                if self._shards.get(shard, ([], []))[0] == positions:
                    bar.update(len(positions))
                    continue
                images = []
                try:
                    for image in load_images(self._data_set, shard, positions, self._side):
                        images.append(image)
                        bar.update()
                except StoreError:
                    raise
                except OvocrError as error:
                    damaged[shard] = error
                else:
                    self._shards[shard] = positions, images
        return damaged

    def images(self, selection: Selection) -> Iterator[InspectedImage]:
        """Yields the selected images, which must be loaded."""
        for shard in selection.positions:
            yield from self._shards[shard][1]


def _row(image: InspectedImage) -> dict[str, Any]:
    page_image = image.page_image
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
        "tags": [asdict(tag) for tag in image.tags],
        "foreign_slots": [asdict(foreign) for foreign in image.foreign_slots],
        "damage": list(image.damage),
        "picture": {"missing": page_image.why} if isinstance(page_image, NoImage) else {"bytes": len(page_image.jpeg)},
    }
