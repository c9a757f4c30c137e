"""The top of an inspection's page: the whole data set in figures, and how the pictures below were chosen."""

from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.inspecting import Inspection
from ovocr.pages.document import panel, table, text


def facts(data_set: InspectedDataSet) -> str:
    """What the data set is, in a line or two."""
    about = [text(str(data_set.files.root)), f"{data_set.slots:,} slots an image"]
    if data_set.packed:
        about.append("class ids from a table")
    else:
        engine = data_set.manifest.engine or {}
        about.append(f"words of a vocabulary of {len(data_set.vocabulary):,}")
        about += [f"read by {text(str(engine['name']))}"] if "name" in engine else []
    return f"<p>{' · '.join(about)}</p>"


def overview(data_set: InspectedDataSet) -> str:
    """Images of all finished shards by status and reason."""
    counts = data_set.counts
    whole = max(1, counts["input"])
    rows = (
        f'<tr><th scope="row"><span class="pill {status}">{status}</span></th>'
        f'<td class="text">{text(reason) if reason else ""}</td>'
        f'<td class="bars">{_bar(status, number / whole)}</td><td>{number:,}</td><td>{number / whole:.1%}</td></tr>'
        for status, reason, number in data_set.fates()
    )
    header = (
        '<th scope="col">status</th><th scope="col" class="text">reason</th><td class="bars"></td>'
        '<th scope="col">images</th><th scope="col">share</th>'
    )
    shards, planned = len(data_set.shards), len(data_set.manifest.shards)
    all_of = "" if planned == shards else f" that are finished of {planned:,}"
    plural = "s" if shards != 1 else ""
    note = f"{counts['input']:,} images in {shards:,} shard{plural}{all_of}; {_contents(data_set)}."
    return panel("The whole data set", note, table(header, rows))


def _contents(data_set: InspectedDataSet) -> str:
    counts = data_set.counts
    each = counts["tags"] / max(1, counts["ok"])
    if data_set.packed:
        return f"{each:.1f} distinct classes an image that is ok"
    share = counts["words_in_vocabulary"] / max(1, counts["words_found"])
    return (
        f"{counts['lines']:,} lines, {counts['words_found']:,} words, {share:.1%} of them in the vocabulary; "
        f"{each:.1f} distinct tags an image that is ok"
    )


def _bar(status: str, share: float) -> str:
    """Lengths are attributes: the policy allows no style beside the page's own."""
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="100" height="10"/><rect class="{status}" width="{100 * share:.2f}" height="10"/>'
        "</svg>"
    )


def left_out(inspection: Inspection) -> str:
    """Which shards could not be read: a paragraph, HTML; nothing where all could."""
    lines = "<br>".join(map(text, inspection.left_out))
    return f'<p class="why"><strong>Left out, because they cannot be read:</strong> {lines}</p>' if lines else ""


def sample(inspection: Inspection) -> str:
    """How the pictures of the page were chosen: a sentence, HTML."""
    selection, options = inspection.selection, inspection.options
    shown, matching = len(inspection.images), selection.matching
    images = "image" if matching == 1 else "images"
    asked = [
        *([f"status {options.status}"] if options.status else []),
        *([f"{'class' if inspection.data_set.packed else 'the tag'} {text(options.word)}"] if options.word else []),
        *([f"{' or '.join(map(text, options.keys))} as key"] if options.keys else []),
    ]
    of = f"{matching:,} {images}{' with ' + ', '.join(asked) if asked else ''}"
    of += f" in shard {options.shard}" if options.shard is not None else ""
    if shown == matching:
        return f"All {of}." if matching > 1 else f"The one image{of.removeprefix('1 image')}."
    shards = f", as evenly as can be from {selection.shards:,} shards" if selection.shards > 1 else ""
    return f"{shown:,} of {of}{shards}, drawn by seed {options.seed}."
