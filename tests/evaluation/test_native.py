import numpy as np
import pandas as pd
import pytest
from torch import tensor
from torch.nn.functional import interpolate

from lesion_segmentation.evaluation.intervals import mean_interval
from lesion_segmentation.evaluation.native import compare_sizes, enlarge, score_native_size
from lesion_segmentation.evaluation.scores import METRICS


def test_enlarging_is_bilinear():
    small = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    expected = interpolate(tensor(small)[None, None], size=(18, 16), mode="bilinear")[0, 0].numpy()
    assert enlarge(small, 18, 16) == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def case_metrics() -> pd.DataFrame:
    rows = [{"subset": "test", "case_id": f"C{n}", "sample_id": f"C{n}", "threshold": 0.5} for n in range(3)]
    rows.append({"subset": "validation", "case_id": "C0", "sample_id": "C0_flipped", "threshold": 0.5})
    return pd.DataFrame(rows).assign(**dict.fromkeys(METRICS, 0.9))


def test_a_perfect_map_is_nearly_perfect_at_native_size(case_metrics):
    rows, columns = np.mgrid[:120, :160]
    native = {f"C{n}": (np.hypot(rows - 60, columns - 70 - 5 * n) < 40).astype(np.uint8) for n in range(3)}
    maps = {case_id: mask[::4, ::4].astype(np.float32) for case_id, mask in native.items()}
    table = score_native_size(maps, native, case_metrics)
    assert list(table["case_id"]) == ["C0", "C1", "C2"]  # the copy has no native mask
    assert (table["width"] == 160).all()
    assert table["dice"].min() > 0.93
    comparison = compare_sizes(case_metrics, table).set_index("metric")
    assert set(comparison["n"]) == {3}
    dice = comparison.loc["dice"]
    assert dice["difference"] == pytest.approx(table["dice"].mean() - 0.9)
    assert dice["low"] <= dice["difference"] <= dice["high"]


def test_intervals_of_few_or_equal_values():
    assert mean_interval(np.full(5, 0.25)) == (0.25, 0.25)
    assert np.isnan(mean_interval(np.array([0.5]))).all()


def test_intervals_are_seeded_and_contain_the_mean():
    values = np.random.default_rng(1).normal(0.9, 0.05, 50)
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(values)
    assert low < values.mean() < high
    # About the normal interval, for values that are normal.
    assert high - low == pytest.approx(2 * 1.96 * values.std(ddof=1) / np.sqrt(50), rel=0.1)
