"""Differences between recorded and current settings."""

from lesion_segmentation.core.recorded_settings import MISSING, find_differences


def test_missing_settings_have_their_default():
    assert find_differences({"a": 1, "b": 2}, {"a": 1, "b": 3}, {}) == [("b", 2, 3)]
    assert find_differences({"a": 1}, {"a": 1, "b": 2}, {"b": 2}) == []
    assert find_differences({"a": 1}, {"a": 1, "b": 3}, {"b": 2}) == [("b", 2, 3)]
    assert find_differences({"a": 1}, {"a": 1, "b": 3}, {}) == [("b", MISSING, 3)]
    assert find_differences({"a": 1, "b": 3}, {"a": 1}, {}) == [("b", 3, MISSING)]
