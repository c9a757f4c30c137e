"""An evaluation as an HTML page."""

from ovocr.pages.rendering import render_page
from ovocr.trainer.evaluation.evaluate import Evaluation


def evaluation_page(evaluation: Evaluation) -> str:
    """Returns the page. The same evaluation gives the same bytes."""
    return render_page(__package__, images=True, title=f"Tag recall of {evaluation.run}", evaluation=evaluation)
