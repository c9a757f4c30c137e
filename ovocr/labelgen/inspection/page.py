"""An inspection as one HTML page that needs nothing beside it: no network, no font, no file."""

from ovocr.labelgen.inspection.inspecting import Inspection
from ovocr.labelgen.inspection.page_card import card
from ovocr.labelgen.inspection.page_overview import facts, left_out, overview, sample
from ovocr.labelgen.inspection.page_script import SCRIPT
from ovocr.labelgen.inspection.page_style import STYLE
from ovocr.labelgen.inspection.page_toolbar import keys, toolbar
from ovocr.pages.document import document


def inspection_page(inspection: Inspection) -> str:
    """The whole page. The same inspection gives the same bytes."""
    data_set = inspection.data_set
    name = data_set.files.root.resolve().name
    cards = (card(number, image) for number, image in enumerate(inspection.images, 1))
    parts = [
        overview(data_set),
        f'<h2>Pictures</h2>\n<div class="above"><p>{sample(inspection)}</p>{keys(packed=data_set.packed)}</div>',
        left_out(inspection),
        toolbar(inspection.images, packed=data_set.packed),
        '<div id="cards">',
        *cards,
        "</div>",
    ]
    return document(
        title=f"Labelled images: {name}",
        header=f"<h1>Labelled images</h1>\n{facts(data_set)}",
        main="\n".join(parts),
        footer=f"<h2>How to read this page</h2>\n{_PACKED if data_set.packed else _LABELLED}",
        style=STYLE,
        script=SCRIPT,
        pictures=True,
    )


_FATES = """<dt>Status</dt><dd>Images that are ok have a record; dropped ones were read and gave no label;
quarantined ones could not be read. Of the last two no picture is stored: it is had again from the source where that is
within reach.</dd>"""
_PACKED = f"""<dl>
<dt>Classes</dt><dd>What the table has for the picture: class ids, with the number of the record's slots that each
takes. They are no words, so there are no boxes.</dd>
{_FATES}
</dl>"""
_LABELLED = f"""<dl>
<dt>Tags</dt><dd>The distinct words of the picture that are in the vocabulary, in reading order, each with its class id
and, behind ×, how many of the record's slots it takes. A pale one takes none: the picture has more words than
slots. Its box is where the word stands first: the part of the line's box that its letters should take, which was not
measured.</dd>
<dt>Lines</dt><dd>What was recognised, each with its score, low ones in colour. Words that are in the vocabulary are
<span class="w">underlined</span>; those that it lacks are <em class="w out">dashed</em>. A word that is broken at the
end of a line is marked where it begins. Characters that cannot be seen are written as escapes.</dd>
{_FATES}
</dl>"""
