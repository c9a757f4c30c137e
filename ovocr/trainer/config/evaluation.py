"""The section about evaluation during training, and the defaults that `ovocr eval` shares with it."""

from collections.abc import Iterator

from pydantic import Field

from ovocr.dataset.access.opening import location_parts
from ovocr.trainer.config.settings import PositiveFloat, SettingLocation, SettingPath, Settings, Share, wrong_order

MIN_TEXT_HEIGHT = 8.0
"""Default of the least text height in the headline, pixels: the letters of such a line are about 4 pixels high."""
REPLICATES = 1000
"""Default number of bootstrap replicates."""
MAX_REPLICATES = 10_000
"""Largest number of bootstrap replicates. They need up to 240 MB, and more would not change an interval visibly."""


class EvaluationConfig(Settings):
    """[evaluation]: evaluation on held-out data during training. These settings do not change what a step computes."""

    data: tuple[SettingLocation, ...] = Field(
        default=(),
        strict=False,
        description="Held-out data sets, also in object stores, and lists of videos; each head is evaluated on those "
        "that match it",
    )
    every: int = Field(
        default=0, ge=0, description="Steps between two evaluations, and one after the last step; 0: no evaluation"
    )
    images: int | None = Field(
        default=None, ge=1, description="Largest number of images of each data set, evenly spread; left out: all"
    )
    crops: int = Field(
        default=0, ge=0, description="Crops shown of each image, drawn by the settings of the head; 0: whole images"
    )
    crop_text_height: tuple[PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        strict=False,
        description="Crops chosen by their text for every head of kind ocr: smallest and largest height of the drawn "
        "word's line, in pixels of the input; left out: the settings of the head",
    )
    crop_context: tuple[Share, Share] = Field(
        default=(1.0, 1.0),
        strict=False,
        description="Smallest and largest share of the surroundings of the drawn word in crops of crop_text_height; 0: "
        "the word alone",
    )
    groups: SettingPath | None = Field(
        default=None,
        description="Table with the columns key and group, for intervals over groups of images; left out: over images",
    )
    min_text_height: float = Field(
        default=MIN_TEXT_HEIGHT,
        ge=0,
        description="Smallest height of the line of a tag that counts in the headline, in pixels of the input",
    )
    replicates: int = Field(
        default=REPLICATES, ge=2, le=MAX_REPLICATES, description="Bootstrap replicates of the 95% intervals"
    )

    def unused(self) -> dict[str, str]:
        """Returns crop_text_height if images are not cropped, and crop_context without crop_text_height."""
        unused = {} if self.crops else {"crop_text_height": "needs crops, the number of crops of each image"}
        return unused if self.crop_text_height else {**unused, "crop_context": "needs crop_text_height"}

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields an error if there are no data to evaluate, the same data twice, or data that are never evaluated.

        Also for ranges in the wrong order.
        """
        yield from wrong_order(crop_text_height=self.crop_text_height, crop_context=self.crop_context)
        if self.every and not self.data:
            yield "data", f"at least one held-out data set is needed, because every is {self.every}"
        parts = [location_parts(location) for location in self.data]
        for number, path in enumerate(self.data):
            if parts.index(parts[number]) < number:
                yield "data", f"{path}: given twice"
        if self.data and "every" not in self.model_fields_set:
            yield "every", "missing: data are given, but not how often to evaluate; a number of steps, or 0 for never"

    def names(self) -> list[str]:
        """Returns a name for each data set: the end of its path, of as many folders as make it unique."""
        parts = [location_parts(location) for location in self.data]
        names = []
        for own in parts:
            length = 1
            while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
                length += 1
            names.append("/".join(own[-length:]))
        return names
