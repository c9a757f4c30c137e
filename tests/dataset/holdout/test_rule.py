"""Held-out images are a deterministic share of the images, chosen by their keys."""

import pytest

from ovocr.base.errors import UsageError
from ovocr.dataset.holdout.rule import check_share, hash_limit, is_held_out

# Of 0.jpg to 59.jpg, at a share of 0.1.
HELD_OUT = [12, 42]
KEYS = [f"folder/{number}.jpg" for number in range(20_000)]


def test_share_of_the_images_is_held_out():
    for share in (0.01, 0.1, 0.5):
        assert sum(is_held_out(key, share) for key in KEYS) / len(KEYS) == pytest.approx(share, abs=0.01)
    assert not any(is_held_out(key, 0.0) for key in KEYS)


def test_smaller_share_is_part_of_a_larger_one():
    small, large = ({key for key in KEYS if is_held_out(key, share)} for share in (0.05, 0.1))
    assert small < large


def test_choice_never_changes():
    """Vocabularies name only the share, so the same keys must be held out for ever."""
    assert [number for number in range(60) if is_held_out(f"{number}.jpg", 0.1)] == HELD_OUT


def test_seeds_choose_independently():
    chosen = [{key for key in KEYS if is_held_out(key, 0.1, seed)} for seed in (0, 1, 2)]
    assert chosen[0] == {key for key in KEYS if is_held_out(key, 0.1)}
    for other in chosen[1:]:
        assert len(chosen[0] & other) / len(KEYS) == pytest.approx(0.01, abs=0.003)


def test_limit_is_that_of_the_hashes():
    for share in (0.05, 0.1, 1 - 2**-53):
        limit = hash_limit(share)
        assert limit - 1 < share * 2**64 <= limit < 2**64


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_share_must_leave_images_on_both_sides(share: float):
    with pytest.raises(UsageError, match="must be above 0 and below 1"):
        check_share(share)
