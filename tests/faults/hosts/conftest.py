"""Archives that several hosts label, and the data set that one host makes of them."""

from pathlib import Path

import pytest

from tests.faults.hosts.labelling_runs import command, end, start, write_sources
from tests.labelgen.data_sets import digests

IMAGES = 60  # of each archive


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of archives with a table of their text."""
    folder = tmp_path_factory.mktemp("sources")
    write_sources(folder, IMAGES)
    return folder


@pytest.fixture(scope="module")
def whole(sources: Path) -> dict[str, str]:
    """Returns the digests of the data set that one host makes without a fault."""
    assert end(start(command(sources, sources / "whole"))) == (0, "")
    return digests(sources / "whole")
