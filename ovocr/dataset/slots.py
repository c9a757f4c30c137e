"""The content of a record's label slots: tags of its image, or other values if the record is damaged."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SHOWN = 8


@dataclass(frozen=True)
class ForeignSlots:
    """Slots with the same value, which is no tag of the image. holds: the value as text; it may be nan."""

    holds: str
    slots: list[int]


@dataclass(frozen=True)
class StoredSlots:
    """The slots of a record. count: all of them. of_tag: slots by class id. foreign: slots with other values."""

    count: int
    of_tag: defaultdict[int, list[int]]
    foreign: list[ForeignSlots]

    @classmethod
    def of(cls, labels: npt.NDArray[np.float32], tags: Collection[int]) -> "StoredSlots":
        """Sorts the slots of a record. labels: float32 [slots]. tags: class ids of the image."""
        of_tag: defaultdict[int, list[int]] = defaultdict(list)
        foreign: defaultdict[str, list[int]] = defaultdict(list)
        for slot, label in enumerate(labels):
            if float(label).is_integer() and int(label) in tags:
                of_tag[int(label)].append(slot)
            else:
                foreign[str(label).removesuffix(".0")].append(slot)
        return cls(len(labels), of_tag, [ForeignSlots(holds, slots) for holds, slots in foreign.items()])

    def damage(self, promised: int) -> list[str]:
        """Returns sentences that say what is wrong; empty for a sound record. promised: slots of every record."""
        sentences = [_describe(foreign) for foreign in self.foreign[:_SHOWN]]
        if beyond := sum(len(foreign.slots) for foreign in self.foreign[_SHOWN:]):
            sentences.append(f"{beyond} more slots hold none of the image's tags")
        if self.count != promised:
            sentences.append(f"the record has {self.count} slots instead of {promised}; see `ovocr verify`")
        return sentences


def _describe(foreign: ForeignSlots) -> str:
    shown = ", ".join(map(str, foreign.slots[:_SHOWN])) + (" ..." if len(foreign.slots) > _SHOWN else "")
    subject = f"slot {shown} holds" if len(foreign.slots) == 1 else f"slots {shown} hold"
    return f"{subject} {foreign.holds}, which is none of the image's tags; see `ovocr verify`"
