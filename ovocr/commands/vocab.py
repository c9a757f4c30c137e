"""Commands that build vocabularies and show their content."""

from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text
from ovocr.commands.options import FOLDER, FOLDER_OR_URL, JSON_OPTION, count_option, field_option
from ovocr.commands.output import file_target, print_figures
from ovocr.vocab.building.options import VocabularyOptions, out_path


@click.group()
def vocab() -> None:
    """Build, compare and show vocabularies."""


@vocab.command("coverage")
@click.argument("data_sets", nargs=-1, required=True, type=FOLDER_OR_URL, metavar="DIR...")
@click.option(
    "--vocab",
    "paths",
    multiple=True,
    default=("lexicon",),
    metavar="PATH",
    help="A vocabulary file, or 'lexicon'; repeat to compare.",
)
@click.option(
    "--holdout",
    type=float,
    metavar="F",
    help="Measure only this share of the images: those that `vocab build --holdout F` leaves out.",
)
@count_option("--workers", "Processes, one shard each; by default one per core.")
@JSON_OPTION
@click.option("--html", "html_path", metavar="F", callback=file_target, help="Write a page with plots and word search.")
def vocab_coverage(
    data_sets: tuple[Path | str, ...],
    paths: tuple[str, ...],
    holdout: float | None,
    workers: int | None,
    json_path: str | None,
    html_path: str | None,
) -> None:
    """Measure how much of a corpus a vocabulary covers.

    Report the share of the words in labelled data sets, folders or URLs in an object store (s3://bucket/labels), that
    are in a vocabulary, the most frequent ones that are not, what --min-score and --min-letters of build-labels would
    keep, and how many tags of the data sets are legible at which size of an encoder's input.
    """
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.coverage import NamedVocabulary, measure
    from ovocr.vocab.coverage.page import WORDS_TO_LOOK_UP, coverage_page
    from ovocr.vocab.coverage.terminal_table import format_table

    vocabularies = [NamedVocabulary(name=path, vocabulary=Vocabulary.load(path)) for path in paths]
    look_up = WORDS_TO_LOOK_UP if html_path else 0
    report = measure(data_sets, vocabularies, holdout=holdout, workers=workers, look_up=look_up, progress=True)
    if html_path is not None:
        write_text(Path(html_path), coverage_page(report))
    print_figures(format_table(report), report.to_json(), json_path)


@vocab.command("build")
@click.argument("data_sets", nargs=-1, required=True, type=FOLDER_OR_URL, metavar="DIR...")
@field_option(VocabularyOptions, "--out", callback=lambda *given: out_path(file_target(*given) or ""), metavar="PATH")
@field_option(VocabularyOptions, "--size")
@field_option(VocabularyOptions, "--min-count")
@field_option(VocabularyOptions, "--holdout", metavar="F")
@field_option(VocabularyOptions, "--drop", "drop_lists", type=FOLDER, metavar="FILE")
@field_option(VocabularyOptions, "--han", "segmentation", default=VocabularyOptions.segmentation.han, metavar="FORM")
@field_option(VocabularyOptions, "--workers", type=int)
@field_option(VocabularyOptions, "--memory", default=f"{VocabularyOptions.memory / 1e9:g}GB", metavar="SIZE")
@field_option(VocabularyOptions, "--force")
@JSON_OPTION
def vocab_build(segmentation: str, memory: str, json_path: str | None, **options: Any) -> None:
    """Build a vocabulary from labelled data sets.

    The vocabulary contains their most frequent words, from frequent to rare. DIR is a folder, or a URL in an object
    store (s3://bucket/labels).
    """
    from ovocr.base.memory_size import parse_memory
    from ovocr.vocab import Segmentation
    from ovocr.vocab.building.build import build_vocabulary
    from ovocr.vocab.count_merging import LEAST_MEMORY

    report = build_vocabulary(
        VocabularyOptions(
            segmentation=Segmentation(segmentation),
            memory=parse_memory(memory, option="--memory", least=LEAST_MEMORY),
            **options,
        ),
        progress=True,
    )
    print_figures(report.format_table(), report.to_json(), json_path)


@vocab.command("show")
@click.argument("path", metavar="PATH")
@click.argument("items", nargs=-1, metavar="[WORD|ID]...")
@JSON_OPTION
def vocab_show(path: str, items: tuple[str, ...], json_path: str | None) -> None:
    """Look up words and class ids.

    Show the class id of each WORD and the word of each ID in a vocabulary, or describe the vocabulary if none is given.
    A WORD is normalised like text. The exit code is 1 if a WORD or ID is not in the vocabulary.
    """
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.look_up import describe, format_description, look_up

    vocabulary = Vocabulary.load(path)
    if not items:
        description = describe(vocabulary)
        print_figures(format_description(description), description, json_path)
        return
    answers = [answer for item in items for answer in look_up(vocabulary, item)]
    found = [answer for answer in answers if answer.id is not None]
    lines = [f"{answer.id}\t{for_terminal(answer.word or '')}" for answer in found]
    print_figures("\n".join(lines), {"answers": [answer.to_json() for answer in answers]}, json_path)
    for answer in answers:
        if answer.note:
            click.echo(f"ovocr: {for_terminal(f'{answer.asked}: {answer.note}')}", err=True)
    if len(found) < len(answers):
        raise SystemExit(1)


@vocab.command("map")
@click.argument("old_path", metavar="OLD")
@click.argument("new_path", metavar="NEW")
@click.option("--out", required=True, metavar="F", callback=file_target, help="File of the class map, such as map.npy.")
@JSON_OPTION
def vocab_map(old_path: str, new_path: str, out: str, json_path: str | None) -> None:
    """Map the class ids of a vocabulary to those of an older vocabulary.

    With the map, a training run can reuse class centers that were trained with OLD (init_map).
    """
    if Path(out).resolve() in {Path(path).resolve() for path in (old_path, new_path)}:
        raise UsageError(f"--out {out}: is one of the two vocabularies; choose another file for the class map")
    if json_path == f"{out}.json":
        raise UsageError(f"--json {json_path}: is the description of the class map; choose another file")
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.class_map import ClassMap
    from ovocr.vocab.class_map_report import ClassMapReport

    old, new = Vocabulary.load(old_path), Vocabulary.load(new_path)
    class_map = ClassMap.between(old, new)
    class_map.save(out)
    report = ClassMapReport.of(class_map, old, new, names=(old_path, new_path))
    print_figures(report.format(), report.to_json(), json_path)
