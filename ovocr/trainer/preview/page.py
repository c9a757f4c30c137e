"""The first samples of a run as one HTML page that needs nothing beside it: no network, no script, no file."""

import base64
from pathlib import Path

from ovocr.pages.document import document, inner_text, text
from ovocr.pages.style import BASE_STYLE
from ovocr.trainer.preview.samples import PreviewedSample, PreviewedTag

_WIDTH = 1000.0  # of the drawing over a picture, in its own units

_STYLE = (
    BASE_STYLE
    + """
article { margin: 16px 0; padding: 16px 20px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 12px; }
.name { margin: 0 0 10px; color: var(--faint); font-size: 13px; overflow-wrap: anywhere; }
.name b { color: var(--ink); }
.pair { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
figure { margin: 0; flex: 1 1 260px; min-width: 0; max-width: 520px; }
figcaption { margin-bottom: 6px; font-size: 13px; font-weight: 600; color: var(--faint); }
.stack { position: relative; line-height: 0; border: 1px solid var(--line); }
.stack img, .stack svg, .shown { display: block; width: 100%; }
.stack svg { position: absolute; inset: 0; height: 100%; }
.shown { border: 1px solid var(--line); }
.veil { fill: #000; fill-opacity: 0.45; fill-rule: evenodd; }
.edge { fill: none; stroke: #fff; stroke-width: 3; vector-effect: non-scaling-stroke; }
polygon { vector-effect: non-scaling-stroke; stroke-width: 1.5; }
polygon.kept { fill: #0b9c8c; fill-opacity: 0.22; stroke: #0b9c8c; }
polygon.dropped { fill: #d5443b; fill-opacity: 0.12; stroke: #d5443b; stroke-dasharray: 4 3; }
.tags { display: flex; flex-wrap: wrap; gap: 5px; margin: 12px 0 0; padding: 0; list-style: none; font-size: 14px; }
.tags li, .key { padding: 0 8px; border: 1px solid transparent; border-radius: 999px; overflow-wrap: anywhere; }
.kept-tag { background: var(--accent-soft); color: var(--accent-ink); }
.tags .dropped-tag, .key.dropped-tag {
  border: 1px dashed var(--quiet); color: var(--faint); text-decoration: line-through;
}
@media print { article { break-inside: avoid; } }
"""
)


def preview_page(config: Path, heads: dict[str, list[PreviewedSample]]) -> str:
    """The whole page. The same samples give the same bytes."""
    return document(
        title=f"Samples of {config}",
        header=f"<h1>Samples</h1>\n<p>The first of each head, as a run of {text(str(config))} takes them</p>",
        main="\n".join(_head(name, samples) for name, samples in heads.items()),
        footer=f"<h2>How to read this page</h2>\n{_DEFINITIONS}",
        style=_STYLE,
        pictures=True,
    )


def _head(name: str, samples: list[PreviewedSample]) -> str:
    drawn = [sample for sample in samples if sample.part is not None]
    kept = sum(tag.kept for sample in samples for tag in sample.tags)
    every = sum(len(sample.tags) for sample in samples)
    about = f"{len(samples)} samples, {len(drawn)} of them cropped"
    if drawn:
        fallen_back = sum(not sample.part_used for sample in drawn)
        about += f" ({fallen_back} without a word in any part: shown whole); {kept} of {every} tags are kept"
    cards = "\n".join(map(_sample, samples))
    return f"<section>\n<h2>Head {text(name)}</h2>\n<p>{about}.</p>\n{cards}\n</section>"


def _sample(sample: PreviewedSample) -> str:
    whole = "" if sample.whole is None else _whole(sample)
    tags = "\n".join(
        f'<li class="{"kept-tag" if tag.kept else "dropped-tag"}">{text(tag.word)}</li>' for tag in sample.tags
    )
    return f"""<article>
<p class="name"><b>position {sample.position}</b> · {text(sample.name)}</p>
<div class="pair">
{whole}
<figure><figcaption>What the encoder gets</figcaption>
<img class="shown" alt="" src="{_data_url(sample.shown)}"></figure>
</div>
<ul class="tags">
{tags}
</ul>
</article>"""


def _whole(sample: PreviewedSample) -> str:
    height = _WIDTH / sample.aspect
    boxes = "".join(_box(tag, height) for tag in sample.tags if tag.corners is not None)
    return f"""<figure><figcaption>The stored picture{_caption(sample)}</figcaption>
<div class="stack"><img alt="" src="{_data_url(sample.whole or b"")}">
<svg viewBox="0 0 {_WIDTH:.0f} {height:.2f}" preserveAspectRatio="none" role="img" aria-label="where the tags are">
{_frame(sample, height)}{boxes}</svg></div></figure>"""


def _caption(sample: PreviewedSample) -> str:
    if sample.part is None:
        return ", shown whole"
    return "" if sample.part_used else ": no word is in any part that was drawn, so it is shown whole"


def _frame(sample: PreviewedSample, height: float) -> str:
    if sample.part is None or not sample.part_used:
        return ""
    left, top, right, bottom = sample.part
    x, y, x2, y2 = left * _WIDTH, top * height, right * _WIDTH, bottom * height
    hole = f"M{x:.1f} {y:.1f}V{y2:.1f}H{x2:.1f}V{y:.1f}Z"
    return f'<path class="veil" d="M0 0H{_WIDTH:.0f}V{height:.1f}H0Z{hole}"/><path class="edge" d="{hole}"/>'


def _box(tag: PreviewedTag, height: float) -> str:
    corners = tag.corners or ()
    points = " ".join(f"{x * _WIDTH:.1f},{y * height:.1f}" for x, y in zip(corners[::2], corners[1::2], strict=True))
    return (
        f'<polygon class="{"kept" if tag.kept else "dropped"}" points="{points}">'
        f"<title>{inner_text(tag.word)}</title></polygon>"
    )


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


_DEFINITIONS = """<dl>
<dt>Part</dt><dd>The bright part of the stored picture is what is shown, drawn by a hash of the run's seed and the
sample's position: another run of the same configuration shows the same.</dd>
<dt>Tags</dt><dd><span class="key kept-tag">Kept</span> tags are what the head learns from;
<span class="key dropped-tag">dropped</span> ones have too little of their box in the part. The box is where the word
stands first in the picture.</dd>
</dl>"""
