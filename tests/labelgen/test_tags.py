import pytest

from ovocr.labelgen.tags import tag_slots


def test_fewer_ids_than_slots_are_repeated_in_turn():
    assert tag_slots([7, 3, 5], 8, seed=0, key="a.jpg") == [7, 3, 5, 7, 3, 5, 7, 3]


def test_as_many_ids_as_slots_stay_as_they_are():
    assert tag_slots([7, 3, 5], 3, seed=0, key="a.jpg") == [7, 3, 5]


def test_more_ids_than_slots_are_a_subset_in_order_of_appearance():
    ids = list(range(500, 0, -1))
    slots = tag_slots(ids, 100, seed=0, key="a.jpg")
    assert len(set(slots)) == 100
    assert slots == sorted(slots, reverse=True)
    assert slots != ids[:100]


def test_the_choice_is_the_same_for_ever():
    # blake2b of "seed NUL key NUL id", 8 bytes, worked out with the b2sum command: 5, 2, 6 are the smallest three.
    assert tag_slots([1, 2, 3, 4, 5, 6], 3, seed=0, key="a.jpg") == [2, 5, 6]


def test_the_choice_depends_on_seed_and_key_and_on_no_other_id():
    ids = list(range(300))
    here = tag_slots(ids, 100, seed=0, key="a.jpg")
    assert here != tag_slots(ids, 100, seed=1, key="a.jpg")
    assert here != tag_slots(ids, 100, seed=0, key="b.jpg")
    dropped = next(id for id in ids if id not in here)
    assert here == tag_slots([id for id in ids if id != dropped], 100, seed=0, key="a.jpg")


def test_an_image_without_words_gets_no_label():
    with pytest.raises(ValueError, match="without words"):
        tag_slots([], 100, seed=0, key="a.jpg")
