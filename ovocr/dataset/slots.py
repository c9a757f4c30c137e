"""The content of a record's slots: tags of its image, or other values if the record is damaged."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SHOWN = 8


@dataclass(frozen=True)
class ForeignSlots:
    """Slots with the same value, which is not a tag of the image. holds: the value as text; it may be nan."""

    holds: str
    slots: list[int]


@dataclass(frozen=True)
class StoredSlots:
    """The slots of a record.

    count: number of slots. of_tag: maps class ids to slots. foreign: slots with other values.
    """

    count: int
    of_tag: defaultdict[int, list[int]]
    foreign: list[ForeignSlots]

    @classmethod
    def of(cls, labels: npt.NDArray[np.float32], tags: Collection[int]) -> "StoredSlots":
        """Groups the slots of a record by value. labels: float32 [slots]. tags: class ids of the image."""
        of_tag: defaultdict[int, list[int]] = defaultdict(list)
        foreign: defaultdict[str, list[int]] = defaultdict(list)
        for slot, label in enumerate(labels):
            if float(label).is_integer() and int(label) in tags:
                of_tag[int(label)].append(slot)
            else:
                foreign[str(label).removesuffix(".0")].append(slot)
        return cls(len(labels), of_tag, [ForeignSlots(holds, slots) for holds, slots in foreign.items()])

    def damage(self, expected: int) -> list[str]:
        """Returns a sentence for each problem. expected: number of slots of a valid record."""
        sentences = [_describe(foreign) for foreign in self.foreign[:_SHOWN]]
        if beyond := sum(len(foreign.slots) for foreign in self.foreign[_SHOWN:]):
            sentences.append(f"{beyond} more slots contain none of the image's tags")
        if self.count != expected:
            sentences.append(f"the record has {self.count} slots instead of {expected}; see `ovocr verify`")
        return sentences


def _describe(foreign: ForeignSlots) -> str:
    shown = ", ".join(map(str, foreign.slots[:_SHOWN])) + (" ..." if len(foreign.slots) > _SHOWN else "")
    subject = f"slot {shown} contains" if len(foreign.slots) == 1 else f"slots {shown} contain"
    return f"{subject} {foreign.holds}, which is not a tag of the image; see `ovocr verify`"
