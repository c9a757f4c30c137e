"""One image on an inspection's page: its picture with boxes, its tags and its lines."""

import base64

from ovocr.dataset.outcome import Status
from ovocr.labelgen.inspection.images import ImageTag, InspectedImage, ReadLine
from ovocr.labelgen.inspection.page_boxes import boxes
from ovocr.labelgen.inspection.page_images import NoImage
from ovocr.pages.document import inner_text, text
from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.word_script import OTHER, script_of

LOW_SCORE = 0.8


def scripts_of(image: InspectedImage) -> list[str]:
    """Of the words that were read in it, each once."""
    scripts = {script_of(word.text) for line in image.lines for word in line.words}
    return sorted(scripts - {OTHER})


def card(number: int, image: InspectedImage) -> str:
    """number: of the picture on the page, from 1."""
    lowest = min((line.line.score for line in image.lines), default=None)
    why = f"<strong>{text(image.reason)}</strong> {text(image.detail or '')}" if image.reason else ""
    zoom = "" if isinstance(image.picture, NoImage) else _ZOOM
    lists = _tags(image) + _lines(image) or f'<p class="empty">{_nothing(image)}</p>'
    return f"""<article id="picture-{number}" tabindex="-1" aria-labelledby="key-{number}"
data-status="{image.status.value}" data-reason="{inner_text(image.reason or "")}"
data-scripts="{" ".join(scripts_of(image))}" data-score="{"" if lowest is None else lowest}">
<div class="top"><span class="number">{number}</span><h3 id="key-{number}">{text(image.key)}</h3>
{zoom}<span class="pill {image.status.value}">{image.status.value}</span></div>
<p class="facts">{_facts(image)}</p>
{f'<p class="why">{why}</p>' if why else ""}{_damage(image)}
<div class="body">
<div class="side">{_picture(number, image)}</div>
<div class="lists">{lists}</div>
</div>
</article>"""


_ZOOM = '<button type="button" class="zoom" aria-pressed="false">full size</button>\n'


def _damage(image: InspectedImage) -> str:
    sentences = "<br>".join(map(inner_text, image.damage))
    return f'<p class="why"><strong>damaged record</strong> {sentences}</p>' if sentences else ""


def _nothing(image: InspectedImage) -> str:
    """Why there is no list."""
    if image.status is Status.QUARANTINED:
        return "It was not read."
    return "It has no class." if image.words_found is None else "No line was read."


def _facts(image: InspectedImage) -> str:
    parts = [text(image.source), f"shard {image.shard}, image {image.place}"]
    parts += [] if image.record_id is None else [f"record {image.record_id}"]
    parts += [] if image.size is None else [f"{image.size[0]:,} × {image.size[1]:,} pixels"]
    if image.words_found:
        parts.append(f"{image.words_found:,} words read, {image.words_in_vocabulary or 0:,} in the vocabulary")
    return "".join(f"<span>{part}</span>" for part in parts)


def _picture(number: int, image: InspectedImage) -> str:
    picture = image.picture
    if isinstance(picture, NoImage):
        return f'<p class="frame none">{text(picture.why)}</p>'
    data = base64.b64encode(picture.jpeg).decode("ascii")
    return (
        f'<div class="frame"><img src="data:image/jpeg;base64,{data}" alt="picture {number}" loading="lazy" '
        f'decoding="async">{boxes(image, picture.width, picture.height)}</div>'
    )


def _tags(image: InspectedImage) -> str:
    if not image.tags:
        return ""
    classes = image.tags[0].word is None
    stored = sum(tag.slots for tag in image.tags)
    of = f"{len(image.tags):,} in {stored:,} slots" if stored else f"{len(image.tags):,}"
    items = "\n".join(_tag(place, tag) for place, tag in enumerate(image.tags))
    return f'<h4>{"Classes" if classes else "Tags"} <small>{of}</small></h4>\n<ul class="tags">\n{items}\n</ul>\n'


def _tag(place: int, tag: ImageTag) -> str:
    slots = f"<small>×{tag.slots}</small>" if tag.slots > 1 else ""
    pale = "" if tag.slots else " unused"
    focus = 0 if place == 0 else -1
    if tag.word is None:
        return f'<li><span class="tag{pale}"><b>{tag.id}</b>{slots}</span></li>'
    return (
        f'<li><button type="button" class="tag{pale}" tabindex="{focus}" data-tag="{place}" data-of="{tag.line}">'
        f"<b>{text(tag.word)}</b><small>{tag.id}</small>{slots}</button></li>"
    )


def _lines(image: InspectedImage) -> str:
    if not image.lines:
        return ""
    tags = {tag.id: place for place, tag in enumerate(image.tags)}
    left_out = 0
    items = []
    for number, line in enumerate(image.lines):
        items.append(_line(number, line, tags, left_out))
        left_out += sum(word.id is None for word in line.words)
    return f'<h4>Lines <small>{len(image.lines):,}</small></h4>\n<ol class="lines">\n' + "\n".join(items) + "\n</ol>"


def _line(number: int, line: ReadLine, tags: dict[int, int], left_out: int) -> str:
    """tags: the place of each class among the image's. left_out: words before this line that the vocabulary lacks."""
    words = iter(line.words)
    content = ""
    for piece in line.pieces:
        shown = inner_text(piece.text)
        if piece.word is None:
            content += shown
            continue
        word = next(words)
        other = "" if normalise(piece.text) == word.text else f' title="{inner_text(word.text)}"'
        if word.id is None:
            content += f'<em class="w out" data-left-out="{left_out}" data-of="{number}"{other}>{shown}</em>'
            left_out += 1
        elif word.id in tags:
            content += f'<span class="w" data-tag="{tags[word.id]}"{other}>{shown}</span>'
        else:
            content += f'<span class="w"{other}>{shown}</span>'
    low = " low" if line.line.score < LOW_SCORE else ""
    return (
        f'<li tabindex="{0 if number == 0 else -1}" data-line="{number}" data-score="{line.line.score}">'
        f'<bdi class="text">{content}</bdi><span class="score{low}">{line.line.score:.3f}</span></li>'
    )
