"""What a run does with its images, in worker processes of this machine or of others."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

from ovocr.base.errors import MissingExtraError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.engines.interface import EngineChoice, EnginePlan
from ovocr.labelgen.label_tables import LabelTable
from ovocr.labelgen.options import MAX_CLASSES, BuildOptions, PackOptions
from ovocr.labelgen.shards.manifest import describe_pack, text_versions
from ovocr.labelgen.sources import Found
from ovocr.labelgen.workers.factories import LabellerSettings, PackerSettings
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.pool import Job, WorkerPool
from ovocr.vocab.segmentation.word_costs import prepare_word_costs

# A picture takes a packing worker milliseconds; sent one by one, workers would often wait for the next.
IMAGES_AT_ONCE = 8

_NO_LABELS = Outcome(status=Status.DROPPED, reason=Reason.NO_LABELS)


class Work(Protocol):
    """The work of one run. Every machine that takes part makes its own from the options.

    with_text: whether pictures are read. gpus: how many of this machine it uses. workers: how many workers are of use,
    where that is not one for each core.
    """

    with_text: bool

    @property
    def gpus(self) -> int:
        """See above."""

    @property
    def workers(self) -> int | None:
        """See above."""

    def elsewhere(self) -> Callable[[], "Work"]:
        """Makes the same work on another machine, as far as that can; can be pickled."""

    def describe(self) -> dict[str, Any]:
        """What of this machine the shards' bytes depend on: parts of the manifest."""

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """A pool whose workers give an Outcome for each job of ``prepare``. data_set: as it is made on this machine."""

    def prepare(self, image: Found) -> Job | Outcome:
        """The job that gives the image's outcome, or the outcome where that is known without one."""


@dataclass(frozen=True)
class LabelWork:
    """Reading pictures and giving them tags, for ``build-labels``."""

    options: BuildOptions
    engine: EnginePlan
    with_text = True

    @classmethod
    def plan(cls, options: BuildOptions) -> "LabelWork":
        """Look for the engine on this machine. Raises UsageError where it is not there."""
        return cls(options, engine_choice(options).plan())

    @property
    def gpus(self) -> int:
        """How many the engine can use."""
        return self.engine.gpus

    @property
    def workers(self) -> int | None:
        """As the engine says."""
        return self.engine.workers

    def elsewhere(self) -> Callable[[], Work]:
        """Plan it there: models and packages may lie in other places."""
        return partial(LabelWork.plan, self.options)

    def describe(self) -> dict[str, Any]:
        """The engine and the versions of what decides which words a picture has."""
        return {"engine": self.engine.describe(), "versions": text_versions()}

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """Workers with an engine each; the vocabulary has to be in the data set by the first job."""
        prepare_word_costs()
        settings = LabellerSettings(
            engine=self.engine,
            data_set=data_set,
            policy=self.options.tag_policy,
            max_pixels=self.options.max_pixels,
        )
        return WorkerPool(
            settings,
            workers=count,
            job_timeout_s=self.options.image_timeout_s,
            batch_size=self.engine.images_at_once,
            limits=limits,
        )

    def prepare(self, image: Found) -> Job:
        """Every image is read."""
        return Job((image.key, image.data), len(image.data))


def engine_choice(options: BuildOptions) -> EngineChoice:
    """The engine as the options name it."""
    return EngineChoice(options.engine, options.model_dir, options.det_model, options.rec_model, options.precision)


@dataclass(frozen=True)
class PackWork:
    """Storing pictures with the class ids that a table has for them, for ``pack-labels``."""

    options: PackOptions
    table: LabelTable
    with_text = False
    gpus = 0
    workers = None

    @classmethod
    def plan(cls, options: PackOptions) -> "PackWork":
        """Load the table. Raises OvocrError where it cannot be, MissingExtraError without picture decoders."""
        require_decoders()
        table = LabelTable.load(
            options.labels,
            key_column=options.key_column,
            label_columns=options.label_columns,
            num_classes=options.num_classes,
            limit=MAX_CLASSES,
        )
        return cls(options, table)

    def elsewhere(self) -> Callable[[], Work]:
        """Load the table there."""
        return partial(PackWork.plan, self.options)

    def describe(self) -> dict[str, Any]:
        """The table and the versions of what decides which bytes are stored of a picture."""
        manifest = describe_pack(self.options, [], self.table)
        return {name: part for name, part in manifest.to_json().items() if name != "shards"}

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """Workers that decode and store."""
        return WorkerPool(
            PackerSettings(tags=self.options.tags, max_pixels=self.options.max_pixels),
            workers=count,
            job_timeout_s=self.options.image_timeout_s,
            batch_size=IMAGES_AT_ONCE,
            limits=limits,
        )

    def prepare(self, image: Found) -> Job | Outcome:
        """An image without a label need not be decoded."""
        ids = self.table.ids(image.key)
        return Job((ids, image.data), len(image.data)) if ids else _NO_LABELS


def require_decoders() -> None:
    """Raises MissingExtraError where what stores pictures is not installed."""
    if any(find_spec(name) is None for name in ("cv2", "PIL")):
        raise MissingExtraError("pack-labels", "ocr")
