"""What all tests share: where the real pictures are."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Real pictures with known text, kept beside the checkout; they are not part of the repository.
SHARED_DATA = Path(os.environ.get("OVOCR_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures; tests that need it are skipped, with this reason, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real pictures are not here: {SHARED_DATA} (set OVOCR_SHARED_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def example_shards() -> Path:
    """The project's own example shards."""
    return ROOT / "examples" / "shards"
