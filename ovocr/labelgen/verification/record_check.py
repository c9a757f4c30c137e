"""Checks a record: its labels, its image, its bytes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovocr.dataset.manifest import Manifest
from ovocr.dataset.reasons import QuarantinedError
from ovocr.dataset.records import RecordRow, named
from ovocr.labelgen.images.stored_image import stored_size
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.rec_check import StoredRecords
from ovocr.recordio import Record, RecordError
from ovocr.recordio.format import encode_record


class RecordCheck:
    """Checks the records of a shard, each with the row of its image."""

    def __init__(self, records: StoredRecords, manifest: Manifest, findings: Findings) -> None:
        self._records = records
        self._manifest = manifest
        self._findings = findings
        self._asked: set[int] = set()

    def __call__(self, row: RecordRow, slots: Sequence[int] | None, size: tuple[int, int] | None) -> None:
        """Adds a finding for everything that is wrong with the record of a row.

        slots: the labels that it should have; None if unknown. size: width and height of its image; None if unknown.
        """
        id = row.record_id
        if id is None or id in self._asked:  # the check of the row reports it
            return
        if id not in self._records.places:
            self._findings.add(self._records.path, "", f"with record {named(id, row.key)}", "without it")
            return
        self._asked.add(id)
        where = f"record {named(id, row.key)} at byte {self._records.places[id][0]}"
        try:
            record, data = self._records.read(id)
        except (RecordError, OSError) as error:
            self._findings.add(self._records.path, where, "readable", error)
            return
        ids = [tag.id for tag in row.tags]
        if self._check_labels(where, record.labels, slots, ids):
            self._check_bytes(where, record, data)
        self._check_image(where, record.image, size)

    def check_end(self) -> None:
        """Adds findings for records that no row has."""
        for id in sorted(set(self._records.places) - self._asked):
            where = f"record {id} at byte {self._records.places[id][0]}"
            self._findings.add(self._records.path, where, "of an image of records", "of none")

    def _check_labels(
        self, where: str, labels: npt.NDArray[np.float32], slots: Sequence[int] | None, ids: list[int]
    ) -> bool:
        """Returns True if the labels are class ids, one for each slot; their values may be findings."""
        tags, classes = self._manifest.policy.tags, self._manifest.num_classes
        if len(labels) != tags:
            self._add(where, f"with {tags} labels", f"with {len(labels)}")
            return False
        valid = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
        if not valid.all():
            place = int(np.argmin(valid))
            self._add(f"{where}, label {place}", f"a class id below {classes}", str(labels[place]))
            return False
        if slots is not None:
            differs = labels != np.asarray(slots, np.float32)
            promised = "{}, as the image's tags and the policy give it"
        else:
            differs, slots = ~np.isin(labels, ids), ids
            promised = "one of the image's tags"
        if differs.any():
            place = int(np.argmax(differs))
            wanted = promised.format(slots[place] if place < len(slots) else "")
            self._add(f"{where}, label {place}", wanted, f"{labels[place]:.0f}")
        return True

    def _check_bytes(self, where: str, record: Record, data: bytes) -> None:
        """Compares the bytes with those that the record writer writes, padding included."""
        written = b"".join(encode_record(record.id, record.labels, record.image))
        if written != data:
            place = next(
                (place for place, (a, b) in enumerate(zip(written, data, strict=False)) if a != b),
                min(len(written), len(data)),
            )
            self._add(f"{where}, byte {place} of it", "as the record writer writes it", "another")

    def _check_image(self, where: str, jpeg: bytes, promised: tuple[int, int] | None) -> None:
        try:
            width, height = stored_size(jpeg, self._manifest.max_pixels)
        except QuarantinedError as error:
            self._add(f"{where}, picture", "a stored picture", str(error))
            return
        if promised is not None and promised != (width, height):
            self._add(f"{where}, picture", "{}x{} pixels, as when it was read".format(*promised), f"{width}x{height}")

    def _add(self, where: str, promised: str, found: str) -> None:
        self._findings.add(self._records.path, where, promised, found)
