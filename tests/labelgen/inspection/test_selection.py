"""Selection of the inspected images."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.selection import Selection, Selector, share_out


def chosen(root: Path, **options: object) -> Selection:
    return Selector(InspectedDataSet.open(root), InspectOptions(source=root, **options), progress=False).choose()


@pytest.mark.parametrize(
    ("counts", "limit", "shares"),
    [
        ([10, 10, 10], 6, [2, 2, 2]),
        ([1, 10, 10], 7, [1, 3, 3]),
        ([0, 2, 1], 50, [0, 2, 1]),
        ([5], 3, [3]),
        ([], 3, []),
    ],
)
def test_share_out_gives_shards_equal_shares_if_possible(counts: list[int], limit: int, shares: list[int]) -> None:
    assert share_out(counts, limit, seed=0) == shares


def test_share_out_gives_the_remainder_to_shards_at_equal_distances() -> None:
    for seed in range(20):
        shares = share_out([9] * 100, 4, seed)
        positions = [position for position, share in enumerate(shares) if share]
        assert [shares[position] for position in positions] == [1, 1, 1, 1]
        assert {
            (after - before) % 100 for before, after in zip(positions, [*positions[1:], positions[0]], strict=True)
        } == {25}
    assert len({tuple(share_out([9] * 100, 4, seed)) for seed in range(20)}) > 1
    for limit in range(1, 40):
        shares = share_out([3, 9, 0, 1, 7, 7, 2], limit, seed=1)
        assert sum(shares) == min(limit, 29)
        assert all(share <= count for share, count in zip(shares, [3, 9, 0, 1, 7, 7, 2], strict=True))


def test_selection_depends_on_the_seed(make_data_set: Callable[..., Path]) -> None:
    root = make_data_set([30, 30, 4])
    first = chosen(root, limit=12)
    assert {number: len(positions) for number, positions in first.positions.items()} == {0: 4, 1: 4, 2: 4}
    assert (first.matching, first.shards, first.chosen) == (64, 3, 12)
    assert first.positions[2] == [0, 1, 2, 3]
    assert first.positions[0] != first.positions[1]  # positions differ between shards
    assert chosen(root, limit=12) == first
    assert chosen(root, limit=12, seed=1).positions != first.positions


def test_images_by_status_tag_key_and_shard(hostile: Path, make_data_set: Callable[..., Path]) -> None:
    quarantined = chosen(hostile, status="quarantined", limit=1000)
    assert quarantined.positions == {0: list(range(14, 26))}
    assert chosen(hostile, status="dropped").positions == {0: [26]}
    assert chosen(hostile, word="RIVER", limit=1000).positions == {0: list(range(14))}
    root = make_data_set([3, 3])
    assert chosen(root, keys=("1-2.jpg", "0-0.jpg")).positions == {0: [0], 1: [2]}
    assert chosen(root, shard=1).positions == {1: [0, 1, 2]}
    assert chosen(root, keys=("1-2.jpg",), word="river").matching == 1


def test_images_by_class_id_of_a_packed_data_set(make_data_set: Callable[..., Path]) -> None:
    root = make_data_set([2], packed=True)
    assert chosen(root, word="7").matching == 2
    with pytest.raises(OvocrError, match="no image matches --word 8"):
        chosen(root, word="8")
    with pytest.raises(UsageError, match="--word river: .* has class ids but no words; give a class id"):
        chosen(root, word="river")


def test_error_names_the_option(make_data_set: Callable[..., Path], tmp_path: Path) -> None:
    root = make_data_set([2])
    for options, message in (
        ({"word": "zebra"}, "--word zebra: is not in .*vocab.txt"),
        ({"shard": 4}, "--shard 4: .* has no such finished shard; it has 1, numbered 0 to 0"),
        ({"status": "dropped"}, "no image matches --status dropped"),
        ({"status": "ok", "keys": ("\x1b",)}, r"no image matches --status ok --key \\x1b"),
        ({"status": "good"}, "--status good: must be one of ok, dropped, quarantined"),
        ({"limit": 0}, "--limit 0: must be from 1 to 1,000"),
        ({"side": 10}, "--side 10: must be from 100 to 4000"),
    ):
        with pytest.raises(OvocrError, match=message):
            chosen(root, **options)
    (root / "stats" / "00000.json").unlink()
    with pytest.raises(OvocrError, match="no finished shard yet"):
        chosen(root)
    with pytest.raises(OvocrError, match="not a labelled data set"):
        chosen(tmp_path)
