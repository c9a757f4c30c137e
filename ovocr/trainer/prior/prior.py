"""The prior of a head: the frequencies of its classes in the training data, and which images these data have."""

import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.base.files import written_aside
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.prior.image_sketch import ImageSketch, Overlap
from ovocr.trainer.ranks.distributed import Ranks

# A line announces the counting of at least this number of images, because it takes seconds.
_MANY_IMAGES = 1_000_000
# Of an array: there are at most 2**24 classes.
_MOST_BYTES = 2**27 + 2**12
# What numpy and zipfile raise for damaged files. A header may claim an array of any size.
_DAMAGE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, ArithmeticError, MemoryError),
    *(RuntimeError, struct.error, zlib.error, zipfile.BadZipFile),
)


@dataclass(frozen=True)
class Prior:
    """What a run keeps of the training data of a head.

    class_counts: number of training images (or videos) with each class, int64 [classes]. images: number of training
    images. sketch: which images they are.
    """

    class_counts: NDArray[np.int64]
    images: int
    sketch: ImageSketch

    @classmethod
    def count(cls, samples: Samples, num_classes: int, ranks: Ranks, device: torch.device) -> "Prior":
        """Counts the training data; the ranks share the work, and every rank gets all of the result.

        device: the device on which the ranks communicate. Raises OvocrError if a table of the data cannot be read.
        """
        own = samples.class_counts(ranks.rank, ranks.world)[:num_classes]
        counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        counts[: len(own)] = torch.from_numpy(own).to(device)
        sketch = ImageSketch.of_parts(samples.image_hashes(ranks.rank, ranks.world))
        return cls(ranks.sum(counts).cpu().numpy(), len(samples), _gather(sketch, ranks, device))

    def save(self, path: Path) -> None:
        """Writes the file atomically. Raises OSError."""
        with written_aside(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                class_counts=self.class_counts,
                images=np.int64(self.images),
                hashes=self.sketch.hashes,
                last=np.uint64(self.sketch.last),
            )

    @classmethod
    def load(cls, path: Path) -> "Prior | None":
        """Reads the file; None if there is none. Raises OvocrError if it is damaged."""
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if any(member.file_size > _MOST_BYTES for member in arrays.zip.infolist()):
                    raise ValueError(f"it has an array of more than {_MOST_BYTES} bytes")
                counts, hashes = (arrays[name] for name in ("class_counts", "hashes"))
                images, last = (int(arrays[name]) for name in ("images", "last"))
            if (counts.dtype, hashes.dtype, counts.ndim, hashes.ndim) != (np.int64, np.uint64, 1, 1):
                raise ValueError("it has arrays of other types")
        except _DAMAGE as error:
            text = str(error.args[0] if isinstance(error, KeyError) else error)
            reason = (text.splitlines() or [type(error).__name__])[0]
            raise OvocrError(
                f"{path}: cannot be read: {reason}; remove it, and it is counted again from the training data"
            ) from error
        return cls(counts, images, ImageSketch(hashes, last))

    def is_of(self, images: int | None, num_classes: int) -> bool:
        """Whether it has been counted on this number of images, if that is known, and of classes."""
        return len(self.class_counts) == num_classes and images in (None, self.images)


def keep_prior(
    path: Path,
    samples: Samples,
    num_classes: int,
    ranks: Ranks,
    device: torch.device,
    known: Prior | None = None,
) -> Prior:
    """Returns the prior in a file, or counts it and writes the file; every rank calls this and gets the same.

    path: the file, which is counted again if it is of another number of images or classes.
    known: the prior of the same data and classes, if another head has counted it.
    Others: see ``Prior.count``. Raises OvocrError if the file or the data cannot be read, OSError if it cannot be
    written.
    """
    kept = Prior.load(path) if ranks.rank == 0 else None
    is_kept = kept is not None and kept.is_of(len(samples), num_classes)
    if ranks.from_first_rank(int(is_kept), device):
        return _from_first_rank(kept, num_classes, ranks, device)
    if known is None and ranks.rank == 0 and len(samples) >= _MANY_IMAGES:
        what = f"counting the classes of {len(samples):,} training images, which is done once"
        print(f"ovocr: {path}: {what}", file=sys.stderr, flush=True)
    prior = known or Prior.count(samples, num_classes, ranks, device)
    if ranks.rank == 0:
        prior.save(path)
    return prior


def say_trained_on(where: str, head: str, overlap: Overlap) -> None:
    """Tells the user that a head is evaluated on images that it was trained on. where: the option and the data."""
    print(
        f"ovocr: {where}: head {head} is trained on {overlap.describe()}, so the figures do not show how well it reads "
        "new images",
        file=sys.stderr,
        flush=True,
    )


def _from_first_rank(prior: Prior | None, num_classes: int, ranks: Ranks, device: torch.device) -> Prior:
    """Returns the first rank's prior on every rank. prior: None on the others."""
    own = prior or Prior(np.zeros(num_classes, np.int64), 0, ImageSketch(np.zeros(0, np.uint64), 0))
    counts = ranks.sum(torch.from_numpy(own.class_counts).to(device)).cpu().numpy()
    images = ranks.from_first_rank(own.images, device)
    last = ranks.gather_numbers([_signed(own.sketch.last)], device)[0][0]
    hashes = ranks.gather_on_cpu(torch.from_numpy(own.sketch.hashes.view(np.int64)), device)
    return Prior(counts, images, ImageSketch(hashes.numpy().view(np.uint64), _unsigned(last)))


def _gather(sketch: ImageSketch, ranks: Ranks, device: torch.device) -> ImageSketch:
    """Returns the sketch of the images of all ranks."""
    if ranks.world == 1:
        return sketch
    last = min(_unsigned(number) for (number,) in ranks.gather_numbers([_signed(sketch.last)], device))
    hashes = ranks.gather_on_cpu(torch.from_numpy(sketch.hashes.view(np.int64)), device)
    return ImageSketch.of(hashes.numpy().view(np.uint64), last)


def _signed(number: int) -> int:
    """Returns an unsigned 64-bit number as a signed one, which ranks can send."""
    return number - 2**64 if number >= 2**63 else number


def _unsigned(number: int) -> int:
    return number % 2**64
