"""Commands that make vocabularies and look into them."""

from pathlib import Path

import click

from ovocr.commands.options import FOLDER
from ovocr.commands.output import JSON_HELP, file_target, json_target, print_figures
from ovocr.errors import UsageError
from ovocr.escape import for_terminal


@click.group()
def vocab() -> None:
    """Look into vocabularies and how they cover a corpus."""


@vocab.command("coverage")
@click.argument("data_sets", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
@click.option("--vocab", "path", default="lexicon", show_default=True, help="A vocabulary file, or 'lexicon'.")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def vocab_coverage(data_sets: tuple[Path, ...], path: str, json_path: str | None) -> None:
    """Report what share of the words read in labelled data sets a vocabulary covers."""
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.coverage import measure_coverage

    coverage = measure_coverage(list(data_sets), Vocabulary.load(path))
    print_figures(coverage.format_table(), coverage.to_json(), json_path)


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
