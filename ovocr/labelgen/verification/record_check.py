"""Checks the labels, the image and the bytes of a record."""

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
    """Checks the records of a shard against the rows of their images."""

    def __init__(self, records: StoredRecords, manifest: Manifest, findings: Findings) -> None:
        self._records = records
        self._manifest = manifest
        self._findings = findings
        self._checked: set[int] = set()

    def __call__(self, row: RecordRow, slots: Sequence[int] | None, size: tuple[int, int] | None) -> None:
        """Adds a finding for each problem with the record of a row.

        slots: expected labels; None if unknown. size: expected width and height of the image; None if unknown.
        """
        id = row.record_id
        if id is None or id in self._checked:  # the check of the row reports it
            return
        if id not in self._records.spans:
            self._findings.add(self._records.path, "", f"record {named(id, row.key)}", "no such record")
            return
        self._checked.add(id)
        where = f"record {named(id, row.key)} at byte {self._records.spans[id][0]}"
        try:
            record, data = self._records.read(id)
        except (RecordError, OSError) as error:
            self._findings.add(self._records.path, where, "a readable record", error)
            return
        if self._check_labels(where, record.labels, slots, row.tags):
            self._check_bytes(where, record, data)
        self._check_image(where, record.image, size)

    def check_end(self) -> None:
        """Adds a finding for each record that has no row."""
        for id in sorted(set(self._records.spans) - self._checked):
            where = f"record {id} at byte {self._records.spans[id][0]}"
            self._findings.add(self._records.path, where, "a record with a row in records", "no such row")

    def _check_labels(
        self, where: str, labels: npt.NDArray[np.float32], slots: Sequence[int] | None, tags: list[int]
    ) -> bool:
        """Returns True if the labels are class ids, one for each slot. Adds findings, including for wrong class ids.

        slots: expected labels; None if unknown. tags: the image's tags.
        """
        count, classes = self._manifest.policy.tags, self._manifest.num_classes
        if len(labels) != count:
            self._add(where, f"{count} labels", str(len(labels)))
            return False
        valid = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
        if not valid.all():
            slot = int(np.argmin(valid))
            self._add(f"{where}, label {slot}", f"a class id below {classes}", str(labels[slot]))
            return False
        if slots is not None:
            differs = labels != np.asarray(slots, np.float32)
            expected = "{} (from the image's tags and the policy)"
        else:
            differs, slots = ~np.isin(labels, tags), tags
            expected = "one of the image's tags"
        if differs.any():
            slot = int(np.argmax(differs))
            wanted = expected.format(slots[slot] if slot < len(slots) else "")
            self._add(f"{where}, label {slot}", wanted, f"{labels[slot]:.0f}")
        return True

    def _check_bytes(self, where: str, record: Record, data: bytes) -> None:
        """Compares the bytes with the output of the record writer, including padding."""
        written = b"".join(encode_record(record.id, record.labels, record.image))
        if written != data:
            offset = next(
                (offset for offset, (a, b) in enumerate(zip(written, data, strict=False)) if a != b),
                min(len(written), len(data)),
            )
            self._add(f"{where}, byte {offset} of it", "the byte that the record writer writes", "a different byte")

    def _check_image(self, where: str, jpeg: bytes, expected: tuple[int, int] | None) -> None:
        try:
            width, height = stored_size(jpeg, self._manifest.max_pixels)
        except QuarantinedError as error:
            self._add(f"{where}, image", "a stored image", str(error))
            return
        if expected is not None and expected != (width, height):
            self._add(f"{where}, image", "{}x{} pixels (from its text)".format(*expected), f"{width}x{height}")

    def _add(self, where: str, expected: str, found: str) -> None:
        self._findings.add(self._records.path, where, expected, found)
