"""Whether a vocabulary is measured on the text that it was built from, which says little about other text."""

from collections.abc import Sequence

from ovocr.base.errors import UsageError
from ovocr.base.escape import for_terminal
from ovocr.dataset.holdout.rule import check_share
from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab.coverage.report import NamedVocabulary
from ovocr.vocab.lexicon import LEXICON
from ovocr.vocab.sources import SOURCE, built_from, built_with_holdout

EXAMPLE_SHARE = 0.1


def check_holdout(
    data_sets: Sequence[LabelledDataSet], vocabularies: Sequence[NamedVocabulary], holdout: float | None
) -> None:
    """Raises UsageError if held-out images are to be measured and a vocabulary was built from them.

    data_sets: those of the corpus. holdout: share of the images to measure; None for all images.
    """
    if holdout is None:
        return
    check_share(holdout)
    for named in vocabularies:
        own = built_with_holdout(named.vocabulary)
        found = built_from(named.vocabulary, data_sets)
        if found and own < holdout:
            how = f"with --holdout {own:g}" if own else "without --holdout"
            raise UsageError(
                f"--holdout {holdout:g}: {named.name} was built from {_names(found)} {how}, so from images that would "
                f"be measured; build it with `ovocr vocab build --holdout {holdout:g}`"
            )


def warnings(
    data_sets: Sequence[LabelledDataSet], vocabularies: Sequence[NamedVocabulary], holdout: float | None
) -> list[str]:
    """Returns a sentence for each vocabulary whose figures may not be those of text that it was not built from."""
    found = (_warning(data_sets, named, holdout) for named in vocabularies)
    return [for_terminal(warning) for warning in found if warning]


def _warning(data_sets: Sequence[LabelledDataSet], named: NamedVocabulary, holdout: float | None) -> str:
    sources, own = built_from(named.vocabulary, data_sets), built_with_holdout(named.vocabulary)
    if holdout is not None:
        if named.name != LEXICON and SOURCE not in named.vocabulary.settings:
            return f"{named.name} does not say what it was built from; it may have been built from these images"
        return ""
    if not sources:
        return ""
    says = f"{named.name} was built from {_names(sources)}, so this is not its coverage of other text"
    if own:
        return f"{says}; measure the images that it was not built from with --holdout {own:g}"
    share = f"{EXAMPLE_SHARE:g}"
    return f"{says}; build it with `vocab build --holdout {share}` and measure with `vocab coverage --holdout {share}`"


def _names(data_sets: Sequence[LabelledDataSet]) -> str:
    return ", ".join(map(str, data_sets))
