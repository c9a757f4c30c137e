"""An evaluation as text for a terminal."""

from collections.abc import Iterator

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.trainer.evaluation.evaluate import Evaluation, HeadEvaluation
from ovocr.trainer.evaluation.head_reading import DataSetReading, HeadReading
from ovocr.trainer.evaluation.head_recall import HeadRecall
from ovocr.trainer.evaluation.recall import GroupRecall
from ovocr.trainer.measures.bands import UNKNOWN
from ovocr.trainer.measures.word_figures import Figure, GroupFigures
from ovocr.trainer.measures.word_measures import why_no_word

_MIXED = "all data sets, mixed"


def format_evaluation(evaluation: Evaluation) -> str:
    """Returns the lines of each head: measures of reading, recall with its table, and the tables of reading."""
    return "\n".join(line for name, head in evaluation.heads.items() for line in _head_lines(evaluation, name, head))


def _head_lines(evaluation: Evaluation, name: str, head: HeadEvaluation) -> Iterator[str]:
    noun = "crop" if evaluation.crops else "image"
    if head.trained_on.every.found:
        yield f"{name}: trained on {head.trained_on.every.describe()}: not how well it reads new images"
    scopes = _scopes(head.reading)
    for scope, reading in scopes.items():
        yield from _headline(f"{name}{scope and f' on {scope}'}", reading, noun)
        yield from _left_out(reading)
    yield from _recall_lines(name, head.recall, evaluation.headline_k, evaluation.top_k, noun)
    for scope, reading in scopes.items():
        yield from _reading_table(scope, reading)


def _scopes(reading: HeadReading) -> dict[str, DataSetReading]:
    """Returns what is reported by its name: each data set, then all of them; a single data set has no name."""
    if not reading.data_sets:
        return {"": reading.every}
    return {**{for_terminal(name): each for name, each in reading.data_sets.items()}, _MIXED: reading.every}


def _headline(title: str, reading: DataSetReading, noun: str) -> Iterator[str]:
    words = reading.words
    auc, average_precision = words.every.word_auc, words.every.word_map
    if auc.value is None:
        reason = why_no_word(words.min_text_height)
        yield f"{title}: no word AUC: {reason}; lower --min-text-height, or take more images"
        return
    mean = f"mean over {counted(auc.classes, 'class', 'classes')}, words of at least {words.min_text_height:g} px"
    yield f"{title}: word AUC {_with_interval(auc)}, {mean}, on {counted(words.images, noun)}"
    yield f"{title}: word mAP {_with_interval(average_precision)}, chance: {average_precision.chance:.3f}"
    if reading.images_without_group is not None:
        yield (
            f"  intervals over {counted(words.groups, 'group')}; "
            f"{counted(reading.images_without_group, 'image')} without a group"
        )


def _left_out(reading: DataSetReading) -> Iterator[str]:
    if reading.skipped:
        yield f"  {counted(reading.skipped, 'damaged image')} skipped"
    if reading.whole_crops:
        verb = "shows" if reading.whole_crops == 1 else "show"
        yield f"  {reading.whole_crops:,} of {counted(reading.words.images, 'crop')} {verb} the whole image"


def _with_interval(figure: Figure) -> str:
    if figure.low is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _reading_table(scope: str, reading: DataSetReading) -> Iterator[str]:
    words = reading.words
    rows = {
        **{
            f"text height: {band}{'' if band == UNKNOWN else ' px'}": group
            for band, group in words.by_text_height.items()
        },
        **{f"script: {script}": group for script, group in words.by_script.items()},
        **{f"training images: {band}": group for band, group in words.by_frequency.items()},
    }
    rows = {name: group for name, group in rows.items() if group.word_auc.classes}
    if not rows:
        return
    yield f"  {'words':<28}{'classes':>9}{'word AUC':>25}{'word mAP':>25}{'chance':>9}{scope and f'   {scope}'}"
    yield from (_reading_row(name, group) for name, group in rows.items())


def _reading_row(name: str, group: GroupFigures) -> str:
    auc, average_precision = (f"{_with_interval(figure):>25}" for figure in (group.word_auc, group.word_map))
    return f"  {name:<28}{group.word_auc.classes:>9,}{auc}{average_precision}{group.word_map.chance:>9.3f}"


def _recall_lines(name: str, head: HeadRecall, k: int, ks: tuple[int, ...], noun: str) -> Iterator[str]:
    corrected = ", corrected for sampling" if head.sampling_correction == "counts" else ""
    yield (
        f"{name}: tag recall@{k} {head.every.recall[k]:.3f} over all {head.classes:,} centers{corrected}, "
        f"on {counted(head.images, noun)} (always the {k} most frequent training tags: {head.every.prior[k]:.3f})"
    )
    if head.effective_rank is not None:
        yield f"  embeddings: effective rank {head.effective_rank:.1f} of {head.embedding_dim:,}"
    columns = "".join(f"{f'recall@{k} (prior)':>20}" for k in ks)
    yield f"  {'tags':<28}{'images':>9}{'pairs':>11}{columns}"
    yield _recall_row("all", head.every)
    yield from (_recall_row(f"script: {script}", group) for script, group in head.scripts.items())
    yield from (_recall_row(f"training images: {band}", group) for band, group in head.bands.items())


def _recall_row(name: str, group: GroupRecall) -> str:
    cells = "".join(f"{f'{group.recall[k]:.3f} ({group.prior[k]:.3f})':>20}" for k in group.recall)
    return f"  {name:<28}{group.images:>9,}{group.pairs:>11,}{cells}"
