"""Derives the package's page and its addresses from README.md and setup.cfg, which holds all other metadata.

README.md has links relative to the checkout, which lead nowhere on a page of a package registry. There, they are
addresses in the repository (``Source`` in ``project_urls``) at the tag of the release.
"""

import re
from pathlib import Path

from setuptools import Distribution, setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")


class DerivedMetadata(Distribution):
    """A distribution whose relative links are made absolute after its configuration was read."""

    def parse_config_files(self, *args: object, **kwargs: object) -> None:
        """Reads setup.cfg and completes the metadata."""
        super().parse_config_files(*args, **kwargs)
        source = self.metadata.project_urls["Source"]
        tag = f"v{self.metadata.version}"
        self.metadata.project_urls = {
            **self.metadata.project_urls,
            "Documentation": f"{source}/blob/{tag}/docs/README.md",
            "History": f"{source}/blob/{tag}/HISTORY.md",
            "Issues": f"{source}/issues",
        }
        self.metadata.long_description = with_absolute_links(self.metadata.long_description, source, tag)


def with_absolute_links(text: str, source: str, tag: str) -> str:
    """Returns the text of README.md with links to files of the repository at a tag, and images that load from there."""

    def absolute(link: re.Match[str]) -> str:
        image, label, target = link.groups()
        name = target.partition("#")[0]
        if not name:
            target = f"README.md{target}"  # a heading; whether the page of a registry has it is up to the registry
        view = "raw" if image else "tree" if name and (ROOT / name).is_dir() else "blob"
        return f"{image}[{label}]({source}/{view}/{tag}/{target})"

    return LINK.sub(absolute, text)


setup(distclass=DerivedMetadata)
