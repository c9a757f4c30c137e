"""The report of ``ovocr verify``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.dataset.layout import RELATIVE
from ovocr.labelgen.verification.finding import Finding

_NUMBERS_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """The findings and figures of a verification.

    command: name of the command that wrote the data set. shards: number of shards in the manifest.
    unfinished: numbers of the shards without statistics. images, records, bytes: how many were checked.
    notices: sentences about checks that were left out. findings: listed findings. beyond: number of other findings.
    seconds: duration.
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
            "fixes": list(self._fixes()),
            "seconds": round(self.seconds, 3),
            "mb_per_s": round(self.mb_per_s, 3),
        }

    def format(self) -> str:
        """Returns text for the user: a line per finding, instructions, and figures."""
        lines = [finding.format() for finding in self.findings]
        if self.beyond:
            lines.append(f"and {self.beyond} more")
        lines += [f"to fix: {for_terminal(fix)}" for fix in self._fixes()]
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
            damaged = {finding.shard for finding in self.findings} - {None}
            yield f"{counted(self.broken, 'problem')} found, in {counted(len(damaged), 'shard')}"
        elif not self.unfinished:
            yield "no problem found"

    def _fixes(self) -> Iterator[str]:
        yield from dict.fromkeys(finding.fix for finding in self.findings if finding.fix)
        shards = sorted({finding.shard for finding in self.findings if finding.shard is not None})
        if shards:
            files = " ".join(str(RELATIVE.stats_path(number)) for number in shards)
            rebuilt = "the shard is" if len(shards) == 1 else "the shards are"
            yield f"remove {files} and repeat `ovocr {self.command}` with the same options: {rebuilt} rebuilt"


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NUMBERS_SHOWN]))
    return shown if len(numbers) <= _NUMBERS_SHOWN else f"{shown} ..."
