"""``ovocr inspect``: a labelled data set in, a sample of its images with their labels out."""

import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from ovocr.errors import MissingExtraError
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.images import InspectedImage, load_images
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.pictures import NoPicture
from ovocr.labelgen.inspection.selection import Selection, select


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The sample and the data set that it is of."""

    data_set: InspectedDataSet
    options: InspectOptions
    selection: Selection
    images: tuple[InspectedImage, ...]

    def format(self) -> str:
        """For a person, a line or two."""
        without = sum(isinstance(image.picture, NoPicture) for image in self.images)
        shards = len(self.selection.places)
        of = f"{self.selection.matching} images, from {shards} shard{'s' if shards > 1 else ''}"
        lines = [f"{len(self.images)} of {of}"]
        return "\n".join(lines + ([f"  without their picture: {without}"] if without else []))

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: counts of the data set, how the sample was chosen, a row an image, without pictures."""
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
            },
            "images": [_row(image) for image in self.images],
        }


def inspect_labels(options: InspectOptions, progress: bool) -> Inspection:
    """Choose images of a data set and load what is known of them, pictures included.

    progress: whether a terminal's stderr shows a bar. Raises OvocrError where there is no data set, or no image as the
    options say; MissingExtraError where the packages that decode pictures are not installed.
    """
    if any(find_spec(name) is None for name in ("cv2", "PIL")):
        raise MissingExtraError("inspect", "ocr")
    data_set = InspectedDataSet.open(options.source)
    selection = select(data_set, options, progress)
    images = []
    with tqdm(total=selection.chosen, unit="img", disable=not (progress and sys.stderr.isatty())) as bar:
        for shard, places in selection.places.items():
            for image in load_images(data_set, shard, places, options.side):
                images.append(image)
                bar.update()
    return Inspection(data_set=data_set, options=options, selection=selection, images=tuple(images))


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
        "picture": {"missing": picture.why} if isinstance(picture, NoPicture) else {"bytes": len(picture.jpeg)},
    }
