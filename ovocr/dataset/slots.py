"""What the label slots of a stored record hold: tags of its image and, where it is damaged, something else."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SHOWN = 8


@dataclass(frozen=True)
class ForeignSlots:
    """Slots that hold the same thing, which is none of the image's tags. holds: as it is written; it may be nan."""

    holds: str
    slots: list[int]


@dataclass(frozen=True)
class StoredSlots:
    """count: of the record's labels. of_tag: slots by class id; none of a tag that has none."""

    count: int
    of_tag: defaultdict[int, list[int]]
    foreign: list[ForeignSlots]

    @classmethod
    def of(cls, labels: npt.NDArray[np.float32], tags: Collection[int]) -> "StoredSlots":
        """labels: [slots], of a record, whatever they hold. tags: class ids of its image."""
        of_tag: defaultdict[int, list[int]] = defaultdict(list)
        foreign: defaultdict[str, list[int]] = defaultdict(list)
        for slot, label in enumerate(labels):
            if float(label).is_integer() and int(label) in tags:
                of_tag[int(label)].append(slot)
            else:
                foreign[str(label).removesuffix(".0")].append(slot)
        return cls(len(labels), of_tag, [ForeignSlots(holds, slots) for holds, slots in foreign.items()])

    def damage(self, promised: int) -> list[str]:
        """What is wrong, a few sentences for a person; none of a sound record. promised: slots of every record."""
        told = [_tell(foreign) for foreign in self.foreign[:_SHOWN]]
        if beyond := sum(len(foreign.slots) for foreign in self.foreign[_SHOWN:]):
            told.append(f"{beyond} more slots hold none of the image's tags")
        if self.count != promised:
            told.append(f"the record has {self.count} slots instead of {promised}; see `ovocr verify`")
        return told


def _tell(foreign: ForeignSlots) -> str:
    shown = ", ".join(map(str, foreign.slots[:_SHOWN])) + (" ..." if len(foreign.slots) > _SHOWN else "")
    subject = f"slot {shown} holds" if len(foreign.slots) == 1 else f"slots {shown} hold"
    return f"{subject} {foreign.holds}, which is none of the image's tags; see `ovocr verify`"
