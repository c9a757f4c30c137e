"""``ovocr verify``: checks a labelled data set."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.dataset.access.opening import open_data_set
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.dataset.text import TextShard
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.worker_count import worker_count
from ovocr.labelgen.sources import InputShard
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.folder_check import check_folders
from ovocr.labelgen.verification.plan import Plan
from ovocr.labelgen.verification.report import VerificationReport
from ovocr.labelgen.verification.shard_check import ShardReport, ShardToCheck, check_shard
from ovocr.labelgen.verification.words_check import check_words, installed_rules_difference, vocabulary_rules_difference
from ovocr.processes.shard_map import map_shards
from ovocr.processes.termination import terminable

# Minimum number of images per process, because a process takes about two seconds to start.
CHECKED_AT_LEAST = 300
QUICKLY_CHECKED_AT_LEAST = 20_000
_FIX = "restore the manifest.json that the data set was written with"


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Options of ``verify``. Raises UsageError that names the option if a value is not allowed.

    root: folder or URL of the data set. quick: check only hashes, counts and indexes.
    workers: number of processes; None for one per core.
    """

    root: Path | str
    quick: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}: must be at least 1")


def verify(options: VerifyOptions, progress: bool) -> VerificationReport:
    """Checks a data set without changing it. progress: show a bar on stderr.

    Raises OvocrError if the folder is not a data set, or if Ctrl-C or SIGTERM interrupts the checks.
    """
    start = time.monotonic()
    with _stoppable():
        # Nothing of an earlier copy may hide damage in a store.
        data_set = open_data_set(options.root, afresh=True)
        if not options.quick and find_spec("PIL") is None:
            raise MissingExtraError("verify without --quick", "ocr")
        findings = Findings(data_set)
        manifest = _read_manifest(data_set, findings)
        if manifest is None:
            notice = "nothing else was checked, because manifest.json is not valid"
            return _report(options, None, [], findings, [notice], [], time.monotonic() - start)
        check_folders(data_set, len(manifest.shards), manifest.has_text, findings)
        finished = data_set.finished_shards(len(manifest.shards))
        plan, notices = _plan(options, data_set, manifest, findings)
        reports = _check_shards(options, plan, data_set, manifest, finished, progress)
        return _report(options, manifest, finished, findings, notices, reports, time.monotonic() - start)


def _read_manifest(data_set: LabelledDataSet, findings: Findings) -> Manifest | None:
    """Returns the manifest. If it is not valid, adds a finding for each problem and returns None."""
    data = findings.read_object(data_set.manifest_path, fix=_FIX)
    if data is None:
        return None
    manifest, problems = Manifest.parse(data)
    for problem in problems:
        findings.add_problem(data_set.manifest_path, problem, fix=_FIX)
    return None if problems else manifest


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        raise OvocrError("interrupted; the data set was checked only in part") from None


def _plan(
    options: VerifyOptions, data_set: LabelledDataSet, manifest: Manifest, findings: Findings
) -> tuple[Plan, list[str]]:
    words = check_words(data_set, manifest, findings)
    notices = []
    same_rules = True
    if not words:
        notices.append(
            "words and tags were not compared with the text, because the vocabulary does not match the manifest"
        )
    elif manifest.has_text and (difference := vocabulary_rules_difference(data_set)):
        notices.append(f"vocabulary and lines were segmented with different rules: {difference}")
    if words and manifest.has_text and not options.quick:
        try:
            difference = installed_rules_difference(data_set)
        except OvocrError as error:
            difference = data_set.shown(str(error))
        if difference:
            same_rules = False
            notices.append(
                "words and tags were not compared with the text, which was segmented with different rules: "
                f"{difference}"
            )
    kept = replace(manifest, shards=())
    plan = Plan(manifest=kept, words_root=data_set.root, quick=options.quick, words=words, same_rules=same_rules)
    return plan, notices


def _check_shards(
    options: VerifyOptions,
    plan: Plan,
    data_set: LabelledDataSet,
    manifest: Manifest,
    finished: list[int],
    progress: bool,
) -> list[ShardReport]:
    shards = [
        ShardToCheck(TextShard(data_set.root, number, url=data_set.url), manifest.shards[number]) for number in finished
    ]
    inputs = [_input(data_set, manifest, number) for number in finished]
    at_least = QUICKLY_CHECKED_AT_LEAST if options.quick else CHECKED_AT_LEAST
    images = sum(shard.images or 0 for shard in inputs)
    workers = max(1, min(worker_count(options.workers), images // at_least))
    with Progress(inputs, progress) as bar:
        results = map_shards(partial(check_shard, plan), shards, workers=workers)
        return list(bar.track(results, lambda report: report.images))


def _input(data_set: LabelledDataSet, manifest: Manifest, number: int) -> InputShard:
    """Returns the input shard with its number of images, for the progress bar."""
    try:
        images = data_set.counts(number).input
    except OvocrError:
        images = 0
    entry = manifest.shards[number]
    return InputShard(source=entry.source, kind=entry.kind, images=images)


def _report(
    options: VerifyOptions,
    manifest: Manifest | None,
    finished: list[int],
    findings: Findings,
    notices: list[str],
    reports: list[ShardReport],
    seconds: float,
) -> VerificationReport:
    shards = len(manifest.shards) if manifest is not None else 0
    return VerificationReport(
        command=manifest.command if manifest is not None else "",
        shards=shards,
        unfinished=sorted(set(range(shards)) - set(finished)),
        images=sum(report.images for report in reports),
        records=sum(report.records for report in reports),
        bytes=sum(report.bytes for report in reports),
        notices=notices,
        findings=[*findings.listed, *(finding for report in reports for finding in report.findings)],
        beyond=findings.beyond + sum(report.beyond for report in reports),
        seconds=seconds,
        quick=options.quick,
    )
