"""Reads words in images with a trained encoder: the class centers nearest to the embedding of an image or its tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ovocr.base.errors import OvocrError, StoreError, UsageError
from ovocr.base.object_store import connect, is_url
from ovocr.base.parallel_reads import in_parallel
from ovocr.base.store_folder import read_url
from ovocr.trainer.data.images import DecodedImage, decode, decode_for_views, encoded_size
from ovocr.trainer.data.thumbnails import small_jpeg
from ovocr.trainer.evaluation.reading.best_words import BestWords
from ovocr.trainer.evaluation.reading.image_words import FoundWord, Reading
from ovocr.trainer.evaluation.reading.tiles import Tiling, check_side
from ovocr.trainer.evaluation.sampling_correction import SamplingCorrection, sampling_correction
from ovocr.trainer.heads.ranking import nearest_centers
from ovocr.trainer.ranks.distributed import choose_device
from ovocr.trainer.training.model import TrainedRun
from ovocr.views.view import View, letterboxed_view, whole_view

_BATCH = 32  # tiles that are embedded and ranked at a time
_PAGE_SIDE = 900  # longest side of an image on a page, pixels


def read_words(
    run: Path,
    images: Sequence[Path | str],
    *,
    head: str | None = None,
    top_k: int = 10,
    device: str = "auto",
    step: int | Literal["best"] | None = None,
    correct_sampling: bool = False,
    tile: int | None = None,
    with_jpeg: bool = False,
) -> Iterator[Reading | OvocrError]:
    """Reads JPEG, PNG and WebP files with a checkpoint of a run; yields words or an error for each.

    images: paths, or URLs in an object store, from which several images are fetched ahead.
    head: name of the head; None selects the only head with a vocabulary. A head without a vocabulary answers class ids.
    step: number of steps of the checkpoint, or "best"; None selects the newest.
    correct_sampling: whether the words are ranked by corrected scores, see ``sampling_correction``.
    tile: side of the tiles that each image is read in, in pixels of the image; None shows each image whole. The score
        of a word is the one of the tile in which it is highest.
    with_jpeg: whether each reading contains the image for a page.

    Raises OvocrError if the run cannot be read or has no counts for the correction, UsageError for an unknown head or
    too small tiles, StoreError if a store fails, and MissingExtraError if the packages for it are not installed.
    """
    if tile is not None:
        check_side(tile)
    for url in filter(is_url, map(str, images)):
        connect(url)  # before the run is loaded
    trained = TrainedRun.load(run, choose_device(device), step)
    name = head or _head_with_words(trained)
    if name not in trained.config.heads:
        raise UsageError(f"--head: {name!r} is not a head of this run; it has {', '.join(trained.config.heads)}")
    correction = sampling_correction(trained, name) if correct_sampling else SamplingCorrection(None)
    reader = _Reader(trained, name, top_k, correction, tile)
    for image, encoded in zip(images, in_parallel(_fetch, images), strict=True):
        try:
            yield reader.read(image, encoded, with_jpeg)
        except OvocrError as error:
            yield error


def _fetch(image: Path | str) -> bytes | OvocrError | None:
    """Returns an image of a store, or the error if there is none; None for a path. Raises StoreError."""
    if not is_url(str(image)):
        return None  # read when it is needed: several large images would fill the memory
    try:
        return read_url(str(image))
    except FileNotFoundError:
        return UsageError(f"{image}: cannot be read: no such file")
    except StoreError as error:
        if isinstance(error.__cause__, PermissionError):
            return error
        raise


@dataclass(frozen=True)
class _Reader:
    """Reads images with one head."""

    trained: TrainedRun
    head: str
    top_k: int
    correction: SamplingCorrection
    tile: int | None

    def read(self, image: Path | str, encoded: bytes | OvocrError | None, with_jpeg: bool) -> Reading:
        """Returns the words of an image. encoded: see ``_fetch``. Raises OvocrError with its path or URL."""
        if isinstance(encoded, OvocrError):
            raise encoded
        if encoded is None:
            try:
                encoded = Path(image).read_bytes()
            except OSError as error:
                raise UsageError(f"{image}: cannot be read: {error.strerror}") from error
        try:
            words, tiling = self._read(encoded)
            jpeg = small_jpeg(decode(encoded, at_least=_PAGE_SIDE), _PAGE_SIDE) if with_jpeg else None
        except OvocrError as error:
            raise type(error)(f"{image}: {error}") from error
        return Reading(image, words, tiling, jpeg)

    def _read(self, encoded: bytes) -> tuple[list[FoundWord], Tiling | None]:
        config = self.trained.config
        size = config.heads[self.head].image_size or config.backbone.image_size
        width, height = encoded_size(encoded)
        if self.tile is None:
            decoded = decode_for_views(encoded, size / max(width, height))
            views = [whole_view(decoded.width, decoded.height, size)]
            return self._words(decoded, views, size), None
        Tiling(width, height, self.tile).check()
        # All tiles of an image have one size, so they have one scale.
        decoded = decode_for_views(encoded, size / min(self.tile, max(width, height)))
        tiling = Tiling(decoded.width, decoded.height, self.tile)
        tiles = tiling.tiles()
        words = self._words(decoded, [letterboxed_view(tile, size) for tile in tiles], size)
        return words, tiling

    def _words(self, decoded: DecodedImage, views: list[View], size: int) -> list[FoundWord]:
        """Returns the best words of all views, best first."""
        weight_CD = self.trained.model.heads[self.head].weight
        best = BestWords(self.top_k)
        for first in range(0, len(views), _BATCH):
            pixels = np.stack([decoded.show(view, size) for view in views[first : first + _BATCH]])
            embeddings_BD = self.trained.embed(self.head, torch.from_numpy(pixels))
            scores_BK, classes_BK = nearest_centers(embeddings_BD, weight_CD, self.top_k, self.correction.added_C)
            best.add(scores_BK.cpu().numpy(), classes_BK.cpu().numpy())
        vocabulary = self.trained.vocabularies.get(self.head)
        names = [vocabulary.word(c) if vocabulary is not None else f"class {c}" for c in best.classes.tolist()]
        tiles = [None if views[tile].is_whole else views[tile].crop for tile in best.tiles.tolist()]
        return [FoundWord(*found) for found in zip(names, best.scores.tolist(), tiles, strict=True)]


def _head_with_words(trained: TrainedRun) -> str:
    """Returns the default head. Raises UsageError if there are several candidates."""
    heads = list(trained.vocabularies) or list(trained.config.heads)
    if len(heads) > 1:
        raise UsageError(f"--head: the run has several heads; choose one of {', '.join(heads)}")
    return heads[0]
