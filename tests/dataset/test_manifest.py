from ovocr.labelgen.shards.manifest import find_difference


def test_differences_are_named_by_their_place():
    assert find_difference({"a": [{"b": 1}]}, {"a": [{"b": 2}]}) == "a[0].b is 1 there, 2 in this run"
    assert find_difference({"a": 1}, {"a": 1, "b": 2}) == "b is None there, 2 in this run"
    assert find_difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == ""
