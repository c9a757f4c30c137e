"""The report of ``ovocr verify``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import RELATIVE
from ovocr.labelgen.verification.finding import Finding

_NUMBERS_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """The findings and figures of a verification.

    command: that wrote the data set. shards: in its manifest. unfinished: numbers of shards without statistics.
    images, records, bytes: that were checked. notices: what was not checked, and why.
    findings: listed ones. beyond: number of the others. seconds: duration.
    """

    command: str
    shards: int
    unfinished: list[int]
    images: int
    records: int
    bytes: int
    notices: list[str]
    findings: list[Finding]
    beyond: int
    seconds: float
    quick: bool

    @property
    def broken(self) -> int:
        """Number of findings."""
        return len(self.findings) + self.beyond

    @property
    def mb_per_s(self) -> float:
        """Megabytes (10^6 bytes) checked per second."""
        return self.bytes / 1e6 / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the figures for ``--json``."""
        names = ("shards", "unfinished", "images", "records", "bytes", "quick", "notices", "broken")
        return {
            **{name: getattr(self, name) for name in names},
            "findings": [finding.to_json() for finding in self.findings],
            "mends": list(self._mends()),
            "seconds": round(self.seconds, 3),
            "mb_per_s": round(self.mb_per_s, 3),
        }

    def format(self) -> str:
        """Returns text for a person: a line for each finding, what to do about them, and figures."""
        lines = [finding.format() for finding in self.findings]
        if self.beyond:
            lines.append(f"and {self.beyond} more")
        lines += [f"to mend: {for_terminal(mend)}" for mend in self._mends()]
        lines += [for_terminal(notice) for notice in self.notices]
        if self.unfinished:
            lines.append(f"{len(self.unfinished)} shards are not finished: {_numbers(self.unfinished)}")
        return "\n".join([*lines, *self._figures()])

    def _figures(self) -> Iterator[str]:
        done = self.shards - len(self.unfinished)
        yield (
            f"{done} of {self.shards} shards{' (quick)' if self.quick else ''}: {self.images} images, "
            f"{self.records} records, {self.bytes} bytes in {self.seconds:.1f} s: {self.mb_per_s:.1f} MB/s"
        )
        if self.broken:
            broken = {finding.shard for finding in self.findings} - {None}
            yield f"{self.broken} promises are broken, in {len(broken)} shards"
        elif not self.unfinished:
            yield "sound: no promise is broken"

    def _mends(self) -> Iterator[str]:
        yield from dict.fromkeys(finding.mend for finding in self.findings if finding.mend)
        shards = sorted({finding.shard for finding in self.findings if finding.shard is not None})
        if shards:
            files = " ".join(str(RELATIVE.stats_path(number)) for number in shards)
            written = "the shard is" if len(shards) == 1 else "the shards are"
            yield f"remove {files} and run `ovocr {self.command}` again as before: {written} written again"


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NUMBERS_SHOWN]))
    return shown if len(numbers) <= _NUMBERS_SHOWN else f"{shown} ..."
