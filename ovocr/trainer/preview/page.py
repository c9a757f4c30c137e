"""Samples of a training run as an HTML page."""

from pathlib import Path

from ovocr.pages.rendering import render_page
from ovocr.trainer.preview.samples import PreviewedHead


def preview_page(config: Path, heads: dict[str, PreviewedHead], step: int = 0) -> str:
    """Returns the page. The same samples give the same bytes. step: the step of the first samples."""
    return render_page(__package__, images=True, title=f"Samples of {config}", config=config, heads=heads, step=step)
