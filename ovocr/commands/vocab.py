"""Commands that make vocabularies and look into them."""

from pathlib import Path

import click

from ovocr.commands.options import FOLDER
from ovocr.commands.output import JSON_HELP, file_target, json_target, print_figures
from ovocr.errors import UsageError
from ovocr.escape import for_terminal
from ovocr.files import write_text


@click.group()
def vocab() -> None:
    """Look into vocabularies and how they cover a corpus."""


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


@vocab.command("show")
@click.argument("path", metavar="PATH")
@click.argument("items", nargs=-1, required=True, metavar="WORD|ID...")
def vocab_show(path: str, items: tuple[str, ...]) -> None:
    """Show the class id of each WORD and the word of each ID in a vocabulary."""
    from ovocr.vocab import Vocabulary

    vocabulary = Vocabulary.load(path)
    for item in items:
        class_id = int(item) if item.isascii() and item.isdecimal() else vocabulary.id(item)
        if class_id is None:
            click.echo(f"{for_terminal(item)}: not in the vocabulary")
        elif class_id >= len(vocabulary):
            raise UsageError(f"{item}: class ids of {path} go from 0 to {len(vocabulary) - 1}")
        else:
            click.echo(f"{class_id}\t{for_terminal(vocabulary.word(class_id))}")
