"""The tasks of a run: label images with the text that an engine reads or a table gives, or pack them with class ids."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

from ovocr.base.errors import MissingExtraError, UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import GIVEN
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.engines.interface import EngineChoice, EnginePlan
from ovocr.labelgen.options import MAX_CLASSES, BuildOptions, PackOptions
from ovocr.labelgen.shards.manifest import describe_pack, text_versions
from ovocr.labelgen.sources import Found
from ovocr.labelgen.tables import LabelTable, LineTable
from ovocr.labelgen.workers.factories import GivenTextFactory, LabellerFactory, PackerFactory
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.pool import Job, WorkerPool
from ovocr.vocab.segmentation.word_costs import prepare_word_costs

# Without OCR, an image takes milliseconds. Workers that get one image at a time would often wait for the next.
IMAGES_AT_ONCE = 8

_NO_LABELS = Outcome(status=Status.DROPPED, reason=Reason.NO_LABELS)


class Task(Protocol):
    """The work of a run on each image. Every machine of the run plans the task itself, from the options.

    with_text: True if images are read.
    """

    with_text: bool

    @property
    def gpus(self) -> int:
        """Number of GPUs that the task uses on this machine."""

    @property
    def useful_workers(self) -> int | None:
        """Number of workers that are useful, or None for one per core."""

    def planner(self) -> Callable[[], "Task"]:
        """Returns a picklable function that plans the same task on another machine."""

    def describe(self) -> dict[str, Any]:
        """Returns the parts of the manifest that depend on this machine."""

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """Returns a pool whose workers return an Outcome for each job of ``prepare``. data_set: on this disk."""

    def prepare(self, image: Found) -> Job | Outcome:
        """Returns the job for an image, or its outcome if it is known without a worker."""


@dataclass(frozen=True)
class LabelTask:
    """Reads images and gives them tags, for ``build-labels``."""

    options: BuildOptions
    engine: EnginePlan
    with_text = True

    @classmethod
    def plan(cls, options: BuildOptions) -> "LabelTask":
        """Finds the engine on this machine. Raises UsageError if it is missing."""
        return cls(options, engine_choice(options).plan())

    @property
    def gpus(self) -> int:
        """Number of GPUs that the engine uses."""
        return self.engine.gpus

    @property
    def useful_workers(self) -> int | None:
        """Number of workers that are useful for the engine, or None for one per core."""
        return self.engine.workers

    def planner(self) -> Callable[[], Task]:
        """Returns a planner that uses the options, because models and packages may be in different folders."""
        return partial(LabelTask.plan, self.options)

    @property
    def notice(self) -> str | None:
        """A line for the user about the engine, or None."""
        return self.engine.notice

    def describe_engine(self) -> dict[str, Any]:
        """Returns the engine's part of the manifest."""
        return self.engine.describe()

    def describe(self) -> dict[str, Any]:
        """Returns the engine and the versions of the packages that find words."""
        return {"engine": self.describe_engine(), "versions": text_versions()}

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """Starts workers with an engine each. The vocabulary must be in the data set before the first job."""
        prepare_word_costs()
        factory = LabellerFactory(
            engine=self.engine,
            data_set=data_set,
            policy=self.options.tag_policy,
            max_pixels=self.options.max_pixels,
        )
        return WorkerPool(
            factory,
            workers=count,
            job_timeout_s=self.options.image_timeout_s,
            batch_size=self.engine.images_at_once,
            limits=limits,
        )

    def prepare(self, image: Found) -> Job:
        """Returns a job: every image is read."""
        return Job((image.key, image.data), len(image.data))


def engine_choice(options: BuildOptions) -> EngineChoice:
    """Returns the engine that the options name."""
    return EngineChoice(options.engine, options.model_dir, options.det_model, options.rec_model, options.precision)


@dataclass(frozen=True)
class GivenTextTask:
    """Gives images tags from the lines of a table, for ``build-labels --lines``."""

    options: BuildOptions
    table: LineTable
    with_text = True
    gpus = 0
    useful_workers = None
    notice = None

    @classmethod
    def plan(cls, options: BuildOptions) -> "GivenTextTask":
        """Loads the table. Raises OvocrError if it cannot be read, MissingExtraError if decoders are missing.

        Raises UsageError if the tag policy needs scores and the table has none.
        """
        assert options.lines is not None
        require_decoders("build-labels --lines")
        table = LineTable.load(options.lines, key_column=options.key_column)
        if options.min_score > 0 and not table.has_scores:
            raise UsageError(
                f"--min-score {options.min_score:g}: has no effect, because no line of {options.lines} has a score "
                "below 1; leave it out, or give the lines scores"
            )
        return cls(options, table)

    def planner(self) -> Callable[[], Task]:
        """Returns a planner that loads the table on its own machine."""
        return partial(GivenTextTask.plan, self.options)

    def describe_engine(self) -> dict[str, Any]:
        """Returns what the manifest says in place of an engine."""
        return {"name": GIVEN, "lines": self.table.describe()}

    def describe(self) -> dict[str, Any]:
        """Returns the table and the versions of the packages that find words."""
        return {"engine": self.describe_engine(), "versions": text_versions()}

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """Starts workers without an engine. The vocabulary must be in the data set before the first job."""
        prepare_word_costs()
        return WorkerPool(
            GivenTextFactory(data_set=data_set, policy=self.options.tag_policy, max_pixels=self.options.max_pixels),
            workers=count,
            job_timeout_s=self.options.image_timeout_s,
            batch_size=IMAGES_AT_ONCE,
            limits=limits,
        )

    def prepare(self, image: Found) -> Job:
        """Returns a job: every image is decoded, also one that has no row in the table."""
        return Job((image.key, self.table.lines(image.key), image.data), len(image.data))


def plan_labelling(options: BuildOptions) -> LabelTask | GivenTextTask:
    """Returns the task of ``build-labels``. Raises OvocrError if the engine or the table is missing."""
    return LabelTask.plan(options) if options.lines is None else GivenTextTask.plan(options)


@dataclass(frozen=True)
class PackTask:
    """Stores images with the class ids of a table, for ``pack-labels``."""

    options: PackOptions
    table: LabelTable
    with_text = False
    gpus = 0
    useful_workers = None

    @classmethod
    def plan(cls, options: PackOptions) -> "PackTask":
        """Loads the table. Raises OvocrError if it cannot be read, MissingExtraError if decoders are missing."""
        require_decoders("pack-labels")
        table = LabelTable.load(
            options.labels,
            key_column=options.key_column,
            label_columns=options.label_columns,
            num_classes=options.num_classes,
            limit=MAX_CLASSES,
        )
        return cls(options, table)

    def planner(self) -> Callable[[], Task]:
        """Returns a planner that loads the table on its own machine."""
        return partial(PackTask.plan, self.options)

    def describe(self) -> dict[str, Any]:
        """Returns the manifest without its shards."""
        manifest = describe_pack(self.options, (), self.table)
        return {name: part for name, part in manifest.to_json().items() if name != "shards"}

    def start_workers(self, count: int, data_set: LabelledDataSet, limits: WorkerLimits) -> WorkerPool:
        """Starts workers that only decode and encode images."""
        return WorkerPool(
            PackerFactory(tags=self.options.tags, max_pixels=self.options.max_pixels),
            workers=count,
            job_timeout_s=self.options.image_timeout_s,
            batch_size=IMAGES_AT_ONCE,
            limits=limits,
        )

    def prepare(self, image: Found) -> Job | Outcome:
        """Returns a job, or the outcome of an image without class ids, which need not be decoded."""
        ids = self.table.ids(image.key)
        return Job((ids, image.data), len(image.data)) if ids else _NO_LABELS


def require_decoders(feature: str) -> None:
    """Raises MissingExtraError if the image decoders are not installed. feature: what needs them."""
    if any(find_spec(name) is None for name in ("cv2", "PIL")):
        raise MissingExtraError(feature, "ocr")
