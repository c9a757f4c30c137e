"""An evaluation as one HTML page that needs nothing beside it: no network, no script, no file."""

import base64

from ovocr.pages.document import document, panel, table, text
from ovocr.trainer.evaluation.evaluate import Evaluation, HeadRecall
from ovocr.trainer.evaluation.examples import Example
from ovocr.trainer.evaluation.recall import GroupRecall
from ovocr.trainer.evaluation.style import STYLE

_MARK = '<span class="mark" aria-label="right">✓</span>'


def evaluation_page(evaluation: Evaluation) -> str:
    """The whole page. The same evaluation gives the same bytes."""
    data = ", ".join(text(str(root)) for root in evaluation.data)
    about = f"Run {text(str(evaluation.run))} after {evaluation.step:,} steps, on {data}"
    if evaluation.crops:
        about += f", {evaluation.crops} crops of each image, which count as images below"
    return document(
        title=f"Tag recall of {evaluation.run}",
        header=f"<h1>Tag recall</h1>\n<p>{about}</p>",
        main="\n".join(_head(name, head, evaluation) for name, head in evaluation.heads.items()),
        footer=f"<h2>How to read this page</h2>\n{_definitions(evaluation)}",
        style=STYLE,
        pictures=True,
    )


def _head(name: str, head: HeadRecall, evaluation: Evaluation) -> str:
    k = evaluation.headline_k
    parts = [
        f"<section>\n<h2>Head {text(name)}</h2>",
        _headline(head, k),
        panel(
            "By number of answers",
            ""
            if head.effective_rank is None
            else f"Effective rank of the embeddings: {head.effective_rank:.1f} of {head.embedding_dim:,}.",
            _by_k(head),
        ),
        panel("By script", "Of the tags of one script.", _by_group("script", head.scripts, k)) if head.scripts else "",
        panel(
            "By frequency",
            f"Of the tags that so many of the {head.training_images:,} training images have.",
            _by_group("training images", head.bands, k),
        ),
        _examples(head, k) if head.examples else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _headline(head: HeadRecall, k: int) -> str:
    recall, prior = head.every.recall[k], head.every.prior[k]
    return f"""<div class="headline">
<div class="figure"><strong>{recall:.3f}</strong><p>of an image's tags, as far as {k:,} answers can hold
them, are among the {k:,} nearest of all {head.classes:,} class centers:
recall@{k}, mean over {head.images:,} images</p></div>
<div class="figure prior"><strong>{prior:.3f}</strong><p>would be there by always answering the {k:,} most frequent
tags of the training data: the prior</p></div>
{_bar(recall, prior)}
</div>"""


def _by_k(head: HeadRecall) -> str:
    rows = (
        f'<tr><th scope="row">recall@{k}</th><td class="bars wide">{_bar(value, head.every.prior[k])}</td>'
        f'<td>{value:.3f}</td><td class="prior">{head.every.prior[k]:.3f}</td></tr>'
        for k, value in head.every.recall.items()
    )
    return table('<th></th><th></th><th scope="col">encoder</th><th scope="col" class="prior">prior</th>', rows)


def _by_group(title: str, groups: dict[str, GroupRecall], k: int) -> str:
    ks = list(next(iter(groups.values())).recall)
    columns = "".join(
        f'<th scope="col">recall@{each}</th><th scope="col" class="prior">prior@{each}</th>' for each in ks
    )
    header = (
        f'<th scope="col">{title}</th><th scope="col" class="bars">recall@{k}</th>'
        f'<th scope="col">images</th><th scope="col">pairs</th>{columns}'
    )
    return table(header, (_group_row(name, group, k) for name, group in groups.items()))


def _group_row(name: str, group: GroupRecall, k: int) -> str:
    cells = "".join(
        f'<td>{group.recall[each]:.3f}</td><td class="prior">{group.prior[each]:.3f}</td>' for each in group.recall
    )
    return (
        f'<tr><th scope="row">{text(name)}</th><td class="bars">{_bar(group.recall[k], group.prior[k])}</td>'
        f"<td>{group.images:,}</td><td>{group.pairs:,}</td>{cells}</tr>"
    )


def _bar(recall: float, prior: float) -> str:
    """Recall above, the prior below it. Lengths are attributes: the policy allows no style beside the page's own."""
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="encoder {recall:.3f}, prior {prior:.3f}">'
        '<rect class="ground" width="100" height="10"/>'
        f'<rect class="of-encoder" width="{100 * recall:.2f}" height="6.5"/>'
        f'<rect class="of-prior" y="6.5" width="{100 * prior:.2f}" height="3.5"/></svg>'
    )


def _examples(head: HeadRecall, k: int) -> str:
    cards = "\n".join(_example(example, k) for example in head.examples)
    return (
        f"<h3>Examples</h3>\n<p>{len(head.examples)} of {head.images:,} images, evenly spread. "
        f"The encoder sees them at {head.image_size} × {head.image_size} pixels.</p>\n"
        f'<div class="examples">\n{cards}\n</div>'
    )


def _example(example: Example, k: int) -> str:
    picture = base64.b64encode(example.jpeg).decode("ascii")
    answers = "\n".join(
        f'<li class="{"right" if answer.right else "wrong"}"><span class="word">{text(answer.word)}</span>'
        f'{_MARK if answer.right else ""}<span class="score">{answer.cosine:.3f}</span></li>'
        for answer in example.answers
    )
    tags = "\n".join(_tag(tag.word, tag.rank, k) for tag in example.tags)
    found = sum(tag.rank is not None and tag.rank <= k for tag in example.tags)
    return f"""<article>
<div class="picture"><img src="data:image/jpeg;base64,{picture}" alt="" loading="lazy"></div>
<p class="name">{text(example.name)}</p>
<h4>The encoder answers</h4>
<ol>
{answers}
</ol>
<h4>Its tags: {found} of {len(example.tags)} within {k}</h4>
<ul class="tags">
{tags}
</ul>
</article>"""


def _tag(word: str, rank: int | None, k: int) -> str:
    if rank is None:
        return f'<li class="missed">{text(word)}</li>'
    return f'<li class="{"found" if rank <= k else "late"}">{text(word)} <small>{rank:,}</small></li>'


def _definitions(evaluation: Evaluation) -> str:
    greatest, k = evaluation.top_k[-1], evaluation.headline_k
    return f"""<dl>
<dt>recall@k</dt><dd>The mean over images of |the k nearest of all class centers ∩ the image's distinct tags| /
min(k, its distinct tags).</dd>
<dt>Prior</dt><dd>The same for always answering the k tags that most training images have: what can be had without
looking at the picture. It is the lower, <span class="key-prior">grey</span> part of each bar.</dd>
<dt>Script, frequency</dt><dd>Recall of the tags of one group: the mean over the images that have such tags of |the k
nearest of all class centers ∩ such tags| / min(k, such tags). A tag's script is that of its letters; its frequency is
the number of training images that have it. Images: those that have such tags. Pairs: of an image and such a tag.</dd>
<dt>Examples</dt><dd>Words that the encoder answers, with their cosines to the picture; <span class="mark">✓</span> is
one of its tags. Tags are <span class="key found">filled</span> where they are among the {k:,} nearest centers,
<span class="key late">outlined</span> where they are among the {greatest:,} nearest, each with its rank, and
<span class="key missed">dashed</span> where they are beyond. Tags are what OCR read,
which may itself be wrong.</dd>
</dl>"""
