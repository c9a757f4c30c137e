"""Choice of slots: fewer and more ids than slots, repeats and weights."""

from collections import Counter
from itertools import combinations, permutations

import pytest

from ovocr.labelgen.tagging.tag_slots import tag_slots


def test_fewer_ids_than_slots_are_repeated_cyclically():
    assert tag_slots([7, 3, 5], 8, seed=0, key="a.jpg") == [7, 3, 5, 7, 3, 5, 7, 3]


def test_as_many_ids_as_slots_are_unchanged():
    assert tag_slots([7, 3, 5], 3, seed=0, key="a.jpg") == [7, 3, 5]


def test_more_ids_than_slots_give_a_subset_in_order_of_appearance():
    ids = list(range(500, 0, -1))
    slots = tag_slots(ids, 100, seed=0, key="a.jpg")
    assert len(set(slots)) == 100
    assert slots == sorted(slots, reverse=True)
    assert slots != ids[:100]


def test_choice_matches_digests_of_b2sum():
    # blake2b of "seed NUL key NUL id", 8 bytes, computed with the b2sum command: 5, 2, 6 are the smallest three.
    assert tag_slots([1, 2, 3, 4, 5, 6], 3, seed=0, key="a.jpg") == [2, 5, 6]


def test_choice_depends_on_seed_and_key_and_on_no_other_id():
    ids = list(range(300))
    slots = tag_slots(ids, 100, seed=0, key="a.jpg")
    assert slots != tag_slots(ids, 100, seed=1, key="a.jpg")
    assert slots != tag_slots(ids, 100, seed=0, key="b.jpg")
    dropped = next(id for id in ids if id not in slots)
    assert slots == tag_slots([id for id in ids if id != dropped], 100, seed=0, key="a.jpg")


def test_no_ids_raise():
    with pytest.raises(ValueError, match="without words"):
        tag_slots([], 100, seed=0, key="a.jpg")


def test_repeated_ids_take_several_slots():
    assert tag_slots([7, 3, 7], 5, seed=0, key="a.jpg") == [7, 3, 7, 7, 3]
    ids = [7] * 80 + [3] * 20
    chosen = Counter(id for n in range(400) for id in tag_slots(ids, 10, seed=0, key=f"{n}.jpg"))
    # 8 in 10 ids are 7; without replacement, a share of 4,000 has a standard deviation of 0.006.
    assert chosen[7] / chosen.total() == pytest.approx(0.8, abs=0.015)


def test_first_occurrence_ranks_as_without_repeats():
    ids = list(range(50))
    once = tag_slots(ids, 10, seed=3, key="k")
    # Only the repeated id can take another slot.
    with_one_more = tag_slots([*ids, once[0]], 10, seed=3, key="k")
    assert set(with_one_more) <= set(once)


def test_equal_weights_give_the_choice_without_weights():
    ids = list(range(300))
    for key in ("a.jpg", "b.jpg"):
        assert tag_slots(ids, 100, 5, key, weight=lambda id: 2.5) == tag_slots(ids, 100, 5, key)


WEIGHTS = [1.0, 2.0, 4.0, 9.0]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_weights_are_proportional_to_draw_probabilities(slots: int):
    draws = 20_000
    seen = Counter(tuple(tag_slots([0, 1, 2, 3], slots, 1, f"{n}.jpg", WEIGHTS.__getitem__)) for n in range(draws))
    # 4 standard deviations. Draws by square root or square of the weights would differ by at least 0.05.
    assert set(seen) == {tuple(subset) for subset in combinations(range(4), slots)}
    for subset, count in seen.items():
        assert count / draws == pytest.approx(draw_probability(subset), abs=0.014)


def draw_probability(subset: tuple[int, ...]) -> float:
    """Returns the probability of drawing this subset, in any order, without replacement, by weight."""
    total = 0.0
    for order in permutations(subset):
        remaining, probability = sum(WEIGHTS), 1.0
        for id in order:
            probability *= WEIGHTS[id] / remaining
            remaining -= WEIGHTS[id]
        total += probability
    return total


def test_weighted_choice_matches_digests_of_b2sum():
    # -log(1 - digest / 2**64) of the digests above: 5 has 0.659, 2 has 0.692, 6 has 0.708, 3 has 1.554 / 2.3 = 0.675.
    assert tag_slots([1, 2, 3, 4, 5, 6], 3, 0, "a.jpg", weight=lambda id: 2.3 if id == 3 else 1.0) == [2, 3, 5]


def test_weighted_choice_depends_on_no_other_id():
    ids = list(range(300))
    slots = tag_slots(ids, 100, 0, "a.jpg", weight=lambda id: 1 + id)
    dropped = next(id for id in ids if id not in slots)
    assert slots == tag_slots([id for id in ids if id != dropped], 100, 0, "a.jpg", weight=lambda id: 1 + id)
