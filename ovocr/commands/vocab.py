"""Commands that make vocabularies and look into them."""

from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text
from ovocr.commands.options import FOLDER
from ovocr.commands.output import JSON_HELP, file_target, json_target, print_figures


@click.group()
def vocab() -> None:
    """Make vocabularies, look into them and how they cover a corpus."""


@vocab.command("coverage")
@click.argument("data_sets", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
@click.option(
    "--vocab",
    "paths",
    multiple=True,
    default=("lexicon",),
    show_default=True,
    metavar="PATH",
    help="A vocabulary file, or 'lexicon'; twice to compare two.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes, one shard each.  [default: one a core]")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
@click.option("--html", "html_path", metavar="F", callback=file_target, help="Write a page with plots and a search.")
def vocab_coverage(
    data_sets: tuple[Path, ...],
    paths: tuple[str, ...],
    workers: int | None,
    json_path: str | None,
    html_path: str | None,
) -> None:
    """Report what share of the words read in labelled data sets a vocabulary covers, and which it lacks."""
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.coverage import NamedVocabulary, measure
    from ovocr.vocab.coverage.page import WORDS_TO_LOOK_UP, coverage_page
    from ovocr.vocab.coverage.terminal_table import format_table

    vocabularies = [NamedVocabulary(name=path, vocabulary=Vocabulary.load(path)) for path in paths]
    look_up = WORDS_TO_LOOK_UP if html_path else 0
    report = measure(data_sets, vocabularies, workers=workers, look_up=look_up, progress=True)
    if html_path is not None:
        write_text(Path(html_path), coverage_page(report))
    print_figures(format_table(report), report.to_json(), json_path)


@vocab.command("build")
@click.argument("data_sets", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
@click.option("--out", required=True, callback=file_target, metavar="PATH", help="The vocabulary; PATH.json beside it.")
@click.option("--size", default=365_187, show_default=True, help="How many words at most.")
@click.option("--min-count", default=1, show_default=True, metavar="N", help="Only words read N times or more.")
@click.option(
    "--drop", "drop_lists", multiple=True, type=FOLDER, metavar="FILE", help="Words to leave out, one a line."
)
@click.option("--han", default="as-read", show_default=True, help="as-read, or simplified: traditional is folded.")
@click.option("--workers", type=int, metavar="N", help="Processes that count.  [default: one a core]")
@click.option("--memory", default="2GB", show_default=True, help="What counting, then merging may hold in memory.")
@click.option("--force", is_flag=True, help="Replace a PATH that is there.")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def vocab_build(
    data_sets: tuple[Path, ...], out: str, han: str, memory: str, json_path: str | None, **options: Any
) -> None:
    """Make a vocabulary of the words read most often in labelled data sets, from frequent to rare."""
    from ovocr.base.memory_size import parse_memory
    from ovocr.vocab import Segmentation
    from ovocr.vocab.building.build import build_vocabulary
    from ovocr.vocab.building.options import VocabularyOptions, out_path
    from ovocr.vocab.count_merging import LEAST_MEMORY

    report = build_vocabulary(
        VocabularyOptions(
            data_sets=data_sets,
            out=out_path(out),
            segmentation=Segmentation(han),
            memory=parse_memory(memory, option="--memory", least=LEAST_MEMORY),
            **options,
        ),
        progress=True,
    )
    print_figures(report.format_table(), report.to_json(), json_path)


@vocab.command("show")
@click.argument("path", metavar="PATH")
@click.argument("items", nargs=-1, metavar="[WORD|ID]...")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def vocab_show(path: str, items: tuple[str, ...], json_path: str | None) -> None:
    """Show the class id of each WORD and the word of each ID in a vocabulary; without any, what the vocabulary is.

    A WORD may be spelled in any way that text may. Exit code 1 where something is not there.
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
@click.option(
    "--out", required=True, metavar="F", callback=file_target, help="Where the class map goes, such as map.npy."
)
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def vocab_map(old_path: str, new_path: str, out: str, json_path: str | None) -> None:
    """Write which class id of vocabulary OLD each one of NEW had, to carry class centers over (init_map)."""
    if Path(out).resolve() in {Path(path).resolve() for path in (old_path, new_path)}:
        raise UsageError(f"--out {out}: is a vocabulary that is read; choose another file for the class map")
    if json_path == f"{out}.json":
        raise UsageError(f"--json {json_path}: stands beside the class map and describes it; choose another file")
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.class_map import ClassMap
    from ovocr.vocab.class_map_report import ClassMapReport

    old, new = Vocabulary.load(old_path), Vocabulary.load(new_path)
    class_map = ClassMap.between(old, new)
    class_map.save(out)
    report = ClassMapReport.of(class_map, old, new, names=(old_path, new_path))
    print_figures(report.format(), report.to_json(), json_path)
